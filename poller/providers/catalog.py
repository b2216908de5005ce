"""The kinds of providers: those built in, read from spec files, and those described in the config file."""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

from poller.config.yamlfile import parse_yaml
from poller.providers.spec import Kind, KindModel, SpecModel, compile_kind

ANY_HTTP = "http"
"""The kind that all others extend, and the one that a config file describes in its `spec:`."""


@cache
def builtin_models() -> Mapping[str, KindModel]:
    """The spec files that come with poller, by kind."""
    folder = resources.files("poller.providers") / "specs"
    texts = (item.read_text("utf-8") for item in folder.iterdir() if item.name.endswith(".yaml"))
    models = (KindModel.model_validate(parse_yaml(text, "").data) for text in texts)
    return MappingProxyType({model.kind: model for model in models})


@cache
def builtin_kinds() -> Mapping[str, Kind]:
    """The kinds that a config file may name: those with operations, compiled, and `http`."""
    models = builtin_models()
    kinds = (compile_kind(m, _parents(m)) for m in models.values() if m.operations or m.kind == ANY_HTTP)
    return MappingProxyType({kind.name: kind for kind in sorted(kinds, key=lambda kind: kind.name)})


def inline_kind(raw: Mapping[str, Any]) -> Kind:
    """The kind that a `spec:` in the config file describes. Raises pydantic's ValidationError."""
    spec = SpecModel.model_validate(raw)
    model = KindModel(kind=ANY_HTTP, **{name: getattr(spec, name) for name in spec.model_fields_set})
    return compile_kind(model, [builtin_models()[ANY_HTTP]])


def _parents(model: KindModel) -> Iterator[KindModel]:
    while model.kind != ANY_HTTP:
        model = builtin_models()[model.extends or ANY_HTTP]
        yield model
