"""Requests and keys as hypothesis draws them for every scheme."""

from datetime import UTC, datetime
from string import ascii_letters, digits

from hypothesis import strategies as st

from poller.providers.credentials.forms import AccessKey
from poller.providers.request import Request, encode_segment

printable = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=12)
visible = st.text(ascii_letters + digits + "+/=-_.", min_size=8, max_size=40)
segments = printable.filter(lambda value: value not in ("", ".", ".."))
queries = st.lists(st.tuples(printable, printable), max_size=4, unique_by=lambda pair: pair[0]).map(tuple)
times = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(lambda when: when.replace(tzinfo=UTC))  # noqa: DTZ001
keys = st.builds(AccessKey, visible, visible.map(lambda text: f"secret:{text}"), st.none() | visible)


@st.composite
def requests(draw: st.DrawFn, headers: st.SearchStrategy[dict[str, str]]) -> Request:
    """A request of any path and query, with headers from the scheme's own choice."""
    path = "".join(f"/{encode_segment(value)}" for value in draw(st.lists(segments, min_size=1, max_size=4)))
    method = draw(st.sampled_from(("GET", "POST")))
    return Request(
        method, "https://api.example.com", path, draw(queries), draw(headers), draw(st.sampled_from((b"", b"{}")))
    )


def respelled(request: Request, order: list[str]) -> Request:
    """The same request with its headers in another order and case."""
    return Request(
        request.method,
        request.origin,
        request.path,
        request.query,
        {name.swapcase(): request.headers[name] for name in order},
        request.body,
    )
