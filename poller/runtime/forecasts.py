"""What the daemon knows of families: learned from the store, and from every run that ends."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from poller.domain.family import UNKNOWN, Family, Run, finished_run, foresee, marks_after
from poller.domain.lifecycle import Step
from poller.domain.observation import Observation
from poller.domain.task import Status
from poller.protocols import FinishedRun
from poller.runtime.watch import Watch


class Forecasts:
    """The families of what is watched, as far as runs of them have ended."""

    def __init__(self) -> None:
        self._families: dict[str, Family] = {}
        self._members: dict[str, Watch | set[Watch]] = {}
        self._left: set[str] = set()

    def learn(self, runs: Mapping[str, Sequence[Run]]) -> None:
        """Takes over what the store remembers of families, oldest run first; what is known already stays."""
        for name, finished in runs.items():
            self._families.setdefault(name, Family(finished))

    def unknown(self, families: Iterable[str]) -> Collection[str]:
        """Those of ``families`` that the store has not been asked about, as far as is known here."""
        return set(families) - self._members.keys()

    def join(self, watch: Watch, now: float) -> None:
        """Counts a task among those of its family."""
        watch.family = watch.lane.family(watch.task.entry)
        others = self._members.get(watch.family)
        if others:
            # Thousands may be of one family: its name is there once.
            watch.family = next(iter(self._of(watch.family))).family
        # A set for each of 100,000 families of one would be much.
        if others is None:
            self._members[watch.family] = watch
        elif isinstance(others, set):
            others.add(watch)
        else:
            self._members[watch.family] = {others, watch}
        self.refresh(watch, now)

    def rejoin(self, watch: Watch, now: float) -> None:
        """Counts a task among those of another family, if it belongs to another one now."""
        if watch.lane.family(watch.task.entry) != watch.family:
            self.leave(watch)
            self.join(watch, now)

    def leave(self, watch: Watch) -> None:
        """Counts a task that is watched no more among none; what is known of its family stays until `tidy`."""
        members = self._members.get(watch.family)
        if isinstance(members, set):
            members.discard(watch)
        elif members is watch:
            self._members[watch.family] = set()
        self._left.add(watch.family)

    def tidy(self) -> None:
        """Forgets the families of which no task is watched any more."""
        left, self._left = self._left, set()
        for name in left:
            if not self._members.get(name):
                self._members.pop(name, None)
                self._families.pop(name, None)

    def observed(self, watch: Watch, before: Status, step: Step, seen: Observation, now: float) -> FinishedRun | None:
        """Heeds what a poll made of a task; the run that ended by it, if one did and its duration is known."""
        after = watch.task.status
        run = finished_run(before, after, watch.marks) if step.transition is not None else None
        watch.marks = marks_after(watch.marks, before, after, seen, now)
        finished = None
        if run is not None and step.transition is not None:
            self._families.setdefault(watch.family, Family()).add(run)
            finished = FinishedRun(step.transition.transition_id, watch.family, now, run)
        self.refresh(watch, now)
        return finished

    def refresh(self, watch: Watch, now: float) -> None:
        """Works out anew when the run of a task will probably end."""
        family = self._family(watch)
        if family.is_stale:
            family.look([now - other.run_began_at for other in self._of(watch.family) if _runs(other)])
        watch.prospect = foresee(family, watch.task, watch.marks, now)
        watch.late_age = family.late_age

    def _of(self, family: str) -> Collection[Watch]:
        members = self._members.get(family, ())
        return (members,) if isinstance(members, Watch) else members

    def _family(self, watch: Watch) -> Family:
        return self._families.get(watch.family, UNKNOWN)


def _runs(watch: Watch) -> bool:
    status = watch.task.status
    return not status.terminal and status.started_at is not None
