"""What is not seen but changes how the rest is shown stands on a page escaped."""

import pytest

from poller.web.rendering import Templates, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ü 任务 🚀\ttab\nline", "plain ü 任务 🚀\ttab\nline"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\u2066\u2069\u200f\u061c", r"\u2066\u2069\u200f\u061c"),
        ("\x00\x07\x1b\x7f\x85\r", r"\u0000\u0007\u001b\u007f\u0085\u000d"),
        ("\ud800 \udfff", r"\ud800 \udfff"),
        ("\u2028\ufeff", r"\u2028\ufeff"),
        ("", ""),
    ],
)
def test_text_is_made_printable(text: str, shown: str) -> None:
    """Nothing is lost, and what is harmless stays as it is."""
    assert printable(text) == shown


def test_whatever_a_template_puts_in_is_escaped_and_printable() -> None:
    """Also where nobody thought of it: a notice is one of many places."""
    notice = {"title": "<b>\u202e", "text": "\ud800&", "is_bad": False}
    html = Templates().part("notices", [notice], "")
    assert html.strip() == r'<p class="notice"><strong>&lt;b&gt;\u202e</strong> \ud800&amp;</p>'
