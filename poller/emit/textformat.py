"""The two text formats of metrics: Prometheus 0.0.4 and OpenMetrics 1.0.

They differ in the names that counters and infos bear in their headers, in the kind of an info, and in the last line.

https://prometheus.io/docs/instrumenting/exposition_formats/
https://prometheus.io/docs/specs/om/open_metrics_spec/
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import Metric


@dataclass(frozen=True, slots=True)
class TextFormat:
    """One format: its content type, what headers append to a family's name by its kind, and what closes the page."""

    content_type: str
    header_suffix: Mapping[str, str]
    kinds: Mapping[str, str]
    end: str

    def header(self, name: str, kind: str, text: str) -> str:
        """The lines above a family. ``name`` is without ``_total`` and ``_info``."""
        name += self.header_suffix.get(kind, "")
        return f"# HELP {name} {_escape(text)}\n# TYPE {name} {self.kinds.get(kind, kind)}\n"

    def family(self, metric: Metric) -> str:
        """A family collected by prometheus_client, header and samples."""
        samples = (f"{sample.name}{_braces(sample.labels)} {float(sample.value)!r}\n" for sample in metric.samples)
        return self.header(metric.name, metric.type, metric.documentation) + "".join(samples)


PLAIN = TextFormat(
    "text/plain; version=0.0.4; charset=utf-8",
    {"counter": "_total", "info": "_info"},
    {"info": "gauge", "unknown": "untyped"},
    "",
)
OPENMETRICS = TextFormat("application/openmetrics-text; version=1.0.0; charset=utf-8", {}, {}, "# EOF\n")

_OFFERED = {
    ("application/openmetrics-text", ""): OPENMETRICS,
    ("application/openmetrics-text", "1.0.0"): OPENMETRICS,
    ("text/plain", ""): PLAIN,
    ("text/plain", "0.0.4"): PLAIN,
    ("text/*", ""): PLAIN,
    ("*/*", ""): PLAIN,
}


def negotiate(accept: str) -> TextFormat:
    """The format that an Accept header prefers (RFC 9110, 12.5.1), the first of equals; plain text if it names none."""
    chosen, highest = PLAIN, 0.0
    for part in accept.lower().split(","):
        media_type, *parameters = (piece.strip() for piece in part.split(";"))
        values = dict(_parameter(parameter) for parameter in parameters)
        offered = _OFFERED.get((media_type, values.get("version", "")))
        quality = _quality(values.get("q", "1"))
        if offered and quality > highest:
            chosen, highest = offered, quality
    return chosen


def _parameter(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key.strip(), value.strip().strip('"')


def _quality(text: str) -> float:
    return float(text) if re.fullmatch(r"[01](\.\d{0,3})?", text) else 0.0


def labels_text(labels: Iterable[tuple[str, str]]) -> str:
    """Labels as they stand between the braces; the names must be valid ones."""
    return ",".join(f'{name}="{escape_label_value(value)}"' for name, value in labels)


def escape_label_value(value: str) -> str:
    """``value`` as it stands between the quotes."""
    return _escape(value).replace('"', r"\"")


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _braces(labels: Mapping[str, str]) -> str:
    return f"{{{labels_text(labels.items())}}}" if labels else ""
