"""What a kind of provider is, as plain data: for people who choose one and for programs."""

from collections.abc import Iterator
from typing import Any

from poller.providers.credentials.table import CHAINS, allowed_forms
from poller.providers.spec import Kind, Operation, Rule


def describe(kind: Kind) -> dict[str, Any]:
    """All that is to be known of ``kind`` to use it in a config file, ready for JSON."""
    return {
        "kind": kind.name,
        "about": kind.about,
        "source": kind.source,
        "extends": [model.kind for model in kind.line[1:]],
        "endpoint": kind.endpoint,
        "signer": kind.signer,
        "credentials": list(allowed_forms(kind.signer)),
        "default_credentials": [
            {"from": link.name, "variables": [*link.variables.values()], "optional": [*link.optional.values()]}
            for link in CHAINS[kind.signer]
        ],
        "operations": [describe_operation(operation) for operation in kind.operations.values()],
    }


def describe_operation(operation: Operation) -> dict[str, Any]:
    """What is asked, with which parameters, and which of the provider's values mean which state."""
    return {
        "operation": operation.name,
        "about": operation.about,
        "method": operation.method,
        "path": operation.path,
        "required": list(operation.required),
        "optional": list(operation.optional),
        "run_params": list(operation.run_params),
        "states": dict(operation.states),
        "start": operation.start.request.path if operation.start else None,
        "rules": {rule.text: rule.state for rule in _telling(operation)},
    }


def _telling(operation: Operation) -> Iterator[Rule]:
    """The rules that tell a state, beside the map of states."""
    return (rule for rule in (*operation.rules, *operation.fallbacks) if rule.state is not None)
