"""A scraper gets the format it asks for."""

import pytest

from poller.emit.textformat import OPENMETRICS, PLAIN, TextFormat, negotiate

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;"
    "q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", PLAIN),
        ("*/*", PLAIN),
        (BROWSER, PLAIN),
        (PROMETHEUS_2, OPENMETRICS),
        (PROMETHEUS_3, OPENMETRICS),
        ("application/openmetrics-text", OPENMETRICS),
        ('Application/OpenMetrics-Text; Version="1.0.0"', OPENMETRICS),
        ("application/openmetrics-text; version=0.0.1, text/plain;version=0.0.4;q=0.5", PLAIN),
        ("application/openmetrics-text; version=2.0.0", PLAIN),
        ("text/plain;version=0.0.4, application/openmetrics-text;version=1.0.0;q=0.9", PLAIN),
        ("text/plain;version=0.0.4;q=0.5, application/openmetrics-text;version=1.0.0;q=0.9", OPENMETRICS),
        ("text/plain;q=0.5, application/openmetrics-text;q=0.5", PLAIN),
        ("application/openmetrics-text;q=0, */*;q=0.1", PLAIN),
        ("application/openmetrics-text;q=high", PLAIN),
        ("image/png", PLAIN),
        (";,;q=,=;==", PLAIN),
    ],
)
def test_the_preferred_format_is_chosen_and_plain_text_where_none_is(accept: str, expected: TextFormat) -> None:
    assert negotiate(accept) is expected


def test_a_help_text_stays_on_its_line() -> None:
    assert PLAIN.header("a", "gauge", "one\ntwo \\ three") == "# HELP a one\\ntwo \\\\ three\n# TYPE a gauge\n"


def test_only_the_plain_format_gives_counters_and_infos_their_suffix_in_the_header() -> None:
    assert "# TYPE a_total counter\n" in PLAIN.header("a", "counter", "")
    assert "# TYPE a counter\n" in OPENMETRICS.header("a", "counter", "")
    assert "# TYPE a_info gauge\n" in PLAIN.header("a", "info", "")
    assert "# TYPE a info\n" in OPENMETRICS.header("a", "info", "")
