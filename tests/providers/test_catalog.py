"""The kinds that come with poller, and the one a config file describes."""

from importlib import resources

import pytest
import yaml

from poller.domain.state import State
from poller.providers.catalog import ANY_HTTP, builtin_kinds, builtin_models, inline_kind
from poller.providers.credentials.table import CHAINS
from poller.providers.signing import SIGNERS
from poller.providers.spec import Kind, fill, template_params
from tests.providers.answers import INLINE

KINDS = builtin_kinds()
WITH_OPERATIONS = [kind for kind in KINDS.values() if kind.operations]

# Every operation: its path, the parameters it needs and those it takes.
OPERATIONS = [
    (
        "alibaba-opensearch",
        "function-task",
        "/v4/openapi/app-groups/{appGroupIdentity}/functions/{functionName}/instances/{instanceName}/tasks/{generation}",
        (),
    ),
    (
        "alibaba-opensearch",
        "function-instance",
        "/v4/openapi/app-groups/{appGroupIdentity}/functions/{functionName}/instances/{instanceName}",
        (),
    ),
    ("huawei-dlf", "system-task", "/v1/{project_id}/system-tasks/{task_id}", ("workspace",)),
    ("huawei-modelarts", "processor-task", "/v2/{project_id}/processor-tasks/{task_id}", ()),
    ("huawei-modelarts", "training-job", "/v2/{project_id}/training-jobs/{training_job_id}", ()),
]


class TestBuiltin:
    def test_every_file_is_a_kind(self) -> None:
        """Every spec file is read, and is named after its kind."""
        files = {file.name for file in (resources.files("poller.providers") / "specs").iterdir()}
        assert files == {f"{name}.yaml" for name in builtin_models()}

    def test_kinds(self) -> None:
        """A config file may name the kinds that have operations, and `http`; what these have in common is no kind."""
        assert list(KINDS) == ["alibaba-opensearch", "http", "huawei-dlf", "huawei-modelarts"]
        assert "huawei-cloud" in builtin_models()

    def test_operations(self) -> None:
        """Path and parameters of every operation are those of the providers' documents."""
        assert [
            (kind.name, name, operation.path, operation.optional)
            for kind in KINDS.values()
            for name, operation in kind.operations.items()
        ] == OPERATIONS
        for kind in KINDS.values():
            assert all(operation.required == template_params(operation.path) for operation in kind.operations.values())

    def test_headers(self) -> None:
        """Each request says which API it is meant for."""
        opensearch = KINDS["alibaba-opensearch"].operations
        assert opensearch["function-task"].headers == {
            "x-acs-version": "2017-12-25",
            "x-acs-action": "GetFunctionTask",
        }
        assert opensearch["function-instance"].headers["x-acs-action"] == "GetFunctionInstance"
        assert opensearch["function-instance"].query == {"output": "detail"}
        assert KINDS["huawei-dlf"].operations["system-task"].headers == {
            "X-Project-Id": "{project_id}",
            "workspace": "{workspace}",
        }

    @pytest.mark.parametrize("kind", WITH_OPERATIONS, ids=lambda kind: kind.name)
    def test_is_complete(self, kind: Kind) -> None:
        """A kind has a signer that exists, a default chain of credentials for it, and an endpoint for every region."""
        assert kind.signer in SIGNERS
        assert CHAINS[kind.signer]
        assert kind.endpoint is not None
        assert fill(kind.endpoint, {"region": "r-1"}).startswith("https://")
        assert kind.about
        assert all(operation.about and operation.method == "GET" for operation in kind.operations.values())

    @pytest.mark.parametrize("kind", WITH_OPERATIONS, ids=lambda kind: kind.name)
    def test_chain_ends_in_http(self, kind: Kind) -> None:
        """Whatever a kind extends, HTTP's own rules come last, and the last of these takes everything."""
        for operation in kind.operations.values():
            first, *_, last = [rule.text for rule in operation.fallbacks]
            assert not first.startswith("http rule")
            assert last == f"http rule {len(builtin_models()[ANY_HTTP].outcomes)}"

    def test_endings(self) -> None:
        """Every operation can tell a success from a failure."""
        for kind in WITH_OPERATIONS:
            for operation in kind.operations.values():
                assert {State.SUCCEEDED, State.FAILED} <= set(operation.states.values())

    def test_is_read_once(self) -> None:
        """Kinds are compiled once, and nobody can change them."""
        assert builtin_kinds() is KINDS
        with pytest.raises(TypeError):
            KINDS["x"] = KINDS["http"]  # type: ignore[index]


class TestInline:
    def test_example(self) -> None:
        """The example that users are shown is taken as it stands."""
        kind = inline_kind(yaml.safe_load(INLINE))
        operation = kind.operations["job"]
        assert (kind.name, kind.signer, kind.endpoint) == ("http", "plain", None)
        assert (operation.kind, operation.name, operation.path) == ("http", "job", "/v1/jobs/{job_id}")
        assert (operation.required, operation.optional) == (("job_id",), ())
        assert operation.states == {
            "queued": "pending",
            "in_progress": "running",
            "1": "running",
            "success": "succeeded",
            "SUCCESSFUL": "succeeded",
            "2": "succeeded",
            "failed": "failed",
            "3": "failed",
            "cancelled": "stopped",
            "4": "stopped",
        }
        assert operation.duration is None
        assert kind.params == {"job_id"}

    def test_may_be_empty(self) -> None:
        """A spec without operations is a kind that nothing can be asked of."""
        assert inline_kind({}).operations == {}

    def test_keeps_what_the_spec_leaves_open(self) -> None:
        """What a spec does not tell is as HTTP APIs usually do it."""
        operation = inline_kind(yaml.safe_load(INLINE)).operations["job"]
        assert operation.request_id_header == "X-Request-Id"
        assert len(operation.error_code) == len(operation.error_message) == 1
        assert operation.fallbacks[-1].statuses == ()
