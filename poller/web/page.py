"""The status page for people: one HTML document, no script, every filter a link or a form.

It loads itself anew only when asked to (``?refresh=10``): a page that moves under its reader helps nobody.
"""

import asyncio
import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from multidict import MultiMapping

from poller.domain.moments import rfc3339
from poller.domain.state import Flag, State
from poller.protocols import Census, Clock, WatchedTask, Watching
from poller.web.selection import Selection, in_turns, parse_selection
from poller.web.view import Counts, line, link, row, tiles

ROWS = 200
CHUNKS_PER_TURN = 1_000
"""So few of a template's chunks that they keep the event loop for a few milliseconds."""

REFRESH_SECONDS = ("5", "15", "60")
FILTERS = ("state", "flag", "provider", "operation", "owner", "source", "label", "q", "limit", "cursor")

ENDPOINTS = (
    ("metrics", "metrics for Prometheus"),
    ("api/v1/tasks", "tasks, as JSON"),
    ("api/v1/transitions", "transitions, newest first, as JSON"),
    ("-/healthy", "whether polling makes progress"),
    ("-/ready", "whether the watchlist is loaded"),
)

_TEMPLATES = Path(__file__).parent / "templates"


class StatusPage:
    """Renders the page from what is being watched."""

    def __init__(self, census: Census, watching: Watching, clock: Clock) -> None:
        self._census = census
        self._watching = watching
        self._clock = clock
        self._style = (_TEMPLATES / "status.css").read_text(encoding="utf-8")
        environment = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=StrictUndefined,
        )
        self._template = environment.get_template("status.html")

    @property
    def style_hash(self) -> str:
        """What a Content-Security-Policy calls the page's one style sheet."""
        return f"sha256-{base64.b64encode(hashlib.sha256(self._style.encode()).digest()).decode()}"

    async def show(self, request: web.Request) -> web.Response:
        """Answers a request for the page; BadQueryError for filters that mean nothing."""
        query = request.query
        selection = parse_selection(query, ROWS)
        counts, tasks = Counts(), list[WatchedTask]()
        async for part in self._census.slices():
            tasks.extend(part)
            counts.add(watched.task for watched in part)
        picked, cursor = await selection.pick(in_turns(tasks))
        now = self._clock.now()
        chunks = self._template.generate(
            now=rfc3339(now),
            rows=[row(watched, now) for watched in picked],
            next_href=link(query, cursor=cursor) if cursor else None,
            **self._overview(query, selection, counts),
            **_navigation(query),
        )
        html = await _rendered(chunks)
        return web.Response(body=html.encode(errors="replace"), content_type="text/html", charset="utf-8")

    def _overview(self, query: MultiMapping[str], selection: Selection, counts: Counts) -> dict[str, object]:
        watching = self._watching
        return {
            # Markup: it is a file of this program, and its hash is that of the very text between the tags.
            "style": Markup(self._style),  # noqa: S704
            "ready": watching.ready,
            "stalled": watching.stalled(),
            "total": counts.states.total(),
            "total_href": link(query, state=None, flag=None, cursor=None),
            "any_chosen": bool(selection.states or selection.flags),
            "states": tiles(query, "state", State, counts.states),
            "flags": tiles(query, "flag", Flag, counts.flags),
            "connections": [line(connection, counts, query) for connection in watching.connections()],
            "providers": sorted(counts.providers),
            "endpoints": ENDPOINTS,
        }


async def _rendered(chunks: Iterator[str]) -> str:
    """The whole of what a template generates, letting others have their turn in between."""
    rendered = []
    for number, chunk in enumerate(chunks):
        rendered.append(chunk)
        if number % CHUNKS_PER_TURN == 0:
            await asyncio.sleep(0)
    return "".join(rendered)


def _navigation(query: MultiMapping[str]) -> dict[str, object]:
    asked = query.get("refresh")
    return {
        "query": query,
        "filtered": any(query.get(key) for key in FILTERS),
        "clear_href": link(query, **dict.fromkeys(FILTERS)),
        "first_href": link(query, cursor=None) if query.get("cursor") else None,
        "refresh": asked if asked in REFRESH_SECONDS else None,
        "refresh_links": [(seconds, link(query, refresh=seconds)) for seconds in REFRESH_SECONDS],
        "still_href": link(query, refresh=None),
        "again_href": link(query),
    }
