"""A real Chromium, and what it looks at: the demo, and a daemon whose provider does as a test says, as processes."""

import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.daemon.process import JOB_SPEC, START_SECONDS
from tests.ports import free_port

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
PATIENCE_MS = 20_000
"""How long a page may take for what is bound to come, on a busy machine, before the test gives up."""

EVIL = (
    "\"'></td></tr></table><script>window.pwned = 1</script><img src=x onerror='window.pwned = 1'>&amp;{{ 7 * 7 }}"
    "\u202egnp.exe\u2066\x00\x07\x1b[31m\ud800" + "W" * 10_000
)
"""What no page must be impressed by."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests of a module."""
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is missing: apt-get install chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@dataclass
class Visit:
    """A page that is open, what its browser complained of, and whom it asked."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def open(self, url: str) -> Page:
        """Goes there; the page is told how it was opened, so that a reload would be noticed."""
        self.page.goto(url)
        self.page.evaluate("window.neverReloaded = true")
        return self.page

    def until_live(self) -> None:
        """Waits until the page follows what happens."""
        expect(self.page.locator("#live")).to_have_text("Live", timeout=PATIENCE_MS)


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """A page on a desk, in light colours."""
    with visiting(browser) as visit:
        yield visit


@contextmanager
def visiting(browser: Browser, **context: Any) -> Iterator[Visit]:
    """A page in a browser made up as ``context`` says. Fails in the end if it complained of anything."""
    options: dict[str, Any] = {"viewport": {"width": 1360, "height": 900}, **context}
    opened: BrowserContext = browser.new_context(**options)
    opened.set_default_timeout(PATIENCE_MS)
    try:
        visit = Visit(opened.new_page())
        visit.page.on("console", lambda said: visit.complaints.append(said.text) if said.type == "error" else None)
        visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
        visit.page.on("request", lambda request: visit.asked.append(request.url))
        yield visit
        assert visit.complaints == []
    finally:
        opened.close()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `poller demo`."""
    listen = f"127.0.0.1:{free_port()}"
    with process(tmp_path_factory.mktemp("demo"), listen, "demo", "--listen", listen) as url:
        yield url


@dataclass
class Jobs:
    """A jobs API: what it answers for each job, and the address of a daemon that watches them every moment."""

    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    daemon: str = ""

    def now(self, job: str, status: str, **more: Any) -> None:
        """From now on the job is like this."""
        self.answers[job] = {"status": status, **more}


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    """A daemon that watches some jobs, below a path of its own, and the API that a test rules."""
    known = Jobs()
    known.now("bar", "in_progress", percent=10)
    known.now("state", "in_progress", percent=20, created="2026-01-01T00:00:00Z")
    known.now("comes", "queued")
    known.now("goes", "in_progress", percent=30)
    known.now("evil", "in_progress", percent=50, error={"message": EVIL, "code": EVIL})
    known.now("evil-status", EVIL)
    names = {job: job for job in known.answers} | {"bar": "team/a/bar"}
    for number in range(110):
        known.now(f"done-{number:03}", "success", created="2026-01-01T00:00:00Z", finished="2026-01-01T00:01:00Z")
        names[f"done-{number:03}"] = f"done-{number:03}"
    with served(known) as cloud:
        folder, listen = tmp_path_factory.mktemp("jobs"), f"127.0.0.1:{free_port()}"
        config = folder / "poller.yaml"
        config.write_text(yaml.safe_dump(_config(cloud, listen, names)), "utf-8")
        with process(folder, f"{listen}/below/this", "run", "-c", str(config)) as known.daemon:
            yield known


def _config(cloud: str, listen: str, names: dict[str, str]) -> dict[str, Any]:
    provider = {
        "kind": "http",
        "endpoint": cloud,
        "credentials": {"bearer": "b"},
        "spec": JOB_SPEC,
        "rate_limit": "500/s",
    }
    return {
        "web": {"listen": listen, "route_prefix": "/below/this"},
        "store": "sqlite:///poller.db",
        "schedule": {"initial": "300ms", "max": "500ms"},
        "providers": {"jobs": provider},
        "tasks": [
            {
                "name": name,
                "provider": "jobs",
                "operation": "job",
                "params": {"job_id": job},
                "labels": {"team": "a" if "/" in name else "b"},
            }
            for job, name in names.items()
        ],
    }


@contextmanager
def served(jobs: Jobs) -> Iterator[str]:
    """The jobs API in a thread; its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = json.dumps(jobs.answers[self.path.rpartition("/")[2]]).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def process(folder: Path, address: str, *arguments: str) -> Iterator[str]:
    """A poller that is ready, and gone afterwards whatever happens; the address of its page."""
    url = f"http://{address}"
    log = folder / "poller.log"
    with log.open("wb") as out:
        running = subprocess.Popen([sys.executable, "-m", "poller", *arguments], stdout=out, stderr=out, cwd=folder)
    try:
        until = time.monotonic() + START_SECONDS
        while not _is_ready(f"{url}/-/ready"):
            assert running.poll() is None, log.read_text("utf-8")
            assert time.monotonic() < until, log.read_text("utf-8")
            time.sleep(0.05)
        yield url
    finally:
        running.terminate()
        running.wait(START_SECONDS)


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=START_SECONDS) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False


@pytest.fixture(scope="session")
def screenshots() -> Path | None:
    """Where screenshots for README are to be written, if POLLER_TEST_SCREENSHOTS names a folder."""
    folder = os.environ.get("POLLER_TEST_SCREENSHOTS")
    return Path(folder) if folder else None
