"""A workload under a schedule, on a virtual clock: the requests it takes, and the delay with which ends are noticed."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, quantiles

from poller.domain.cadence import next_delay
from poller.domain.family import Family, Run, finished_run, foresee, marks_after
from poller.domain.lifecycle import advance, begin, run_began
from poller.domain.observation import Observation, Outcome
from poller.domain.progress import Mark
from poller.domain.state import State
from poller.domain.task import Entry, Policy
from tests.benchmarks.detecting.workload import Job, Workload

MOST_REQUESTS = 20_000
"""For one task; a schedule that needs more is out of the question."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Requests for a task on average, and the delay from its end to its notice in seconds: mean, 95th percentile."""

    requests: float
    delay_mean: float
    delay_p95: float


def figures(spent: Sequence[tuple[int, float]]) -> Figures:
    """What pairs of requests and delay, one for each task, come to."""
    delays = sorted(delay for _, delay in spent)
    p95 = quantiles(delays, n=20, method="inclusive")[-1] if len(delays) > 1 else delays[0]
    return Figures(fmean(requests for requests, _ in spent), fmean(delays), p95)


def at_times(workload: Workload, times: Callable[[], Iterator[float]]) -> Figures:
    """A schedule that heeds nothing: each task is asked for at 0 and then at ``times``, seconds after its start."""
    spent = []
    for job in workload.jobs:
        requests = 1
        for time in times():
            requests += 1
            if time >= job.duration:
                spent.append((requests, time - job.duration))
                break
    return figures(spent)


def ours(workload: Workload, policy: Policy, seed: int = 1) -> Figures | None:
    """Poller itself: the domain code that the daemon runs, families learning from run to run.

    None if it asked more than MOST_REQUESTS times for some task.
    """
    random_ = random.Random(seed)
    spent = []
    for kin in workload.families:
        family = Family([Run(duration) for duration in kin.history])
        for number, job in enumerate(kin.jobs):
            one = _follow(job, family, Entry(f"{kin.name}-{number}", "p", "o", policy=policy), random_)
            if one is None:
                return None
            spent.append(one)
    return figures(spent)


def _follow(job: Job, family: Family, entry: Entry, random_: random.Random) -> tuple[int, float] | None:
    task, now, marks = begin(entry, 0.0), 0.0, tuple[Mark, ...]()
    for requests in range(1, MOST_REQUESTS):
        seen, before = _answer(job, now), task.status
        task = advance(task, seen, now).task
        run = finished_run(before, task.status, marks)
        marks = marks_after(marks, before, task.status, seen, now)
        if run is not None:
            family.add(run)
        if task.over:
            return requests, now - job.duration
        foreseen = foresee(family, task, marks, now)
        now += next_delay(task, random_.random(), None, foreseen, now - run_began(task.status))
    return None


def _answer(job: Job, now: float) -> Observation:
    if now < job.duration:
        # A start at the epoch would be "not told".
        return Observation(Outcome.ANSWERED, State.RUNNING, raw_status="running", progress=job.percent_at(now))
    return Observation(Outcome.ANSWERED, State.SUCCEEDED, raw_status="ok", duration=job.duration)
