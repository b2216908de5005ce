"""The last polls that changed something are kept, and no others, within bounds."""

import asyncio
import gc
import tracemalloc
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.config.watchlist import diff
from poller.domain.explanation import Explanation
from poller.domain.lifecycle import advance, begin
from poller.domain.observation import Observation, Outcome
from poller.domain.state import State
from poller.runtime.lane import Lane
from poller.runtime.lastpolls import PER_TASK, LastPolls
from poller.runtime.watch import Watch
from tests.runtime.doubles import (
    REJECTED,
    RUNNING,
    SUCCEEDED,
    UNREACHABLE,
    House,
    ScriptedProvider,
    always,
    build_house,
    build_lane,
    clock,
    entry,
    run_house,
)

NOW = 1_800_000_000.0


class Desk:
    """Notes polls of made-up tasks, each a second after the one before."""

    def __init__(self, **bounds: int) -> None:
        self.kept = LastPolls(**bounds)
        self.now = NOW
        self.watches: dict[str, Watch] = {}

    def note(self, name: str, *seen: Observation) -> None:
        """What polls of a task brought, as the scheduler tells it."""
        lane: Lane = None  # type: ignore[assignment]  # nobody asks for it
        watch = self.watches.setdefault(name, Watch(begin(entry(name, follow=True), NOW), lane))
        for each in seen:
            self.now += 1
            watch.task = advance(watch.task, each, self.now).task
            self.kept.note(watch, each, self.now)

    def outcomes(self, name: str) -> list[str]:
        """Outcome and state of what is kept of a task, oldest first."""
        return [f"{record.outcome} {record.state}" for record in reversed(self.kept.of(name))]


class TestChange:
    @pytest.mark.parametrize(
        "other",
        [
            replace(RUNNING, state=State.PENDING),
            replace(RUNNING, raw_status="RUNNING"),
            replace(RUNNING, message="nearly done"),
            replace(RUNNING, rule="another rule"),
            UNREACHABLE,
        ],
    )
    def test_is_another_answer(self, other: Observation) -> None:
        """Another state, raw status, message, rule or outcome."""
        desk = Desk()
        desk.note("a", RUNNING, RUNNING, other, other, RUNNING)
        assert len(desk.kept.of("a")) == 3

    @pytest.mark.parametrize(
        "same",
        [
            replace(RUNNING, progress=50.0),
            replace(RUNNING, started_at=NOW, ended_at=NOW, duration=1.0),
            replace(RUNNING, request_id="another"),
            replace(RUNNING, saw="another value"),
        ],
    )
    def test_is_not_progress_alone(self, same: Observation) -> None:
        """Nor times, nor what is another with every poll: and nothing of it is explained, which would cost."""

        def explain() -> Explanation:
            pytest.fail("explained")

        desk = Desk()
        desk.note("a", RUNNING, replace(same, explain=explain))
        assert len(desk.kept.of("a")) == 1

    def test_is_another_run_and_another_state_of_the_task(self) -> None:
        """Though the answer is the same: a run that began and ended unseen, and the third "no such task"."""
        desk = Desk()
        desk.note("a", replace(SUCCEEDED, run_id="1"), replace(SUCCEEDED, run_id="2"))
        assert desk.outcomes("a") == ["answered succeeded"] * 2
        gone = Observation(Outcome.MISSING, message="HTTP 404")
        desk.note("b", gone, gone)
        desk.now += 60
        desk.note("b", gone)
        assert desk.outcomes("b") == ["missing unknown", "missing missing"]


class TestRecord:
    def test_tells_the_poll(self) -> None:
        """When, what came of it, why, and request and answer from its explanation."""
        desk = Desk()
        told = Explanation(NOW, (), request="GET https://h/1", answer="{}")
        desk.note("a", replace(REJECTED, code="E", rule="r", saw="s", http_status=403, explain=lambda: told))
        (record,) = desk.kept.of("a")
        assert (record.at, record.outcome, record.state) == (NOW + 1, "rejected", "unknown")
        assert (record.code, record.message, record.rule, record.saw) == ("E", "HTTP 403", "r", "s")
        assert (record.http_status, record.request, record.answer) == (403, "GET https://h/1", "{}")

    def test_of_an_unknown_task_is_none(self) -> None:
        """Nothing is known of what was never polled."""
        desk = Desk()
        assert desk.kept.of("a") == []
        desk.kept.forget("a")


class TestBounds:
    def test_of_one_task(self) -> None:
        """The newest ten, newest first."""
        desk = Desk()
        desk.note("a", *(replace(RUNNING, message=str(number)) for number in range(25)))
        assert [record.message for record in desk.kept.of("a")] == [str(24 - number) for number in range(PER_TASK)]

    def test_of_all_tasks(self) -> None:
        """The oldest of all leave first, whosever they are; who lost all of them is not recorded anew for that."""
        desk = Desk(most_bytes=20_000)
        for name in "abcdefghij":
            desk.note(name, replace(RUNNING, message="x" * 2_000))
        assert [name for name in "abcdefghij" if desk.kept.of(name)] == list("defghij")
        desk.note("a", replace(RUNNING, message="x" * 2_000))
        assert desk.kept.of("a") == []

    def test_that_hold_no_record_hold_none(self) -> None:
        """Not even the newest one."""
        desk = Desk(most_bytes=100)
        desk.note("a", RUNNING)
        assert desk.kept.of("a") == []

    @given(
        st.lists(
            st.tuples(st.sampled_from("abcd"), st.integers(0, 3_000), st.sampled_from(["note", "note", "forget"])),
            max_size=60,
        )
    )
    def test_hold_whatever_happens(self, steps: list[tuple[str, int, str]]) -> None:
        """What is kept of a task are its newest records in their order; what is forgotten is gone."""
        desk = Desk(per_task=3, most_bytes=10_000)
        for number, (name, length, what) in enumerate(steps):
            if what == "forget":
                desk.kept.forget(name)
                assert desk.kept.of(name) == []
            else:
                desk.note(name, replace(RUNNING, message=f"{number} {'x' * length}"))
            kept = {each: desk.kept.of(each) for each in "abcd"}
            assert all(len(records) <= 3 for records in kept.values())
            assert all(newer.at > older.at for records in kept.values() for newer, older in pairwise(records))
            assert sum(len(record.message or "") for records in kept.values() for record in records) <= 10_000

    def test_are_those_of_memory(self) -> None:
        """100,000 tasks take no more than was promised."""
        desk = Desk(most_bytes=1_000_000)
        seen = [replace(RUNNING, message=f"message {number}") for number in range(10)]
        names = [f"task-{number}" for number in range(10_000)]
        for name in names:
            desk.note(name)
        gc.collect()
        tracemalloc.start()
        for name in names:
            watch = desk.watches[name]
            for each in seen[:3]:
                desk.kept.note(watch, each, NOW)
        used, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        # Beside the records, each task has the number that its last poll is known by.
        assert used < 1_000_000 * 1.1 + len(names) * 40


@pytest.mark.looptime
class TestScheduler:
    def names(self, house: House) -> list[str]:
        """The tasks of which something is kept."""
        return [
            watch.task.entry.name for watch in house.scheduler.tasks() if house.scheduler.polls(watch.task.entry.name)
        ]

    async def test_tells_what_its_polls_bring(self) -> None:
        """In their order; of a task that is asked again and again only what changed."""
        script = [UNREACHABLE, RUNNING, RUNNING, RUNNING, SUCCEEDED]
        provider = ScriptedProvider(lambda _entry, number: script[number - 1])
        house = build_house({"one": provider}, [entry("a", max=5.0)])
        await run_house(house, 60)
        records = house.scheduler.polls("a")
        assert [(r.outcome, r.state) for r in records] == [
            ("answered", "succeeded"),
            ("answered", "running"),
            ("unreachable", "unknown"),
        ]
        assert provider.counts["a"] == 5

    async def test_forgets_what_is_no_longer_watched(self) -> None:
        """And what was another task under the same name; whose entry only changed keeps its polls."""
        old = {each.name: each for each in (entry("gone"), entry("other"), entry("same"))}
        new = {"other": replace(old["other"], params={"id": "2"}), "same": replace(old["same"], labels={"a": "b"})}
        house = build_house({"one": ScriptedProvider(always(RUNNING))}, old.values())
        running = asyncio.create_task(run_house(house, 30))
        await asyncio.sleep(10)
        kept = house.scheduler.polls("same")
        assert self.names(house) == ["gone", "other", "same"]
        lane = build_lane("one", ScriptedProvider(always((99.0, RUNNING))), house.scheduler)
        house.scheduler.apply(new, diff(old, new), {}, clock().now(), [lane])
        assert house.scheduler.polls("gone") == house.scheduler.polls("other") == []
        assert house.scheduler.polls("same") == kept
        await running
