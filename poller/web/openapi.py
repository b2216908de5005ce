"""The OpenAPI document (3.1.1): what the table of endpoints says, and nothing else."""

from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Literal

from pydantic import TypeAdapter

from poller.web.endpoint import JSON, NAME_IN_PATH, TEXT, Answer, Endpoint, Parameter
from poller.web.shapes import ErrorJson

Schema = dict[str, Any]
_Mode = Literal["validation", "serialization"]

_NAME: Schema = {
    "name": "name",
    "in": "path",
    "required": True,
    "description": "Its name. Slashes in it may be percent-encoded.",
    "schema": {"type": "string", "minLength": 1},
}
_SCHEMES: Schema = {
    "token": {"type": "http", "scheme": "bearer", "description": "web.api_token of the daemon's config."},
    "login": {"type": "http", "scheme": "basic", "description": "Where the web config file has users."},
}


def document(endpoints: Sequence[Endpoint], version: str, server: str) -> Schema:
    """Describes ``endpoints``, which are below the path ``server``."""
    schemas = _Schemas()
    paths: dict[str, Schema] = {}
    for endpoint in endpoints:
        described = paths.setdefault(endpoint.path.replace(NAME_IN_PATH, "{name}"), {})
        described[endpoint.method.lower()] = _operation(endpoint, schemas)
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "poller",
            "version": version,
            "description": "Watches long-running remote tasks until they end, and tells.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": server}],
        "paths": paths,
        "components": {"schemas": schemas.named, "securitySchemes": _SCHEMES},
    }


class _Schemas:
    """The schemas of types; those that have a name are told once, under it."""

    def __init__(self) -> None:
        self.named: dict[str, Schema] = {}
        self._made: dict[tuple[int, _Mode], Schema] = {}

    def of(self, shape: Any, mode: _Mode = "serialization") -> Schema:
        """The schema of ``shape``, as it is sent (serialization) or read (validation)."""
        key = (id(shape), mode)
        if key not in self._made:
            self._made[key] = self._make(shape, mode)
        return self._made[key]

    def _make(self, shape: Any, mode: _Mode) -> Schema:
        schema = TypeAdapter(shape).json_schema(mode=mode, ref_template="#/components/schemas/{model}")
        self.named |= schema.pop("$defs", {})
        title = schema.get("title")
        if title is None or schema.get("type") != "object":
            return schema
        self.named[title] = schema
        return {"$ref": f"#/components/schemas/{title}"}


def _operation(endpoint: Endpoint, schemas: _Schemas) -> Schema:
    summary, _, more = endpoint.about.partition("\n")
    operation: Schema = {"operationId": endpoint.name, "summary": summary}
    if more:
        operation["description"] = " ".join(more.split())
    parameters = [_parameter(each, schemas) for each in endpoint.parameters]
    if NAME_IN_PATH in endpoint.path:
        parameters.insert(0, _NAME)
    if parameters:
        operation["parameters"] = parameters
    if endpoint.body is not None:
        content = {media: {"schema": schemas.of(shape, "validation")} for media, shape in endpoint.body.items()}
        operation["requestBody"] = {"required": True, "content": content}
    operation["responses"] = {str(status): _response(answer, schemas) for status, answer in _answers(endpoint)}
    if endpoint.guarded:
        operation["security"] = [{"token": []}]
    elif not endpoint.is_open:
        operation["security"] = [{}, {"login": []}, {"token": []}]
    return operation


def _parameter(parameter: Parameter, schemas: _Schemas) -> Schema:
    schema = schemas.of(parameter.shape, "validation")
    described: Schema = {"name": parameter.name, "in": parameter.place, "description": parameter.about}
    if parameter.many:
        return {**described, "schema": {"type": "array", "items": schema}, "style": "form", "explode": True}
    if parameter.place == "query" and parameter.shape is not str:
        # Which counts as none.
        described["allowEmptyValue"] = True
    return {**described, "schema": schema}


def _answers(endpoint: Endpoint) -> Iterator[tuple[int, Answer]]:
    """Those of its own, and what can happen to every request."""
    answers = dict(endpoint.answers)
    if not endpoint.is_open:
        answers.setdefault(401, refusal("A login or token is needed, or this one is wrong.", endpoint.path))
    yield from sorted(answers.items())


def refusal(about: str, path: str) -> Answer:
    """How an error is told at ``path``."""
    return Answer(about, ErrorJson) if path.startswith("/api/") else Answer(about, media=TEXT)


def refusals(path: str, *statuses: int) -> Mapping[int, Answer]:
    """Errors of these ``statuses``, each with its usual words."""
    return {status: refusal(_WORDS.get(status) or HTTPStatus(status).phrase, path) for status in statuses}


_WORDS = {
    400: "The request means nothing; the message says what is allowed.",
    403: "The config has no web.api_token: requests that change something are refused.",
    404: "Nothing of that name is known.",
    409: "It cannot be done as things are; the message says why.",
    413: "The body is too large.",
    415: "The body is of another type.",
    502: "The provider refused, or nobody knows whether it did.",
    503: "The store does not answer, or the daemon is starting or ending.",
}


def _response(answer: Answer, schemas: _Schemas) -> Schema:
    if answer.shape is not None:
        return {"description": answer.about, "content": {JSON: {"schema": schemas.of(answer.shape)}}}
    kinds = [answer.media] if isinstance(answer.media, str) else answer.media
    content = {media: {"schema": {"type": "string"}} for media in kinds}
    return {"description": answer.about, **({"content": content} if content else {})}
