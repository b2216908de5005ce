"""Runs in the booted machine, as root, with the standard library alone: installs the service and ill-treats it."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import closing, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

TOKEN = "demo-jobs-bearer-not-a-real-one"
API = "http://127.0.0.1:9817/api/v1"
WATCHLIST = Path("/etc/poller/watchlist.d")
SCENARIO = Path("scenario.yaml")
STORE = "/var/lib/poller/poller.db"
PATIENCE = 30.0
STARTED = time.monotonic()

TASK = """
  - name: {0}
    provider: jobs
    operation: job
    params: {{job_id: {0}}}
    schedule: {{initial: 300ms, max: 1s}}
"""


def say(text: str) -> None:
    sys.stdout.write(f"{time.monotonic() - STARTED:5.1f} s  {text}\n")
    sys.stdout.flush()


def command(*arguments: str, stdin: str = "") -> str:
    """What a command says; an error when it fails."""
    done = subprocess.run(arguments, input=stdin, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 0, (arguments, done.returncode, done.stdout + done.stderr)
    return done.stdout.strip()


def until(what: str, look: Callable[[], object]) -> None:
    """Looks until there is something to see."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            if look():
                return
        except (OSError, ValueError, HTTPException, AssertionError):
            pass
        time.sleep(0.1)
    raise AssertionError(f"not within {PATIENCE:.0f} s: {what}")


def unit(key: str) -> str:
    """A property of the service."""
    return command("systemctl", "show", "poller", f"--property={key}", "--value")


def pid() -> int:
    return int(unit("MainPID"))


def is_active() -> bool:
    return unit("ActiveState") == "active"


def journal() -> list[str]:
    return command("journalctl", "--unit=poller", "--output=cat", "--no-pager").splitlines()


def events(name: str) -> list[dict[str, Any]]:
    """The lines of the log with that event, over all lives of the daemon."""
    parsed: list[dict[str, Any]] = []
    for line in journal():
        # systemd writes there too, and a kill may cut a line short.
        with suppress(ValueError):
            parsed.append(json.loads(line))
    return [line for line in parsed if line["event"] == name]


def get(path: str) -> Any:
    with urllib.request.urlopen(f"{API}/{path}", timeout=2) as response:
        return json.load(response)


def task(name: str) -> dict[str, Any]:
    found: dict[str, Any] = get(f"tasks/{name}")
    return found


def ways() -> list[tuple[str, str, str, str]]:
    """Every transition that the API tells, oldest first."""
    told = get("transitions")["transitions"]
    return [(one["transition_id"], one["task"], one["from"], one["to"]) for one in reversed(told)]


def way_of(name: str) -> list[tuple[str, str, str]]:
    """The transitions that a task should make."""
    return [(name, "unknown", "running"), (name, "running", "succeeded")]


def stored_ways() -> list[tuple[str, str, str, str]]:
    """Every transition in the store."""
    with closing(sqlite3.connect(STORE)) as store:
        return store.execute("SELECT transition_id, task, source, target FROM transitions ORDER BY seq").fetchall()


def reload(event: str) -> dict[str, Any]:
    """`systemctl reload`; what the daemon logs of it, as ``event``. It may have seen the change by itself before."""
    before = len(events(event))
    command("systemctl", "reload", "poller")
    until(f"{event} is in the log", lambda: len(events(event)) > before)
    until("the service is active again", is_active)
    last = events(event)[-1]
    return {key: last[key] for key in ("event", "added", "removed", "reason") if key in last}


def installs_as_the_readme_says() -> str:
    command("sh", "-ex", "install.sh", stdin=TOKEN)
    assert is_active()
    assert unit("StatusText") == "0 tasks"
    assert events("daemon.ready")
    return f"active as soon as enable --now returns; status {unit('StatusText')!r}"


def is_locked_in() -> str:
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid()}/status").read_text().splitlines())
    assert "0" not in status["Uid"].split()
    assert int(status["CapBnd"], 16) == 0
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    said = command("systemd-analyze", "security", "--no-pager", "--threshold=15", "poller")
    return f"user {status['Uid'].split()[0]}, no capabilities, seccomp; {said.splitlines()[-1].strip(' →🙂😀')}"


def reloads() -> str:
    before = pid()
    told = reload("config.reloaded")
    assert pid() == before
    return f"{told}, same process"


def polls_until_a_task_ends() -> str:
    command("systemctl", "start", "simulator")
    (WATCHLIST / "boot.yaml").write_text("tasks:" + TASK.format("short") + TASK.format("long"))
    reload("config.reloaded")
    until("the task runs", lambda: task("short")["state"] == "running")
    until("the status tells its end", lambda: unit("StatusText") == "2 tasks: 1 running, 1 succeeded")
    until("the API tells its way", lambda: [way[1:] for way in ways() if way[1] == "short"] == way_of("short"))
    return f"'short' has ended; status {unit('StatusText')!r}"


def refuses_a_bad_config() -> str:
    before, bad = pid(), WATCHLIST / "bad.yaml"
    bad.write_text("tasks: [{name: bad, provider: nobody, operation: job}]\n")
    told = reload("config.rejected")
    assert (pid(), is_active(), len(get("tasks")["tasks"])) == (before, True, 2)
    bad.unlink()
    reload("config.reloaded")
    return f"{told}, same process"


def survives(name: str, number: signal.Signals) -> str:
    """A signal to the main process; it is replaced, and goes on where it was."""
    before, told, restarts = pid(), ways(), int(unit("NRestarts"))
    assert len(told) == 3
    start = time.monotonic()
    os.kill(before, number)
    until("it is started again", lambda: int(unit("NRestarts")) == restarts + 1 and is_active())
    took = time.monotonic() - start
    assert pid() != before
    assert ways() == stored_ways() == told
    asked = task("long")["polls"]
    until("it polls again", lambda: task("long")["polls"] > asked)
    return f"{name}: active again after {took:.1f} s, {len(told)} transitions as before"


def is_killed_when_it_hangs() -> str:
    said = survives("SIGSTOP", signal.SIGSTOP)
    lines = "\n".join(journal())
    verdict = re.search(r"poller.service: Watchdog timeout.*", lines)
    assert verdict
    assert "Fatal Python error: Aborted" in lines
    return f"{said}; journal: {verdict[0]!r}, and where it hung"


def is_restarted_when_it_is_killed() -> str:
    return survives("SIGKILL", signal.SIGKILL)


def tells_every_end_once() -> str:
    SCENARIO.write_text(SCENARIO.read_text().replace("1h", "0s"))
    command("systemctl", "restart", "simulator")
    # What is seen is shown a moment before it is committed.
    until("the other task has ended", lambda: len(ways()) > 3)
    told = ways()
    assert sorted(way[1:] for way in told) == sorted(way_of("long") + way_of("short")), told
    until("every transition is in the log", lambda: len(events("task.transition")) >= len(told))
    assert {line["transition_id"] for line in events("task.transition")} == {way[0] for way in told}
    return f"{len(told)} transitions in API and log, both tasks succeeded once"


def stops() -> str:
    start = time.monotonic()
    command("systemctl", "stop", "poller")
    took = time.monotonic() - start
    assert (unit("ActiveState"), unit("Result"), unit("ExecMainStatus")) == ("inactive", "success", "0")
    assert took < 10
    assert len(events("daemon.stopped")) == 1
    assert len(stored_ways()) == 4
    return f"after {took:.1f} s with status 0"


def does_not_insist_on_a_bad_config() -> str:
    bad = WATCHLIST / "bad.yaml"
    bad.write_text("tasks: nonsense\n")
    assert subprocess.run(["systemctl", "start", "poller"], capture_output=True, check=False).returncode != 0
    bad.unlink()
    assert (unit("ActiveState"), unit("ExecMainStatus")) == ("failed", "2")
    command("systemctl", "start", "poller")
    assert [way[1:] for way in ways()] == [way[1:] for way in stored_ways()]
    return "failed with status 2, not restarted; started once it was mended"


def tells_no_secret() -> str:
    assert TOKEN not in command("journalctl", "--no-pager")
    return "the token is nowhere in the journal"


CHECKS = (
    installs_as_the_readme_says,
    is_locked_in,
    reloads,
    polls_until_a_task_ends,
    refuses_a_bad_config,
    is_killed_when_it_hangs,
    is_restarted_when_it_is_killed,
    tells_every_end_once,
    stops,
    does_not_insist_on_a_bad_config,
    tells_no_secret,
)


def main() -> None:
    say(command("systemctl", "--version").splitlines()[0])
    try:
        for check in CHECKS:
            say(f"{check.__name__.replace('_', ' ')}: {check()}")
    except BaseException:
        sys.stdout.write(command("journalctl", "--no-pager")[-20_000:])
        raise
    say("all is well")


if __name__ == "__main__":
    main()
