"""A page that is open, while what it shows changes: as a person at the keyboard sees it."""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.web.browser.conftest import PATIENCE_MS, Jobs, Visit, visiting

pytestmark = pytest.mark.e2e


@pytest.fixture(autouse=True)
def patience() -> None:
    expect.set_options(timeout=PATIENCE_MS)


def names(page: Page) -> list[str]:
    return page.locator("#rows th > a").all_text_contents()


def test_a_bar_and_a_state_move_without_reload(jobs: Jobs, visit: Visit) -> None:
    """The very elements stay, with what the reader has done to them; the title and the numbers follow."""
    page = visit.open(f"{jobs.daemon}/?q=a")
    visit.until_live()
    bar = page.locator('#rows tr[data-key="team/a/bar"] progress')
    page.evaluate("document.querySelector('tr[data-key=\"team/a/bar\"] progress').mine = true")
    failed = int(page.locator(".tile.failed b").inner_text())
    jobs.now("bar", "in_progress", percent=73)
    expect(bar).to_have_attribute("value", "73.0")
    assert page.evaluate("document.querySelector('tr[data-key=\"team/a/bar\"] progress').mine")
    jobs.now("state", "failed", error={"message": "out of memory"})
    expect(page.locator('tr[data-key="state"] .badge.failed')).to_be_visible()
    expect(page.locator('tr[data-key="state"] .message')).to_have_text("out of memory")
    expect(page.locator(".tile.failed b")).to_have_text(str(failed + 1))
    assert names(page)[0] == "state"
    assert page.evaluate("window.neverReloaded")


def test_rows_come_and_go_and_the_reader_keeps_place_and_focus(jobs: Jobs, visit: Visit) -> None:
    """A row that comes above the one that is read, or moves it, moves nothing on the screen; focus goes nowhere."""
    jobs.now("comes", "queued")
    page = visit.open(f"{jobs.daemon}/?state=running&state=pending&state=succeeded&sort=name")
    visit.until_live()
    expect(page.locator('tr[data-key="comes"] .badge.pending')).to_be_visible()
    link = page.get_by_role("link", name="done-050")
    link.focus()
    top = link.bounding_box()
    assert top is not None
    assert page.evaluate("scrollY") > 0
    jobs.now("comes", "failed")
    expect(page.locator('tr[data-key="comes"]')).to_have_count(0)
    after = link.bounding_box()
    assert after is not None
    assert abs(after["y"] - top["y"]) < 2
    assert page.evaluate("document.activeElement.textContent") == "done-050"
    page.goto(f"{jobs.daemon}/?state=failed")
    visit.until_live()
    expect(page.locator('tr[data-key="comes"]')).to_have_count(1)


def test_a_row_that_goes_leaves_the_focus_at_the_list(jobs: Jobs, visit: Visit) -> None:
    """And not at the top of the page, from where a keyboard would have to begin anew."""
    page = visit.open(f"{jobs.daemon}/?q=goes&state=running")
    visit.until_live()
    page.get_by_role("link", name="goes").focus()
    jobs.now("goes", "success")
    expect(page.locator("#rows tr")).to_have_count(0)
    expect(page.locator("#paging")).to_contain_text("No task matches.")
    assert page.evaluate("document.activeElement.id") == "tasks"


def test_a_tasks_page_tells_its_past_its_next_poll_and_goes_on(jobs: Jobs, visit: Visit) -> None:
    """Names hold slashes, percent-encoded or not; what the reader has opened stays open."""
    jobs.now("bar", "in_progress", percent=5)
    page = visit.page
    for path in ("tasks/team/a/bar", "tasks/team%2Fa%2Fbar"):
        visit.open(f"{jobs.daemon}/{path}")
        visit.until_live()
        assert page.get_by_role("heading", level=1).inner_text() == "team/a/bar"
    expect(page.locator("#next")).to_contain_text(re.compile("Back-off|likely|due"))
    expect(page.locator("#answers details").first).to_contain_text("in_progress")
    opened = page.locator("#answers details").last
    opened.evaluate("details => { details.open = true; }")
    jobs.now("bar", "in_progress", percent=64)
    expect(page.locator("#head progress")).to_have_attribute("value", "64.0")
    steps = page.locator("#steps li").count()
    jobs.now("bar", "queued")
    expect(page.locator("#steps li")).to_have_count(steps + 1)
    expect(page.locator("#head .badge.pending")).to_be_visible()
    newest = page.locator("#answers details").first
    expect(newest).to_contain_text("pending")
    expect(newest).not_to_have_attribute("open", "")
    expect(opened).to_have_attribute("open", "")
    assert page.evaluate("window.neverReloaded")
    page.get_by_role("link", name="jobs").click()
    expect(page.locator("#connections tbody tr")).to_have_count(1)


def test_filters_sorting_and_pages_are_links_and_a_form(jobs: Jobs, visit: Visit) -> None:
    """By keyboard: each can be reached and used, and the address says what is shown."""
    page = visit.open(f"{jobs.daemon}/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    sorting = page.locator("thead").get_by_role("link", name="Task")
    sorting.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/?sort=name")
    assert page.locator("th[aria-sort=ascending]").inner_text().startswith("Task")
    assert names(page)[0] == "comes"
    sorting.click()
    page.wait_for_url("**/?sort=-name")
    assert page.locator("th[aria-sort=descending]").count() == 1
    assert names(page)[0] == "team/a/bar"
    page.get_by_role("link", name="Next page").click()
    assert 0 < len(names(page)) < 100
    page.get_by_label("Label").fill("team:a")
    page.get_by_label("Label").press("Enter")
    assert names(page) == ["team/a/bar"]
    page.get_by_label("Label").fill("")
    page.get_by_label("State").select_option("succeeded")
    page.get_by_label("Name").fill("DONE-00")
    page.get_by_role("button", name="Filter").click()
    assert len(names(page)) == 10
    page.get_by_role("link", name="Clear").click()
    assert len(names(page)) == 100


def test_what_moves_can_be_stopped(jobs: Jobs, visit: Visit) -> None:
    """While it is paused nothing changes, and afterwards all is caught up with."""
    jobs.now("bar", "in_progress", percent=11)
    page = visit.open(f"{jobs.daemon}/?q=bar")
    visit.until_live()
    bar = page.locator("#rows progress")
    expect(bar).to_have_attribute("value", "11.0")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#live")).to_have_text("Paused")
    jobs.now("bar", "in_progress", percent=12)
    with page.context.new_page() as other:
        other.goto(f"{jobs.daemon}/?q=bar")
        expect(other.locator("#rows progress")).to_have_attribute("value", "12.0")
    assert bar.get_attribute("value") == "11.0"
    page.get_by_role("button", name="Go on").click()
    expect(bar).to_have_attribute("value", "12.0")


def test_hostile_strings_change_nothing(jobs: Jobs, browser: Browser) -> None:
    """Neither structure nor layout, in the page as it is sent and as it is kept up to date, on a phone too."""
    for width in (1360, 360):
        with visiting(browser, viewport={"width": width, "height": 800}) as visit:
            page, text = visit.page, ""
            for path in ("?q=evil", "tasks/evil-status", "tasks/evil"):
                visit.open(f"{jobs.daemon}/{path}")
                visit.until_live()
                assert page.evaluate("window.pwned") is None
                assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
                assert page.locator("img, iframe, script:not([src*='live.js'])").count() == 0
                assert page.evaluate("[...document.querySelectorAll('#rows tr')].every(row => row.cells.length === 7)")
                assert page.evaluate("document.body.scrollHeight") < 6_000
                text = page.inner_text("body")
                assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08]", text)
            assert r"\u202egnp.exe" in text
