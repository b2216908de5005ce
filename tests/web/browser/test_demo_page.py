"""Every page of the demo, as people see it: in both themes, on a desk and on a phone, with and without JavaScript."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, Page

from tests.web.browser.conftest import visiting

pytestmark = pytest.mark.e2e

PAGES = {"tasks": "/", "task": "/tasks/ctr-model", "connections": "/connections", "no-task": "/tasks/nothing"}
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
LOOKS = {
    "desk-light": {"viewport": {"width": 1360, "height": 900}, "color_scheme": "light"},
    "phone-dark": {"viewport": {"width": 360, "height": 740}, "color_scheme": "dark"},
}


def is_too_wide(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_is_sound(browser: Browser, demo: str, look: str) -> None:
    """No fault of accessibility (axe), nothing wider than the screen, nobody else asked, no error in the console."""
    with visiting(browser, **LOOKS[look]) as visit:
        for name, path in PAGES.items():
            page = visit.open(demo + path)
            if name == "no-task":
                # A browser says in its console that a page is not there.
                assert visit.complaints.pop().startswith("Failed to load resource")
            else:
                visit.until_live()
            page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
            assert not is_too_wide(page), name
            found = Axe().run(page, options={"runOnly": RULES})
            assert found.violations_count == 0, found.generate_report()
        assert {urlsplit(url).netloc for url in visit.asked if not url.startswith("data:")} == {urlsplit(demo).netloc}


def test_without_javascript_everything_is_there(browser: Browser, demo: str) -> None:
    """All tasks, their pages, filters, and a way to have the page reload by itself."""
    with visiting(browser, java_script_enabled=False) as visit:
        page = visit.page
        page.goto(demo)
        assert page.locator("#rows tr").count() == 15
        assert not page.locator("#pause").is_visible()
        page.get_by_role("link", name="15 s").click()
        assert "refresh=15" in page.url
        page.get_by_label("Name").fill("ctr-model-3")
        page.get_by_role("button", name="Filter").click()
        assert page.locator("#rows tr").count() == 1
        page.get_by_role("link", name="ctr-model-3").click()
        assert page.get_by_role("heading", level=1).inner_text() == "ctr-model-3"
        page.get_by_role("link", name="Connections", exact=True).click()
        assert page.locator("#connections tbody tr").count() == 4


def test_who_wants_no_motion_sees_none(browser: Browser, demo: str) -> None:
    """Neither bars that slide nor rows that glow."""
    moving = "getComputedStyle(document.querySelector('#rows tr'), null).animationName"
    for wish, name in (("reduce", "none"), ("no-preference", "glow")):
        with visiting(browser, reduced_motion=wish) as visit:
            page = visit.open(demo)
            page.evaluate("document.querySelector('#rows tr').setAttribute('data-changed', '')")
            assert page.evaluate(moving) == name


def test_pictures_for_readme(browser: Browser, demo: str, screenshots: Path | None) -> None:
    """They show the demo in motion, and are small; written only where POLLER_TEST_SCREENSHOTS names a folder."""
    sizes = {"desk": {"width": 1120, "height": 880}, "phone": {"width": 390, "height": 800}}
    looks = [(device, scheme) for device in sizes for scheme in ("light", "dark")]
    for path, name in (("/", "tasks"), ("/tasks/ctr-model", "task")):
        for device, scheme in looks if screenshots else looks[:1]:
            with visiting(browser, viewport=sizes[device], color_scheme=scheme) as visit:
                page = visit.open(demo + path)
                visit.until_live()
                page.wait_for_selector(
                    ".badge.failed" if name == "tasks" else ".plot" if screenshots else "#runs tbody tr"
                )
                taken = page.screenshot(animations="disabled")
            assert len(taken) < 150_000
            if screenshots is not None:
                screenshots.mkdir(parents=True, exist_ok=True)
                (screenshots / f"{name}-{device}-{scheme}.png").write_bytes(taken)
