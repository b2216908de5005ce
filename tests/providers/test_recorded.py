"""Recorded answers: every spec reads its own as its documents have it, and mistakes in a folder of them are told."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from yarl import URL

from poller.config.yamlfile import read_yaml
from poller.domain.errors import ConfigError
from poller.providers.catalog import builtin_kinds, inline_kind
from poller.providers.client import build_request
from poller.providers.recorded import CASES, Verdict, read_cases
from poller.providers.spec import Kind
from poller.providers.specfiles import all_kinds
from poller.providers.transport import LONGEST_BODY
from tests.providers.answers import FILES, INLINE

SAMPLES = Path(__file__).parents[2] / "config" / "providers"
JOBS = inline_kind(yaml.safe_load(INLINE))
RECORDED = {
    **{name: (kind, FILES / name) for name, kind in builtin_kinds().items() if kind.operations},
    "http": (JOBS, FILES / "http"),
    **{
        path.stem: (all_kinds([read_yaml(path, path.name)]).known[path.stem], SAMPLES / "answers" / path.stem)
        for path in sorted(SAMPLES.glob("*.yaml"))
    },
}
"""Every kind there is, and where its recorded answers are."""


@pytest.mark.parametrize("name", RECORDED)
def test_every_spec_reads_its_recorded_answers(name: str) -> None:
    """As `poller check --spec` finds; for each operation there are some."""
    kind, folder = RECORDED[name]
    verdicts = [case.check() for case in read_cases(folder, kind)]
    assert [(v.case.model.title, v.got, v.reason) for v in verdicts if not v.is_right] == []
    assert {v.case.operation.name for v in verdicts} == set(kind.operations)


@pytest.mark.parametrize("name", sorted(path.stem for path in SAMPLES.glob("*.yaml")))
def test_every_sample_tells_all_its_states(name: str) -> None:
    """Success, failure, a stop, a task that is missing, and the refusals that each API documents."""
    kind, folder = RECORDED[name]
    told = {case.model.expect for case in read_cases(folder, kind)}
    assert told >= {"running", "succeeded", "failed", "stopped", "missing", "rejected", "unauthorized", "throttled"}
    assert kind.source
    assert all(operation.about for operation in kind.operations.values())


@pytest.mark.parametrize(
    ("name", "operation", "params", "target"),
    [
        ("google-operations", "operation", {"operation": "12"}, "/v1/operations/12"),
        ("google-operations", "project-operation", {"project": "p", "operation": "1"}, "/v1/projects/p/operations/1"),
        (
            "google-operations",
            "location-operation",
            {"project": "p", "location": "europe-west4", "operation": "a/b"},
            "/v1/projects/p/locations/europe-west4/operations/a%2Fb",
        ),
        (
            "azure-operations",
            "location-operation",
            {
                "subscriptionId": "s",
                "resourceProviderNamespace": "Microsoft.Compute",
                "location": "westeurope",
                "collection": "operations",
                "operationId": "9a062a88",
                "apiVersion": "2019-12-01",
            },
            "/v1/subscriptions/s/providers/Microsoft.Compute/locations/westeurope/operations/9a062a88"
            "?api-version=2019-12-01",
        ),
        (
            "azure-operations",
            "resource-operation",
            {
                "subscriptionId": "s",
                "resourceGroupName": "g",
                "resourceProviderNamespace": "Microsoft.Resources",
                "resourceType": "deployments",
                "resourceName": "d",
                "collection": "operationStatuses",
                "operationId": "1",
                "apiVersion": "2020-06-01",
            },
            "/v1/subscriptions/s/resourceGroups/g/providers/Microsoft.Resources/deployments/d/operationStatuses/1"
            "?api-version=2020-06-01",
        ),
        ("gitlab", "pipeline", {"id": "g/p", "pipeline_id": "287"}, "/v1/api/v4/projects/g%2Fp/pipelines/287"),
    ],
)
def test_the_samples_ask_as_documented(name: str, operation: str, params: dict[str, str], target: str) -> None:
    """Method and target; a parameter is one segment of the path."""
    request = build_request(RECORDED[name][0].operations[operation], URL("https://h/v1"), params)
    assert (request.method, request.target) == ("GET", target)


# --- what a case may say -------------------------------------------------------------------------------------------

RUNNING = {"body": {"status": "in_progress", "percent": 40}, "expect": "running"}


def written(folder: Path, cases: object, **files: bytes) -> Path:
    """A folder of answers of the operation `job`; underscores in names of files are points."""
    job = folder / "answers" / "job"
    job.mkdir(parents=True)
    job.joinpath(CASES).write_text(cases if isinstance(cases, str) else yaml.safe_dump(cases), "utf-8")
    for name, body in files.items():
        job.joinpath(name.replace("_", ".")).write_bytes(body)
    return folder / "answers"


def checked(folder: Path, *cases: dict[str, Any], kind: Kind = JOBS, **files: bytes) -> list[Verdict]:
    """What comes of cases."""
    return [case.check() for case in read_cases(written(folder, list(cases), **files), kind)]


def test_an_answer_is_read_as_expected_or_told_to_differ(tmp_path: Path) -> None:
    """Each difference in words; what a case does not tell may be anything, null is nothing at all."""
    (right, wrong, other) = checked(
        tmp_path,
        {**RUNNING, "progress": 40, "ended_at": None, "raw_status": "in_progress"},
        {**RUNNING, "progress": 41, "message": "late", "ended_at": "2026-11-21T12:00:00Z", "raw_status": None},
        {
            "http": 404,
            "expect": "missing",
            "body": {"error": {"code": "gone", "message": "Gone."}},
            "code": "not_found",
        },
    )
    assert (right.is_right, right.got, right.reason) == (True, "running", "status in_progress is running")
    assert not wrong.is_right
    assert wrong.differences == (
        "raw_status 'in_progress', not none",
        "progress 40, not 41",
        "message none, not 'late'",
        "ended_at none, not 2026-11-21T12:00:00.000Z",
    )
    assert (other.is_right, other.got) == (False, "rejected")
    assert other.reason == "code 'gone', not 'not_found'; HTTP 404, gone, Gone."


def test_an_answer_may_be_anything(tmp_path: Path) -> None:
    """A file, text, JSON or nothing; with a status and headers; one too long to be read is read as a poll would."""
    page = {"file": "page.html", "http": 502, "expect": "unreachable"}
    long = {
        "what": "too long",
        "file": "long.bin",
        "expect": "unrecognized",
        "message": "HTTP 200, an answer too long to be read",
    }
    verdicts = checked(
        tmp_path,
        page,
        {"body": "<p>Hello</p>", "expect": "unrecognized"},
        {"body": None, "expect": "unrecognized"},
        {"http": 204, "expect": "unrecognized"},
        {"http": 429, "headers": {"Retry-After": 30}, "expect": "throttled", "retry_after_seconds": 30},
        {"headers": {"x-request-id": "r-1"}, "request_id": "r-1", **RUNNING},
        long,
        page_html=b"<html>\xff",
        long_bin=b" " * (LONGEST_BODY + 1),
    )
    assert [verdict.is_right for verdict in verdicts] == [True] * 7
    assert [verdict.case.model.title for verdict in verdicts][-2:] == ["HTTP 200", "too long"]


def test_an_answer_comes_when_its_date_says(tmp_path: Path) -> None:
    """So a pause until a date can be told; and no clock is said to be wrong."""
    date, later = "Tue, 14 Nov 2023 22:13:20 GMT", "Tue, 14 Nov 2023 22:14:20 GMT"
    headers = {"Date": date, "Retry-After": later}
    (throttled, refused) = checked(
        tmp_path,
        {"http": 429, "headers": headers, "expect": "throttled", "retry_after_seconds": 60},
        {"http": 401, "headers": {"Date": date}, "expect": "unauthorized", "message": "HTTP 401"},
    )
    assert throttled.is_right
    assert refused.is_right


WRONG: list[tuple[str, str, list[str]]] = [
    ("nothing", "", ["job/cases.yaml: empty, a list of cases is required"]),
    ("an empty list", "[]", ["job/cases.yaml:1: empty, a list of cases is required"]),
    ("a mapping", "a: 1\n", ["job/cases.yaml:1: a mapping, a list of cases is required"]),
    (
        "an unknown state",
        "- {expect: done}\n- {expect: sucess}\n- {expect: answered}\n- {}\n",
        [
            f"job/cases.yaml:{line}: {text} {allowed}"
            for line, text in ((1, "[0].expect: 'done',"), (2, "[1].expect: 'sucess',"), (3, "[2].expect: 'answered',"))
            for allowed in ["one of failed, missing,"]
        ]
        + ["job/cases.yaml:4: [3].expect: missing, it is required"],
    ),
    (
        "a file that is not there",
        "- file: nowhere.json\n  expect: running\n",
        ["job/cases.yaml:1: [0].file: 'nowhere.json' does not exist, a file with the answer's body is allowed"],
    ),
    (
        "a body and a file",
        "- file: running.json\n  body: {}\n  expect: running\n",
        ["job/cases.yaml:2: [0].body: a body beside a file, one of them is allowed"],
    ),
    (
        "a status and a time that are none",
        "- expect: running\n  http: 4xx\n  started_at: soon\n  hedaers: {}\n",
        [
            "job/cases.yaml:2: [0].http: '4xx', an HTTP status like 200 or 404 is allowed",
            "job/cases.yaml:3: [0].started_at: 'soon', a time is allowed: RFC 3339, or epoch seconds or milliseconds",
            "job/cases.yaml:4: [0].hedaers: unknown key, one of body, code, ",
        ],
    ),
    (
        "an answer that no case is about",
        "- {http: 404, expect: rejected}\n",
        ["job/running.json: an answer without a case, a case in cases.yaml is required"],
    ),
]


@pytest.mark.parametrize(("cases", "said"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_mistakes_are_told_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cases: str, said: list[str]
) -> None:
    """By file and line, all at once."""
    folder = written(tmp_path, cases)
    if "running.json" in cases or any("running.json" in line for line in said):
        (folder / "job" / "running.json").write_text("{}", "utf-8")
    monkeypatch.chdir(folder)
    with pytest.raises(ConfigError) as caught:
        read_cases(Path(), JOBS)
    told = str(caught.value).splitlines()
    assert len(told) == len(said)
    assert all(line.startswith(start) for line, start in zip(told, said, strict=True)), told


def test_a_folder_without_cases_is_a_mistake(tmp_path: Path) -> None:
    """A test that tests nothing must not be taken for one that passes."""
    for folder, said in (
        (tmp_path / "nowhere", "does not exist, a folder of recorded answers is allowed"),
        (tmp_path, "no case, OPERATION/cases.yaml with at least one is required (operations: job)"),
    ):
        with pytest.raises(ConfigError) as caught:
            read_cases(folder, JOBS)
        assert str(caught.value) == f"{folder}: {said}"
    (tmp_path / "jub").mkdir()
    (tmp_path / "job").mkdir()
    with pytest.raises(ConfigError) as caught:
        read_cases(tmp_path, JOBS)
    assert str(caught.value).splitlines() == [
        f"{tmp_path}/job/cases.yaml: does not exist, a file that can be read is allowed",
        f"{tmp_path}/jub: a folder for no operation of http, 'jub', job is allowed (did you mean 'job'?)",
    ]
