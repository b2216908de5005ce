"""Spec files of one's own: which kinds they make, and what is said of those that make none."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from poller.app import load_config
from poller.config.loading import Loaded
from poller.config.yamlfile import Document
from poller.domain.errors import ConfigError
from poller.providers.binding import bind
from poller.providers.catalog import builtin_kinds
from poller.providers.overview import describe
from poller.providers.spec import Kind, KindModel, OperationModel, RuleModel, json_schema
from poller.providers.specfiles import all_kinds

DATA = Path(__file__).parent / "data" / "spec-mistakes.txt"
SAMPLES = Path(__file__).parents[2] / "config" / "providers"
BUILTIN = Path(__file__).parents[2] / "poller" / "providers" / "specs"
JOB = {"path": "/jobs/{id}", "status": "s", "states": {"succeeded": "ok", "failed": "bad"}}
MINE = yaml.safe_dump({"kind": "mine", "operations": {"job": JOB}})
CONFIG = "provider_specs: [specs]\n"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(files: Mapping[str, str]) -> None:
    """Writes spec files, and a config that names their folder unless it is among them."""
    Path("specs").mkdir(exist_ok=True)
    Path("poller.yaml").write_text(CONFIG, "utf-8")
    for name, text in files.items():
        (Path() if name == "poller.yaml" else Path("specs")).joinpath(name).write_text(text, "utf-8")


def load(files: Mapping[str, str]) -> Loaded:
    """The config with these spec files."""
    write(files)
    return load_config(Path("poller.yaml"), env={})


def kinds(files: Mapping[str, str]) -> Mapping[str, Kind]:
    """The kinds that a provider may name."""
    return all_kinds(load(files).specs).known


def told(files: Mapping[str, str]) -> list[str]:
    """What is said of them."""
    with pytest.raises(ConfigError) as caught:
        load(files)
    return str(caught.value).splitlines()


def parts(case: str) -> tuple[dict[str, str], list[str]]:
    """The files of a case and what is to be said of them."""
    files, _, said = case.partition("-" * 20 + "\n")
    split = (part.partition("\n") for part in files.split(">>> ")[1:])
    return {name: text for name, _, text in split}, said.splitlines()


MISTAKES = [parts(case) for case in DATA.read_text("utf-8").split("=" * 20 + "\n")[1:]]


@pytest.mark.parametrize(("files", "said"), MISTAKES)
def test_every_mistake_is_told_where_it_is(files: dict[str, str], said: list[str]) -> None:
    """All of them at once, by file and line."""
    assert told(files) == said


def test_no_mistake_is_told_in_a_librarys_words() -> None:
    """Each says what was found and what is allowed, or what is wrong."""
    jargon = re.compile(r"pydantic|jmespath\b|Error|\bstr\b|\bdict\b|None|[Ii]nput|regex")
    for _, said in MISTAKES:
        assert said
        assert [line for line in said if jargon.search(line)] == []


class TestKinds:
    def test_stand_beside_the_built_in_ones(self) -> None:
        """Named by a provider, with its endpoint and its parameters, as any other."""
        spec = yaml.safe_dump({"kind": "mine", "endpoint": "https://jobs.example.com/v1/", "operations": {"job": JOB}})
        task = "{name: t, provider: p, operation: job, params: {id: a/b}}"
        loaded = load({"a.yaml": spec, "poller.yaml": f"{CONFIG}providers: {{p: {{kind: mine}}}}\ntasks: [{task}]\n"})
        binding = bind(loaded, {})["p"]
        assert (binding.kind.name, str(binding.endpoint)) == ("mine", "https://jobs.example.com/v1")
        assert list(all_kinds(loaded.specs).known) == sorted([*builtin_kinds(), "mine"])

    def test_may_have_an_endpoint_for_each_region(self) -> None:
        """Then the provider must say which, or give an endpoint."""
        spec = yaml.safe_dump({"kind": "mine", "endpoint": "https://{region}.example.com", "operations": {"job": JOB}})
        provider = "providers: {p: {kind: mine, region: r-1}}\n"
        loaded = load({"a.yaml": spec, "poller.yaml": CONFIG + provider})
        assert str(bind(loaded, {})["p"].endpoint) == "https://r-1.example.com"
        assert told({"poller.yaml": f"{CONFIG}providers: {{p: {{kind: mine}}}}\n"}) == [
            "poller.yaml:2: providers.p.region: missing, kind mine requires a region or an endpoint"
        ]

    def test_may_extend_a_built_in_one(self) -> None:
        """With all that this one has: operations, signer and rules."""
        kind = kinds({"a.yaml": yaml.safe_dump({"kind": "mine", "extends": "huawei-dlf", "operations": {"job": JOB}})})[
            "mine"
        ]
        dlf = builtin_kinds()["huawei-dlf"]
        assert list(kind.operations) == ["system-task", "job"]
        assert (kind.signer, kind.endpoint) == (dlf.signer, dlf.endpoint)
        assert kind.operations["job"].fallbacks == dlf.operations["system-task"].fallbacks
        assert describe(kind)["extends"] == ["huawei-dlf", "huawei-cloud", "http"]

    def test_may_extend_one_another_in_any_order(self) -> None:
        """A kind without operations serves others, and can be named by no provider."""
        known = kinds(
            {
                "a.yaml": yaml.safe_dump({"kind": "one", "extends": "between", "operations": {"job": JOB}}),
                "b.yaml": yaml.safe_dump({"kind": "between", "extends": "far"}),
                "c.yaml": yaml.safe_dump({"kind": "far", "headers": {"X-Far": "{far}"}}),
            }
        )
        assert known["one"].operations["job"].optional == ("far",)
        assert not {"between", "far"} & known.keys()

    def test_are_made_once_for_all_providers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """However many providers and entries there are."""
        made: list[str] = []
        compile_kind = __import__("poller.providers.spec", fromlist=["compile_kind"]).compile_kind

        def counting(model: Any, parents: Any) -> Kind:
            made.append(model.kind)
            kind: Kind = compile_kind(model, parents)
            return kind

        monkeypatch.setattr("poller.providers.specfiles.compile_kind", counting)
        providers = "".join(f"  p{i}: {{kind: mine, endpoint: 'https://h'}}\n" for i in range(20))
        tasks = "".join(
            f"- {{name: t{i}, provider: p{i % 20}, operation: job, params: {{id: x}}}}\n" for i in range(500)
        )
        loaded = load({"a.yaml": MINE, "poller.yaml": f"{CONFIG}providers:\n{providers}tasks:\n{tasks}"})
        assert made == ["mine"]
        assert len({id(binding.kind) for binding in bind(loaded, {}).values()}) == 1


class TestFiles:
    def test_may_be_named_one_by_one(self) -> None:
        """Under any name, each read once, relative to the config file."""
        write({"a.yaml": MINE, "b.yaml": MINE.replace("mine", "yours"), "c.txt": MINE.replace("mine", "theirs")})
        Path("poller.yaml").write_text("provider_specs: [specs/c.txt, specs/a.yaml, ./specs, specs/a.yaml]\n", "utf-8")
        loaded = load_config(Path("poller.yaml"), env={})
        assert {"mine", "yours", "theirs"} <= all_kinds(loaded.specs).known.keys()
        assert [path.name for path in loaded.files] == ["poller.yaml", "c.txt", "a.yaml", "b.yaml"]

    def test_are_watched_with_their_folders(self) -> None:
        """A file that comes into a folder, or goes, changes the config."""
        loaded = load({"a.yaml": MINE})
        assert Path("specs/a.yaml") in loaded.files
        assert loaded.patterns == ("specs/*.yaml",)

    def test_that_are_hidden_or_no_yaml_are_left(self) -> None:
        """Notes, backups, and what Kubernetes keeps behind the files of a volume."""
        write({"a.yaml": MINE, ".b.yaml": MINE, "README.md": "# mine\n", "c.yaml~": MINE})
        Path("specs/..data").mkdir()
        Path("specs/..data/a.yaml").write_text(MINE, "utf-8")
        Path("specs/answers/mine").mkdir(parents=True)
        assert [document.file for document in load_config(Path("poller.yaml"), env={}).specs] == ["specs/a.yaml"]

    def test_may_be_none_yet(self) -> None:
        """An empty folder is no mistake."""
        assert kinds({}) == builtin_kinds()

    def test_that_cannot_be_read_are_mistakes(self) -> None:
        """One each, and no more on their account: nobody knows what they were to be called."""
        write({"b.yaml": "kind: mine"})
        Path("specs/a.yaml").write_bytes(b"kind: \xff\n")
        Path("specs/b.yaml").write_text("kind: mine\noperations: [\n", "utf-8")
        Path("specs/c.yaml").symlink_to("nowhere.yaml")
        Path("specs/d.yaml").mkdir()
        provider = "providers: {p: {kind: mine, endpoint: 'https://h'}}\n"
        Path("poller.yaml").write_text(f"provider_specs: [specs, nowhere]\n{provider}", "utf-8")
        with pytest.raises(ConfigError) as caught:
            load_config(Path("poller.yaml"), env={})
        assert str(caught.value).splitlines() == [
            "poller.yaml:1: provider_specs[1]: 'nowhere' does not exist, a spec file or a folder of spec files (*.yaml)"
            " is allowed",
            "specs/a.yaml:1: bytes that are not UTF-8, text in UTF-8 is allowed",
            "specs/b.yaml:2: something that is not YAML, a value is expected here",
            "specs/c.yaml: does not exist, a file that can be read is allowed",
            "specs/d.yaml: a directory, a file that can be read is allowed",
        ]


WORDS = st.sampled_from(
    ["kind", "operations", "job", "path", "/j", "status", "states", "succeeded", "failed", "outcomes"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=10,
)
KEYS = st.sampled_from([*KindModel.model_fields, *OperationModel.model_fields, *RuleModel.model_fields])


class TestAnything:
    @given(VALUES | st.dictionaries(KEYS, VALUES, max_size=5))
    def test_is_a_kind_or_a_mistake(self, data: object) -> None:
        """Whatever stands in a spec file: nothing is raised, and what makes no kind is told."""
        known = all_kinds([Document("a.yaml", data)])
        assert known.problems or known.known.keys() - builtin_kinds().keys()

    @given(KEYS, VALUES)
    def test_in_an_operation_or_a_rule(self, key: str, value: object) -> None:
        """Deep down as well."""
        rule = {"outcome": "missing", key: value}
        operation = {**JOB, "outcomes": [rule], key: value}
        all_kinds([Document("a.yaml", {"kind": "a", "operations": {"job": operation}, "outcomes": [rule]})])


class TestSchema:
    @pytest.mark.parametrize("path", sorted([*BUILTIN.glob("*.yaml"), *SAMPLES.glob("*.yaml")]), ids=lambda p: p.stem)
    def test_takes_what_is_right(self, path: Path) -> None:
        """Every spec file that there is."""
        jsonschema.validate(yaml.safe_load(path.read_text("utf-8")), json_schema())

    def test_refuses_what_is_wrong(self) -> None:
        """Unknown keys, states and methods."""
        validator = jsonschema.Draft202012Validator(json_schema())
        for wrong in (
            {"operations": {"job": JOB}},
            {"kind": "a", "operatons": {}},
            {"kind": "a", "operations": {"job": {**JOB, "method": "PUT"}}},
            {"kind": "a", "operations": {"job": {**JOB, "states": {"done": "x"}}}},
            {"kind": "a", "signer": "hmac"},
        ):
            assert not validator.is_valid(wrong), wrong

    def test_describes_every_key(self) -> None:
        """An editor can tell what each is for."""
        schema = json_schema()
        assert json.loads(json.dumps(schema)) == schema
        described = [schema, *(model for model in schema["$defs"].values() if "properties" in model)]
        for model in described:
            # A key that only refers to a model is described there.
            assert all(value.keys() & {"description", "$ref"} for value in model["properties"].values()), model["title"]
