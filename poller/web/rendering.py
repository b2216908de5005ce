"""Makes pages of templates: whatever a text holds, it stays text and keeps its place; and others have their turn."""

import asyncio
import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

CHUNKS_PER_TURN = 20
"""So few of a template's chunks that they keep the event loop for a few milliseconds: a task's whole line is one."""

_TEMPLATES = Path(__file__).parent / "templates"

_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters (C0 and C1) but for tabulators and line feeds
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # what turns the direction of text (Unicode annex 9)
    "\u2028\u2029\ufff9-\ufffb\ufeff"  # separators and invisible annotations
    "\ud800-\udfff]"  # halves of surrogate pairs, which no encoding of a page holds
)


def printable(text: str) -> str:
    r"""``text`` without what is not seen but changes how the rest is shown: it stands there escaped, as ``\u202e``."""
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _finalize(value: object) -> object:
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


class Templates:
    """The templates of the status page. ``script`` is what its pages run."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=StrictUndefined,
            finalize=_finalize,
        )
        style = (_TEMPLATES / "page.css").read_text(encoding="utf-8")
        self.script = (_TEMPLATES / "live.js").read_text(encoding="utf-8")
        self.style_hash = f"sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}"
        # Markup: it is a file of this program, and its hash is that of the very text between the tags.
        self._environment.globals["style"] = Markup(style)  # noqa: S704
        self._environment.globals["script_version"] = hashlib.sha256(self.script.encode()).hexdigest()[:12]
        self._parts = self._environment.globals["parts"] = self._environment.get_template("parts.html").module

    async def page(self, name: str, facts: Mapping[str, object]) -> bytes:
        """The whole of a page, in UTF-8, letting others have their turn in between."""
        chunks = self._environment.get_template(f"{name}.html").generate(facts)
        return (await _in_turns(chunks)).encode()

    def part(self, name: str, facts: object, root: str) -> str:
        """What stands in one element of a page; ``root`` is the way from that page to the first one."""
        return str(getattr(self._parts, name)(facts, root))


async def _in_turns(chunks: Iterator[str]) -> str:
    rendered = []
    for number, chunk in enumerate(chunks):
        rendered.append(chunk)
        if number % CHUNKS_PER_TURN == 0:
            await asyncio.sleep(0)
    return "".join(rendered)
