"""The status page for people: HTML that works without JavaScript, every filter a link or a form.

Where there is JavaScript one small script keeps an open page as it would be if it were loaded anew.
"""

from collections.abc import Mapping
from urllib.parse import quote, unquote

from aiohttp import web
from multidict import MultiMapping

from poller.domain.moments import rfc3339
from poller.web.eventstream import EventStreams
from poller.web.live import MOST_VIEWERS, Live, Look
from poller.web.ordering import parse_order
from poller.web.pictures import FILTERS, Picture, Pictures, asked_for
from poller.web.rendering import Templates
from poller.web.view import headings, link

REFRESH_SECONDS = ("5", "15", "60")
MOST_LABELS = 100
"""Labels that are offered to filter by, those of the most tasks."""

ENDPOINTS = (
    ("metrics", "metrics for Prometheus"),
    ("api/v1/tasks", "tasks, as JSON"),
    ("api/v1/transitions", "transitions, newest first, as JSON"),
    ("api/v1/openapi.json", "the API, described"),
    ("-/healthy", "whether polling makes progress"),
    ("-/ready", "whether the watchlist is loaded"),
)

_TASK = "/tasks/"


class StatusPage:
    """Renders pages below ``prefix``, which ends in no /, and keeps those up to date that are open."""

    def __init__(self, pictures: Pictures, prefix: str = "") -> None:
        self._pictures = pictures
        self._prefix = prefix
        self._templates = Templates()
        self._live = Live(self._templates, pictures.changes)
        self._streams = EventStreams(MOST_VIEWERS)

    @property
    def style_hash(self) -> str:
        """What a Content-Security-Policy calls the style sheet that all pages have."""
        return self._templates.style_hash

    def routes(self) -> list[web.RouteDef]:
        """Every path of the status page but the first one, without the prefix."""
        return [
            web.get("/connections", self._show_connections),
            web.get(_TASK + "{name:.+}", self._show_task),
            web.get("/live.js", self._script),
            web.get("/live/tasks", self._follow_tasks),
            web.get("/live/connections", self._follow_connections),
            web.get("/live/task", self._follow_task),
        ]

    async def close(self, app: web.Application | None = None) -> None:
        """Lets go of everybody who has a page open."""
        await self._streams.close(app)

    async def error(self, request: web.Request, status: int, message: str) -> web.Response:
        """A page that says why there is no other."""
        title = {404: "There is no such page", 503: "Not to be had at the moment"}.get(status, "This was not possible")
        facts = {"title": title, "message": message, "here": None, **self._fixed(request)}
        return _html(await self._templates.page("error", facts), status)

    async def show_tasks(self, request: web.Request) -> web.Response:
        """Answers with the list of tasks; BadQueryError for filters that mean nothing, StoreError."""
        query = request.query
        picture, counts = await self._pictures.tasks(query, with_labels=True)
        asked = query.get("refresh")
        facts: dict[str, object] = {
            "here": "tasks",
            "live": f"live/tasks{link(query, refresh=None).removeprefix('.')}",
            "query": query,
            "providers": sorted(counts.providers),
            "labels": sorted(f"{key}:{value}" for (key, value), _ in counts.labels.most_common(MOST_LABELS)),
            "headings": headings(query, parse_order(query.get("sort", ""))),
            "clear_href": link(query, **dict.fromkeys(FILTERS)) if any(query.get(key) for key in FILTERS) else None,
            "refresh": asked if asked in REFRESH_SECONDS else None,
            "refresh_links": [(seconds, link(query, refresh=seconds)) for seconds in REFRESH_SECONDS],
            "still_href": link(query, refresh=None),
            "again_href": link(query),
        }
        return await self._show(request, "watchlist", picture, facts)

    async def _show_connections(self, request: web.Request) -> web.Response:
        facts = {"here": "connections", "live": "live/connections", "again_href": "connections"}
        return await self._show(request, "connections", await self._pictures.connections(), facts)

    async def _show_task(self, request: web.Request) -> web.Response:
        raw = request.rel_url.raw_path.removeprefix(self._prefix + _TASK)
        name = unquote(raw)
        picture = await self._pictures.task(name)
        live = f"{self._root(request)}live/task?name={quote(name, safe='')}&root={self._root(request).count('/')}"
        facts = {"here": "task", "live": live, "again_href": ""}
        return await self._show(request, "task", picture, facts, 503 if picture.is_partial else 200)

    async def _show(
        self, request: web.Request, name: str, picture: Picture, facts: Mapping[str, object], status: int = 200
    ) -> web.Response:
        shown = {**picture.parts, "rows": picture.rows}
        all_facts = {
            "title": picture.title,
            "now": picture.now,
            "now_exact": rfc3339(picture.now),
            "shown": shown,
            **self._fixed(request),
            **facts,
        }
        return _html(await self._templates.page(name, all_facts), status)

    async def _script(self, _request: web.Request) -> web.Response:
        return web.Response(text=self._templates.script, content_type="text/javascript")

    async def _follow_tasks(self, request: web.Request) -> web.StreamResponse:
        query = request.query

        async def look() -> Picture:
            picture, _ = await self._pictures.tasks(query)
            return picture

        asked_for(query)  # What is wrong with it is told before the stream begins.
        return await self._follow(request, f"tasks?{_canonical(query)}", look, "")

    async def _follow_connections(self, request: web.Request) -> web.StreamResponse:
        return await self._follow(request, "connections", self._pictures.connections, "")

    async def _follow_task(self, request: web.Request) -> web.StreamResponse:
        name = request.query.get("name", "")
        depth = request.query.get("root", "1")
        root = "../" * min(int(depth) if depth.isascii() and depth.isdigit() else 1, 200)
        return await self._follow(request, f"task {depth} {name}", lambda: self._pictures.task(name), root)

    async def _follow(self, request: web.Request, key: str, look: Look, root: str) -> web.StreamResponse:
        return await self._streams.serve(request, self._live.follow(key, look, root))

    def _fixed(self, request: web.Request) -> dict[str, object]:
        return {"root": self._root(request), "endpoints": ENDPOINTS}

    def _root(self, request: web.Request) -> str:
        """The way from the path that was asked for to the list of tasks, relative, for below any path of a proxy."""
        raw = request.rel_url.raw_path
        below = raw.removeprefix(self._prefix)
        if self._prefix and below == raw:
            return "../" * (raw.count("/") - 1) + self._prefix.lstrip("/") + "/"
        return "../" * (below.count("/") - 1)


def _canonical(query: MultiMapping[str]) -> str:
    """The same for all queries that ask for the same."""
    return link(query, refresh=None)


def _html(body: bytes, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, content_type="text/html", charset="utf-8")
