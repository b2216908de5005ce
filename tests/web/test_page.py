"""The status page shows people everything, and nobody's text becomes markup."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import MultiDict

from poller.domain.observation import Failure, Outcome, Subtasks
from poller.domain.prospect import Basis, Prospect
from poller.domain.state import State
from poller.domain.task import Contact
from poller.web.page import ROWS
from poller.web.view import LONGEST_NOTE, link, row
from tests.emit.fakes import NOW, FakeConnection, watched
from tests.web.fakes import Client, World

VOID = {"meta", "link", "input", "br"}


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
    return re.findall(r'<a href="api/v1/tasks/[^"]+">([^<]+)</a>', html)


async def test_nothing_watched_says_what_to_do(client: Client) -> None:
    html = await page(client)
    assert "Nothing is being watched. Add tasks" in html
    assert "No provider is configured." in html


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
            next_poll_at=NOW + 8,
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
        '<a href="api/v1/tasks/eu%2Fimport">eu/import</a><small>jobs · job · run 3</small>',
        '<span class="badge flag">unreachable</span>',
        'max="100" value="42.4" aria-label="Progress of eu/import"></progress> 42 %',
        "4 of 6 parts, 1 failed",
        "<code>RUNNING</code>",
        ">1h30m ago</time>",
        'data-label="Duration" class="">1h30m</td>',
        '<time datetime="2026-09-21T14:12:50.500Z" title="2026-09-21T14:12:50.500Z">30s ago</time>',
        ">in 8s</time>",
        '<td role="cell" data-label="Expected end" class="">'
        '<time datetime="2026-09-21T14:25:20.500Z" title="2026-09-21T14:25:20.500Z">in 12m (8m-20m)</time>',
        '<span class="badge flag">late</span>',
        'copying<small class="failure">unreachable 4 times, 30s ago: timed out</small>',
    ):
        assert expected in html


async def test_connections_are_shown(world: World, client: Client) -> None:
    world.watching.lanes += [FakeConnection("jobs", 3, 12, "throttled"), FakeConnection("idle")]
    html = await page(client)
    assert '<a href="?provider=jobs">jobs</a>' in html
    assert "paused: throttled" in html
    assert html.count('<span class="badge succeeded">open</span>') == 1


async def test_trouble_is_on_top(world: World, client: Client) -> None:
    world.watching.complaints.append("No poll was sent for 5m.")
    assert "<li>No poll was sent for 5m.</li>" in await page(client)
    world.watching.complaints.clear()
    world.watching.ready = False
    assert "<strong>Starting.</strong>" in await page(client)


async def test_filters_choose_rows_and_stay_chosen(world: World, client: Client) -> None:
    world.watching.shown += [watched("a-1"), watched("a-2", State.FAILED), watched("b-1", provider="search")]
    html = await page(client, "/?q=A-&state=running&provider=&refresh=15")
    assert rows(html) == ["a-1"]
    assert "<option selected>running</option>" in html
    assert '<input type="search" name="q" value="A-"' in html
    assert 'href="?q=A-&amp;refresh=15" aria-current="true"><b>2</b> running' in html
    assert rows(await page(client, "/?provider=search")) == ["b-1"]
    assert "No task matches" in await page(client, "/?q=nothing")


async def test_two_hundred_rows_fit_on_a_page_and_the_rest_follows(world: World, client: Client) -> None:
    world.watching.shown += [watched(f"n{number:03}") for number in range(ROWS + 5)]
    html = await page(client, "/?q=n")
    assert len(rows(html)) == ROWS
    (following,) = re.findall(r'<a href="([^"]+)" rel="next">', html)
    html = await page(client, "/" + following.replace("&amp;", "&"))
    assert rows(html) == [f"n{number}" for number in range(ROWS, ROWS + 5)]
    assert 'rel="next"' not in html
    assert '<a href="?q=n">First page</a>' in html


@pytest.mark.parametrize(("query", "reloads"), [("", []), ("?refresh=15", ["15"]), ("?refresh=0;url=x", [])])
async def test_the_page_reloads_only_when_asked_to(client: Client, query: str, reloads: list[str]) -> None:
    assert re.findall(r'http-equiv="refresh" content="([^"]*)"', await page(client, f"/{query}")) == reloads


async def test_the_policy_allows_this_style_and_nothing_else(client: Client) -> None:
    async with client.get("/") as response:
        html, policy = await response.text(), response.headers["Content-Security-Policy"]
    (style,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy
    assert "<script" not in html
    assert " style=" not in html


async def test_every_link_is_relative_so_that_the_page_can_live_under_any_path(world: World, client: Client) -> None:
    world.watching.shown += [watched("//evil.example/x"), watched("javascript:alert")]
    document = Document(await page(client))
    for href in [*document.attributes("a", "href"), *document.attributes("form", "action")]:
        assert (urlsplit(href).scheme, urlsplit(href).netloc, href.startswith("/")) == ("", "", False)


async def test_the_document_is_sound_and_says_its_language(world: World, client: Client) -> None:
    world.watching.shown += [watched(f"in-{state}", state, progress=1.0) for state in State]
    world.watching.lanes += [FakeConnection("jobs")]
    document = Document(await page(client))
    assert document.attributes("html", "lang") == ["en"]
    assert set(document.attributes("th", "scope")) == {"col", "row"}
    assert [tag for tag, _ in document.elements].count("title") == 1


async def test_nobodys_text_becomes_markup(world: World, client: Client) -> None:
    evil = "\"'><script>alert(1)</script>&amp;\ud800"
    contact = Contact(consecutive_failures=1, last_failure=Failure(Outcome.REJECTED, NOW, evil))
    world.watching.shown.append(
        watched("n", provider=evil, operation=evil, contact=contact, raw_status=evil, message=evil)
    )
    world.watching.lanes.append(FakeConnection(evil, paused=evil))
    world.watching.complaints.append(evil)
    html = await page(client, "/?label=a:%3Cscript%3E&operation=%22%3E%3Cscript%3E")
    assert "<script" not in html + await page(client)
    Document(await page(client, "/?q=%22%3E%3Cscript%3E"))
    Document(html)


async def test_an_impossible_filter_is_refused(client: Client) -> None:
    async with client.get("/?state=done") as response:
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


@pytest.mark.parametrize(
    ("state", "known", "took"),
    [
        (State.RUNNING, {"started_at": NOW - 65}, "1m5s"),
        (State.RUNNING, {"started_at": NOW + 65}, None),
        (State.RUNNING, {}, None),
        (State.SUCCEEDED, {"started_at": NOW - 65}, None),
        (State.SUCCEEDED, {"started_at": NOW - 65, "duration": 60.0}, "1m"),
        (State.SUCCEEDED, {"duration": 0.0}, "0s"),
    ],
)
def test_how_long_it_took_is_told_when_known(state: State, known: dict[str, Any], took: str | None) -> None:
    assert row(watched("n", state, **known), NOW).took == took
