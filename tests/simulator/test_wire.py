"""A request is read exactly as it was received."""

import pytest

from poller.simulator.wire import RawRequest


def test_headers_are_found_in_any_case_trimmed_and_joined() -> None:
    raw = RawRequest("GET", "/", (("X-One", " a "), ("x-one", "b "), ("Other", "c")))
    assert (raw.header("x-ONE"), raw.header("other"), raw.header("none")) == ("a,b", "c", None)


@pytest.mark.parametrize(
    ("target", "segments", "query"),
    [
        ("/", ("",), ()),
        ("/a/b%2Fc/%E4%BB%BB?x=1", ("a", "b/c", "任"), (("x", "1"),)),
        ("/a%252Fb+c/", ("a%2Fb+c", ""), ()),
        ("/a?", ("a",), ()),
        ("/a?b&c=&d=e=f&b=a%20b+c", ("a",), (("b", ""), ("c", ""), ("d", "e=f"), ("b", "a b+c"))),
    ],
)
def test_path_and_query_are_decoded_once(
    target: str, segments: tuple[str, ...], query: tuple[tuple[str, str], ...]
) -> None:
    raw = RawRequest("GET", target, ())
    assert (raw.segments, raw.query) == (segments, query)


def test_the_last_of_several_values_counts() -> None:
    raw = RawRequest("GET", "/?page=1&page=2", ())
    assert (raw.parameter("page", "9"), raw.parameter("size", "9")) == ("2", "9")
