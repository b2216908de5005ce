"""The shipped Grafana dashboard, as a test looks at it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATH = Path(__file__).parents[2] / "deploy" / "grafana" / "poller.json"

_VARIABLES = {"$provider": ".*", "$task": ".*", "$__rate_interval": "10s", "$__range": "5m"}
"""What Grafana would put in their place, for a few seconds of a demo that is scraped every second."""


@dataclass(frozen=True, slots=True)
class Query:
    """What a panel asks Prometheus for: the latest values, if ``instant``, else those over time."""

    panel: str
    text: str
    instant: bool


def dashboard() -> dict[str, Any]:
    """The parsed file."""
    parsed: dict[str, Any] = json.loads(PATH.read_text("utf-8"))
    return parsed


def panels() -> list[dict[str, Any]]:
    """All panels, headings of rows included."""
    return [part for panel in dashboard()["panels"] for part in (panel, *panel.get("panels", ()))]


def queries() -> Iterator[Query]:
    """Every query of every panel, with values for the dashboard's variables."""
    for panel in panels():
        for target in panel.get("targets", ()):
            text = target["expr"]
            for name, value in _VARIABLES.items():
                text = text.replace(name, value)
            yield Query(panel["title"], text, target["instant"])
