"""Server-sent events are read as the standard has it, however they are cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.cli.eventreader import EventReader, Received
from poller.web.eventstream import Event

STREAM = (
    b": hello\n\nid: 1\n\nid: 2\nevent: moved\ndata: a\ndata:b\ndata\n\n"
    b"unknown: x\r\ndata:  c\r\n\r\nid: no\0t\rdata: d\r\rid\ndata: e\n\nevent: x\n\ndata: never"
)
EVENTS = [
    Received("moved", "a\nb\n", "2"),
    Received("message", " c", "2"),
    Received("message", "d", "2"),
    Received("message", "e", ""),
]


@given(st.lists(st.integers(0, len(STREAM))))
def test_events_are_the_same_wherever_the_bytes_are_cut(cuts: list[int]) -> None:
    """Even in the middle of a line end; what has no end is none, and what has no data only tells its id."""
    reader = EventReader()
    received: list[Received] = []
    edges = [0, *sorted(cuts), len(STREAM)]
    for start, end in pairwise(edges):
        received += reader.feed(STREAM[start:end])
    assert received == EVENTS


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_what_is_framed_is_read_again(text: str) -> None:
    """All of it, with its name and its id; its line ends become plain ones."""
    plain = text.replace("\r\n", "\n").replace("\r", "\n")
    received = list(EventReader().feed(Event(text, "n", "7").framed()))
    assert received == ([Received("n", plain, "7")] if text else [])


@pytest.mark.parametrize("rest", [b"", b"id: 9\ndata: half", b"event: x\n"])
def test_a_new_stream_begins_with_nothing_but_the_last_id(rest: bytes) -> None:
    """What broke off counts for nothing."""
    reader = EventReader()
    assert list(reader.feed(b"id: 1\ndata: a\n\n" + rest)) == [Received("message", "a", "1")]
    reader.begin()
    assert reader.last_id == "1"
    assert list(reader.feed(b"data: b\n\n")) == [Received("message", "b", "1")]
