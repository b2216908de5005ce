"""The benchmarks run, tell figures of the promised shape, and leave nothing behind. No figure is tested."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from yarl import URL

from poller.providers.catalog import builtin_kinds
from poller.providers.client import build_request
from tests.benchmarks.trainings import KIND, OPERATION, training_params, training_url

ROOT = Path(__file__).parents[2]
TINY = ("polls", "--tasks", "20", "--pace", "200", "--runs", "1", "--seconds", "0.5", "--warm-up", "0.1")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tests.benchmarks", *arguments]


def children(pid: int) -> dict[int, str]:
    """The processes that ``pid`` started, by id, with their command lines."""
    ids = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text("utf-8").split())
    return {child: Path(f"/proc/{child}/cmdline").read_text("utf-8").replace("\0", " ") for child in ids}


def test_both_clients_ask_for_the_same_urls() -> None:
    """The bare loop's URLs are those that the provider's spec makes of the tasks' parameters."""
    operation = builtin_kinds()[KIND].operations[OPERATION]
    for number in (0, 1_999):
        request = build_request(operation, URL("http://127.0.0.1:1"), training_params(number))
        assert request.url == training_url("http://127.0.0.1:1", number)


@pytest.mark.e2e
def test_polls_tells_figures_of_daemon_bare_loop_and_server() -> None:
    """One JSON object with the load, the figures of both clients and their ratio, and the server's capacity."""
    done = subprocess.run(command(*TINY, "--json"), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["benchmark"] == "polls"
    assert report["load"] == {"tasks": 20, "pace": 200, "runs": 1, "seconds": 0.5, "warm_up": 0.1, "changes": 0}
    for client in ("daemon", "bare", "flat_out"):
        assert set(report[client]) == {"requests_per_second", "cpu_us_per_request"}
        assert report[client]["requests_per_second"] > 0
    assert report["server"]["requests_per_cpu_second"] > 0
    assert report["server"]["used"] >= 0
    # In so short a window the bare loop may have used less than a tick.
    assert report["ratio"] is None or report["ratio"] >= 0


@pytest.mark.e2e
def test_throughput_tells_costs_rates_and_lag() -> None:
    """Of polls without and with changes; what both clients can do flat out; the lag at half of that."""
    tiny = ("throughput", "--tasks", "20", "--pace", "200", "--runs", "1", "--seconds", "0.5", "--json")
    done = subprocess.run(command(*tiny), cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["unchanged"]["load"]["changes"], report["changing"]["load"]["changes"]) == (0, 20)
    assert report["daemon_per_second"] > 0
    assert report["share"] == report["daemon_per_second"] / report["bare_per_second"]
    assert report["pace"] == report["daemon_per_second"] / 2
    assert report["lag_p99_seconds"] > 0


@pytest.mark.e2e
def test_scrape_tells_of_pages_that_show_every_task() -> None:
    """Their size, how long they take, and how long the loop was held."""
    tiny = ("scrape", "--tasks", "50", "--pace", "100", "--runs", "2", "--json")
    done = subprocess.run(command(*tiny), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["tasks"], report["scrapes"]) == (50, 2)
    assert report["page_bytes"] > 50 * 500
    assert min(report[key] for key in ("first_seconds", "seconds", "gzip_seconds", "held_seconds")) > 0


@pytest.mark.e2e
def test_scale_tells_of_memory_starts_reload_and_cost() -> None:
    """With as few tasks as it takes."""
    tiny = ("scale", "--tasks", "1000", "--runs", "1", "--seconds", "0.5", "--every", "2", "--json")
    done = subprocess.run(command(*tiny), cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["tasks"] == 1000
    for key in ("start_seconds", "restart_seconds", "reload_seconds", "cpu_us_many", "cpu_us_few", "idle_share"):
        assert report[key] > 0
    assert report["ratio"] == report["cpu_us_many"] / report["cpu_us_few"]


@pytest.mark.e2e
def test_commits_tells_figures_of_both_stores() -> None:
    """A row for each store and size of batch."""
    tiny = ("commits", "--seconds", "0.1", "--runs", "1", "--batches", "1", "20", "--json")
    done = subprocess.run(command(*tiny), cwd=ROOT, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["stores"]
    assert [(row["store"], row["batch"]) for row in rows] == [
        *(("sqlite", 1), ("sqlite", 20)),
        *(("postgresql", 1), ("postgresql", 20)),
    ]
    assert all(row["transitions_per_second"] > 0 and row["ratio"] > 0 for row in rows)


@pytest.mark.e2e
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_ends_what_it_started(number: signal.Signals) -> None:
    """A signal in the middle of it ends the benchmark and every process it started."""
    # Whoever runs the tests in the background may have SIGINT ignored, and that is inherited.
    benchmark = subprocess.Popen(
        command("polls", "--runs", "1"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - there are no threads here
    )
    try:
        deadline = time.monotonic() + 20
        while len(started := children(benchmark.pid)) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        benchmark.send_signal(number)
        assert benchmark.wait(20) == 128 + number
    finally:
        benchmark.kill()
        benchmark.communicate()
    assert len(started) == 2
    assert not [pid for pid in started if Path(f"/proc/{pid}").exists()]


@pytest.mark.e2e
def test_what_cannot_be_measured_is_refused() -> None:
    """Polled too seldom, tasks would come in waves: the message says what is allowed."""
    done = subprocess.run(command("polls", "--pace", "1"), cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "2000 tasks need a pace of 67 at least" in done.stderr


WORKLOAD = {
    "families": [
        {
            "name": "f",
            "history": [50.0, 55.0, 60.0, 58.0, 52.0, 61.0, 57.0, 54.0, 59.0, 56.0],
            "tasks": [{"duration": 57.0, "progress": None}, {"duration": 60.0, "progress": [[0, 0], [30, 50]]}],
        }
    ]
}


def test_detection_compares_each_schedule(tmp_path: Path) -> None:
    """In the JSON that programs are promised: every peer, ours with no more requests, and the optimum."""
    (tmp_path / "steady.json").write_text(json.dumps(WORKLOAD), "utf-8")
    done = subprocess.run(
        command("detection", "--workload", str(tmp_path / "steady.json"), "--json"), capture_output=True, check=True
    )
    (table,) = json.loads(done.stdout)
    assert table["workload"] == "steady"
    assert len(table["rows"]) == 4
    for row in table["rows"]:
        assert set(row) == {"policy", "requests", "delay_mean", "delay_p95", "ours", "optimum"}
        for figures in (row, row["ours"], row["optimum"]):
            assert figures["delay_mean"] >= 0.0
            assert 2.0 <= figures["requests"] <= row["requests"]


@pytest.mark.parametrize("content", ["", "[]", '{"families": []}', '{"families": [{"tasks": [{"duration": -1}]}]}'])
def test_detection_refuses_what_is_no_workload(tmp_path: Path, content: str) -> None:
    """In words, without a traceback."""
    (tmp_path / "w.json").write_text(content, "utf-8")
    done = subprocess.run(
        command("detection", "--workload", str(tmp_path / "w.json")), capture_output=True, check=False, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("no figures: ")
    assert "Traceback" not in done.stderr
