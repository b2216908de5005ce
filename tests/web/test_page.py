"""The status page as it is sent: it shows people everything, and nobody's text becomes markup."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, quote, urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import MultiDict
from yarl import URL

from poller.domain.circuit import Phase
from poller.domain.errors import StoreError
from poller.domain.observation import Failure, Outcome, Subtasks
from poller.domain.prospect import Basis, Prospect
from poller.domain.state import State
from poller.domain.task import Contact
from poller.protocols import Member, PollRecord
from poller.web.pictures import ROWS
from poller.web.rendering import Templates
from poller.web.view import LONGEST_NOTE, link, row
from tests.emit.fakes import NOW, FakeConnection, watched
from tests.web.fakes import Client, World, moved

VOID = {"meta", "link", "input", "br"}
SCRIPT = hashlib.sha256(Templates().script.encode()).hexdigest()[:12]


class Document(HTMLParser):
    """The elements and links of a page; that all tags close in order is checked on the way."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def attributes(self, tag: str, key: str) -> list[str]:
        return [str(attributes[key]) for name, attributes in self.elements if name == tag and key in attributes]


async def page(client: Client, path: str = "/") -> str:
    async with client.get(path) as response:
        assert (response.status, response.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        return await response.text()


def rows(html: str) -> list[str]:
    return re.findall(r'<a href="tasks/[^"]+">([^<]+)</a>', html)


async def test_nothing_watched_says_what_to_do(client: Client) -> None:
    html = await page(client)
    assert "Nothing is being watched. Add tasks" in html
    assert "No provider is configured." in await page(client, "/connections")


async def test_every_state_is_shown_and_counted(world: World, client: Client) -> None:
    world.watching.shown += [watched(f"in-{state}", state) for state in State] + [watched("more", overdue=True)]
    html = await page(client)
    assert len(rows(html)) == len(State) + 1
    for state in State:
        count = 2 if state is State.RUNNING else 1
        assert f'<a class="tile {state}" href="?state={state}"><b>{count}</b> {state}</a>' in html
        assert f'<span class="badge {state}">{state}</span>' in html
    assert '<a class="tile overdue" href="?flag=overdue"><b>1</b> overdue</a>' in html
    assert '<a class="tile stalled zero"' in html


async def test_a_task_is_shown_with_all_that_matters(world: World, client: Client) -> None:
    failure = Failure(Outcome.UNREACHABLE, NOW - 30, "timed out")
    world.watching.shown.append(
        watched(
            "eu/import",
            contact=Contact(polls=9, last_polled_at=NOW - 30, consecutive_failures=4, last_failure=failure),
            labels={"team": "ads"},
            raw_status="RUNNING",
            progress=42.4,
            message="copying",
            started_at=NOW - 5400,
            subtasks=Subtasks(6, 4, ("load",)),
            unreachable=True,
            late=True,
            prospect=Prospect(Basis.HISTORY, 6120.0, 5880.0, 6600.0, 5500.0),
            run=3,
        )
    )
    html = await page(client)
    for expected in (
        '<a href="tasks/eu/import">eu/import</a><small>jobs · job · run 3</small>',
        '<a class="label" href=".?label=team%3Aads">team: ads</a>',
        '<span class="badge flag">unreachable</span>',
        'max="100" value="42.4" aria-label="Progress of eu/import"></progress> <span class="number">42 %</span>',
        "4 of 6 parts, 1 failed",
        "<code>RUNNING</code>",
        'data-label="Elapsed" class=""><span class="span" data-since="1789994600.5">1h30m</span></td>',
        '<time datetime="2026-09-21T14:12:50.500Z" title="2026-09-21T14:12:50.500Z"',
        ' data-at="1789999970.5">30s ago</time>',
        '<td role="cell" data-label="Expected end" class=""><time datetime="2026-09-21T14:25:20.500Z"',
        ' data-at="1790000720.5">in 12m</time><small>14:21–14:33</small>',
        '<span class="badge flag">late</span>',
        '<bdi>copying</bdi><small class="failure"><bdi>unreachable, 4 polls in a row: timed out</bdi></small>',
    ):
        assert expected in html


async def test_connections_are_shown(world: World, client: Client) -> None:
    world.watching.shown += [watched("a"), watched("b")]
    world.watching.lanes += [
        FakeConnection("jobs", 3, 1200, "throttled", rate=12.5, phase=Phase.PAUSED, paused_until=NOW + 40),
        FakeConnection("idle"),
    ]
    world.counts.counted["jobs"] = {Outcome.ANSWERED: 1500, Outcome.THROTTLED: 2, Outcome.MISSING: 0}
    html = await page(client, "/connections")
    for expected in (
        '<a href=".?provider=jobs">jobs</a>',
        '<span class="badge paused">paused (throttled)</span><small>one poll goes out <time',
        '12.5/s<small class="failure">of 50/s, after throttling</small>',
        ">3 of 32</td>",
        'data-label="Waiting" class="number">1,200</td>',
        'data-label="Tasks" class="number">2</td>',
        "<b>1,500</b> answered",
        "<b>2</b> throttled",
    ):
        assert expected in html
    assert "missing" not in html.partition("</style>")[2]
    assert html.count('<span class="badge open">open</span>') == 1
    assert "This is the only one" in html
    assert "jobs: paused (throttled).</strong> 1,200 polls wait." in await page(client)


async def test_replicas_are_shown_with_what_they_hold(world: World, client: Client) -> None:
    world.replicas.alive += [Member("a-1", 512, 7200.0), Member("b-2", 500, 30.0, is_here=True)]
    html = await page(client, "/connections")
    assert re.search(r">a-1</th>.*>2h</td>.*>512</td>.*value=\"50.0\"", html, re.DOTALL)
    assert ">b-2<small>shows this page</small>" in html
    assert "12 partitions are held by nobody." in html
    world.replicas.broken = True
    html = await page(client, "/connections")
    assert "<strong>The store cannot be read.</strong> the store does not answer" in html


async def test_trouble_is_on_top(world: World, client: Client) -> None:
    world.watching.complaints.append("No poll was sent for 5m.")
    assert "<strong>Polling makes no progress.</strong> No poll was sent for 5m.</p>" in await page(client)
    world.watching.complaints.clear()
    world.watching.ready = False
    assert "<strong>Not ready.</strong>" in await page(client)


async def test_filters_choose_rows_and_stay_chosen(world: World, client: Client) -> None:
    world.watching.shown += [watched("a-1"), watched("a-2", State.FAILED), watched("b-1", provider="search")]
    html = await page(client, "/?q=A-&state=running&provider=&refresh=15")
    assert rows(html) == ["a-1"]
    assert "<option selected>running</option>" in html
    assert '<input type="search" name="q" value="A-"' in html
    assert 'href="?q=A-&amp;refresh=15" aria-current="true"><b>2</b> running' in html
    assert rows(await page(client, "/?provider=search")) == ["b-1"]
    assert "No task matches" in await page(client, "/?q=nothing")


async def test_a_hundred_rows_fit_on_a_page_and_the_rest_follows(world: World, client: Client) -> None:
    world.watching.shown += [watched(f"n{number:03}") for number in range(2 * ROWS + 5)]
    html = await page(client, "/?q=n&sort=name")
    assert len(rows(html)) == ROWS
    assert "1–100 of 205 tasks, page 1 of 3" in html
    (following,) = re.findall(r'<a href="([^"]+)" rel="next">', html)
    html = await page(client, "/" + following.replace("&amp;", "&"))
    assert rows(html)[0] == "n100"
    (following,) = re.findall(r'<a href="([^"]+)">Last page', html)
    html = await page(client, "/" + following.replace("&amp;", "&"))
    assert rows(html) == [f"n{number}" for number in range(2 * ROWS, 2 * ROWS + 5)]
    assert 'rel="next"' not in html
    assert '<a href="?q=n&amp;sort=name">First page</a>' in html
    assert rows(await page(client, "/?q=n&sort=name&page=9")) == rows(html)


async def test_columns_are_sorted_by_links(world: World, client: Client) -> None:
    world.watching.shown += [watched("a", progress=1.0), watched("b", progress=2.0)]
    html = await page(client, "/?q=&state=running&page=2")
    assert 'aria-sort="ascending"><a href="?state=running&amp;sort=-state">State' in html
    assert rows(html) == ["a", "b"]
    assert '<a href="?state=running&amp;sort=-progress">Progress' in html
    html = await page(client, "/?state=running&sort=-progress")
    assert rows(html) == ["b", "a"]
    assert 'aria-sort="descending"><a href="?state=running&amp;sort=progress">Progress' in html
    assert '<a href="?state=running">State' in html


@pytest.mark.parametrize(("query", "reloads"), [("", []), ("?refresh=15", ["15"]), ("?refresh=0;url=x", [])])
async def test_the_page_reloads_only_when_asked_to(client: Client, query: str, reloads: list[str]) -> None:
    assert re.findall(r'http-equiv="refresh" content="([^"]*)"', await page(client, f"/{query}")) == reloads


async def test_the_policy_allows_this_style_and_nothing_else(client: Client) -> None:
    async with client.get("/") as response:
        html, policy = await response.text(), response.headers["Content-Security-Policy"]
    (style,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy
    assert "script-src 'self'; connect-src 'self'" in policy
    assert "unsafe" not in policy
    assert re.findall("<script[^>]*>", html) == [f'<script src="live.js?{SCRIPT}" defer>']
    assert " style=" not in html
    async with client.get(f"/live.js?{SCRIPT}") as response:
        assert response.headers["Content-Type"] == "text/javascript; charset=utf-8"


async def test_every_link_is_relative_so_that_the_page_can_live_under_any_path(world: World, client: Client) -> None:
    world.watching.shown += [watched("//evil.example/x"), watched("javascript:alert")]
    world.watching.lanes.append(FakeConnection("jobs"))
    for path in ("/", "/connections", "/tasks/javascript:alert"):
        document = Document(await page(client, path))
        sources = [*document.attributes("script", "src"), *document.attributes("html", "data-live")]
        for href in [*document.attributes("a", "href"), *document.attributes("form", "action"), *sources]:
            assert (urlsplit(href).scheme, urlsplit(href).netloc, href.startswith("/")) == ("", "", False)


@pytest.mark.parametrize("prefix", ["/", "/below/this"])
@pytest.mark.parametrize("name", ["plain", "a/b/c", "//evil.example/x", "a/../b", "./x", "tail/", "a:b@c+d"])
async def test_links_lead_to_every_task_and_back(prefix: str, name: str) -> None:
    world = World(prefix=prefix)
    world.watching.shown.append(watched(name))
    async with world.client() as client:
        first = client.make_url(prefix.rstrip("/") + "/")
        for away in (first, first.join(URL("connections"))):
            assert (
                first.join(URL(re.findall(r'<a class="brand" href="([^"]+)"', await page(client, away.path))[0]))
                == first
            )
        (href,) = re.findall(r'<a href="(tasks/[^"]+)"', await page(client, first.path))
        there = urljoin(str(first), href)
        encoded = f"{first}tasks/{quote(name, safe='')}"
        for url in (there, encoded):
            async with client.session.get(URL(url, encoded=True)) as response:
                assert response.status == 200
                html = await response.text()
            assert f'<h1 class="name">{name}</h1>' in html
            (back,) = re.findall(r'<a class="brand" href="([^"]+)"', html)
            assert urljoin(url, back) == str(first)
            (live,) = re.findall(r'data-live="([^"]+)"', html)
            async with client.session.get(URL(urljoin(url, live.replace("&amp;", "&")), encoded=True)) as response:
                assert response.headers["Content-Type"] == "text/event-stream"


async def test_open_pages_are_followed_until_the_daemon_stops(world: World) -> None:
    """What changed comes as events, and the end of everything ends them at once."""
    world.watching.shown.append(watched("n", progress=4.0))
    world.watching.lanes.append(FakeConnection("jobs"))
    followed = []
    async with world.client() as client:
        for path in ("/live/tasks?q=n", "/live/connections", "/live/task?name=n&root=1"):
            response = await client.get(path)
            assert response.headers["Content-Type"] == "text/event-stream"
            assert await response.content.readline() == b":\n"
            assert await response.content.readline() == b"\n"
            assert await response.content.readline() == b"event: page\n"
            message = json.loads((await response.content.readline()).removeprefix(b"data: "))
            assert message["now"] == NOW
            assert "notices" in message["parts"] or "next" in message["parts"]
            followed.append(response)
        await client.app.shutdown()
        assert [await response.content.read() for response in followed] == [b"\n"] * 3


async def test_only_so_many_may_follow(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are told so, and have a page that works without."""
    monkeypatch.setattr("poller.web.page.MOST_VIEWERS", 2)
    async with world.client() as client:
        answers = [await client.get("/live/tasks") for _ in range(3)]
        assert [response.status for response in answers] == [200, 200, 503]
        assert "2 event streams are open already" in await answers[2].text()
        assert "Nothing is being watched" in await page(client)


async def test_a_task_that_is_not_there_is_404(client: Client) -> None:
    async with client.get("/tasks/a/b", headers={"Accept": "text/html"}) as response:
        html = await response.text()
        assert (response.status, response.content_type) == (404, "text/html")
    assert "no task &#39;a/b&#39; is known" in html
    assert '<a href="../../">All tasks</a>' in html
    async with client.get("/tasks/a/b") as response:
        assert (response.status, response.content_type) == (404, "text/plain")


async def test_beside_the_prefix_a_page_shows_the_way(world: World) -> None:
    """From whatever path, as a link that is relative like all."""
    world.prefix = "/below/this"
    async with world.client() as client:
        for path, way in (("/nothing", "below/this/"), ("/a/b/c", "../../below/this/"), ("/below/this/x", ".")):
            async with client.get(path, headers={"Accept": "text/html"}) as response:
                assert response.status == 404
                assert f'<a href="{way}">All tasks</a>' in await response.text()


async def test_what_the_store_cannot_tell_is_said_and_the_rest_shown(world: World, client: Client) -> None:
    world.watching.shown.append(watched("n", message="copying"))
    world.store.broken = True
    async with client.get("/tasks/n") as response:
        html = await response.text()
        assert response.status == 503
    assert "poller.db: disk I/O error; see that the disk is well What happened before is not shown." in html
    assert "copying" in html


async def test_a_list_that_cannot_be_read_is_503_with_the_reason(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_census: object, after: str = "") -> object:
        raise StoreError("the database does not answer; see that it runs")

    monkeypatch.setattr("tests.web.fakes.FakeCensus.slices", broken)
    async with world.client() as client:
        async with client.get("/", headers={"Accept": "text/html,*/*"}) as response:
            html = await response.text()
            assert (response.status, response.content_type) == (503, "text/html")
    assert "the database does not answer; see that it runs" in html
    Document(html)


async def test_the_document_is_sound_and_says_its_language(world: World, client: Client) -> None:
    world.watching.shown += [watched(f"in-{state}", state, progress=1.0) for state in State]
    world.watching.lanes += [FakeConnection("jobs")]
    world.watching.polled.append(
        ("in-failed", PollRecord(NOW, Outcome.ANSWERED, State.FAILED, answer="{}", request="GET"))
    )
    world.store.kept += [moved("in-failed", number, State.FAILED) for number in (1, 2)]
    for path in ("/", "/connections", "/tasks/in-failed"):
        document = Document(await page(client, path))
        assert document.attributes("html", "lang") == ["en"]
        assert set(document.attributes("th", "scope")) >= {"col"}
        assert [tag for tag, _ in document.elements].count("h1") == 1
        ids = [str(found["id"]) for _, found in document.elements if "id" in found]
        assert len(ids) == len(set(ids))


async def test_nobodys_text_becomes_markup(world: World, client: Client) -> None:
    evil = "\"'><script>alert(1)</script>&amp;\ud800\u202e\x00"
    contact = Contact(consecutive_failures=1, last_failure=Failure(Outcome.REJECTED, NOW, evil))
    labels = {evil: evil}
    world.watching.shown.append(
        watched(
            "n",
            provider=evil,
            operation=evil,
            labels=labels,
            contact=contact,
            raw_status=evil,
            message=evil,
            run_id=evil,
        )
    )
    world.watching.lanes.append(FakeConnection(evil, paused="throttled", phase=Phase.PAUSED))
    world.watching.complaints.append(evil)
    world.replicas.alive.append(Member(evil, 1, 1.0))
    world.store.kept.append(replace(moved("n", 1), message=evil, raw_status=evil, transition_id=evil))
    told: dict[str, Any] = dict.fromkeys(
        ("raw_status", "code", "message", "rule", "saw", "request", "answer", "request_id"), evil
    )
    world.watching.polled.append(("n", PollRecord(NOW, Outcome.REJECTED, State.RUNNING, **told)))
    evil_query = "?label=a:%3Cscript%3E&operation=%22%3E%3Cscript%3E&q=%22%3E%3Cscript%3E&label=b:%3Cscript%3E"
    for path in ("/", f"/{evil_query}", "/connections", "/tasks/n"):
        html = await page(client, path)
        assert html.count("<script") == 1
        assert "alert(1)" in html or path.startswith("/?")
        assert not re.search("[\u202e\x00]", html)
        Document(html)


@pytest.mark.parametrize("path", ["/", "/live/tasks"])
async def test_an_impossible_filter_is_refused(client: Client, path: str) -> None:
    async with client.get(f"{path}?state=done") as response:
        assert response.status == 400
        assert "one of unknown, pending, running" in await response.text()


@given(st.lists(st.tuples(st.sampled_from(["q", "label", "cursor"]), st.text(min_size=1)), max_size=4), st.text())
def test_links_change_what_they_say_and_keep_the_rest(pairs: list[tuple[str, str]], value: str) -> None:
    followed = parse_qs(urlsplit(link(MultiDict(pairs), cursor=None, provider=value)).query)
    expected: dict[str, list[str]] = {}
    for key, each in [*pairs, ("provider", value)]:
        if key != "cursor" and each:
            expected.setdefault(key, []).append(each)
    assert followed == expected


def test_a_long_message_is_cut() -> None:
    cut = row(watched("n", message="x" * 1000), NOW).message
    assert cut is not None
    assert (len(cut), cut[-1]) == (LONGEST_NOTE, "…")


def test_failures_of_the_past_are_not_shown() -> None:
    past = Failure(Outcome.UNREACHABLE, NOW, "timed out")
    assert row(watched("n", contact=Contact(consecutive_failures=0, last_failure=past)), NOW).failure is None
    over = watched("n", State.MISSING, contact=Contact(consecutive_failures=1, last_failure=past))
    assert row(over, NOW).failure is None
