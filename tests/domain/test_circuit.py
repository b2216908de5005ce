"""Whether a provider connection may be used."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.domain.circuit import Circuit, Pauses, Phase
from poller.domain.observation import Observation, Outcome

NOW = 1_000.0
EPOCH = 5
PAUSES = Pauses(auth_pause=100.0, max_pause=600.0, initial=2.0, max=16.0, growth=2.0)
IN_PHASE = {
    Phase.PROBING: Circuit(Phase.PROBING, EPOCH, refusals=2, until=NOW - 1, reason=Outcome.THROTTLED),
    Phase.OPEN: Circuit(Phase.OPEN, EPOCH),
    Phase.PAUSED: Circuit(Phase.PAUSED, EPOCH, refusals=2, until=NOW + 1, reason=Outcome.THROTTLED),
}

# What comes of a poll that went out in this epoch. None goes out while the connection is paused.
CURRENT = """
phase      answered   missing  unrecognized  rejected  unreachable  throttled  unauthorized
probing    open       open     open          open      -            paused     paused
open       -          -        -             -         -            paused     paused
"""

# What comes of a poll that went out in an earlier one.
STALE = """
phase      answered   missing  unrecognized  rejected  unreachable  throttled  unauthorized
probing    -          -        -             -         -            -          -
open       -          -        -             -         -            -          -
paused     -          -        -             -         -            longer     longer
"""


def cells(table: str) -> list[tuple[Phase, Outcome, str]]:
    """The table's cells: phase, outcome, what comes of it."""
    head, *rows = (line.split() for line in table.strip().splitlines())
    return [(Phase(row[0]), Outcome(name), cell) for row in rows for name, cell in zip(head[1:], row[1:], strict=True)]


def seen(outcome: Outcome, retry_after: float | None = None) -> Observation:
    """A poll with this outcome."""
    return Observation(outcome, retry_after=retry_after)


def refused(circuit: Circuit, asked: float | None = None, now: float = NOW) -> Circuit:
    """The circuit after a poll sent in its epoch was throttled."""
    return circuit.observed(seen(Outcome.THROTTLED, asked), circuit.epoch, PAUSES, now)


def unauthorized(circuit: Circuit, now: float = NOW) -> Circuit:
    """The circuit after a poll sent in its epoch was refused on account of the credentials."""
    return circuit.observed(seen(Outcome.UNAUTHORIZED), circuit.epoch, PAUSES, now)


@pytest.mark.parametrize(("phase", "outcome", "cell"), cells(CURRENT))
def test_what_comes_of_a_poll_of_this_epoch(phase: Phase, outcome: Outcome, cell: str) -> None:
    """A reply opens, a refusal pauses, silence changes nothing."""
    before = IN_PHASE[phase]
    after = before.observed(seen(outcome), EPOCH, PAUSES, NOW)
    assert after.phase is (phase if cell == "-" else Phase(cell))
    assert (after is before) is (cell == "-")


@pytest.mark.parametrize(("phase", "outcome", "cell"), cells(STALE))
@pytest.mark.parametrize("sent_epoch", [0, EPOCH - 1])
def test_what_comes_of_a_poll_of_an_earlier_epoch(phase: Phase, outcome: Outcome, cell: str, sent_epoch: int) -> None:
    """A late reply opens nothing and a late refusal counts for nothing; it may only make a pause longer."""
    before = IN_PHASE[phase]
    after = before.observed(seen(outcome), sent_epoch, PAUSES, NOW)
    assert after == (before if cell == "-" else replace(before, until=after.until))
    assert (after.until > before.until) is (cell == "longer")


def test_a_late_refusal_never_makes_a_pause_shorter() -> None:
    """The longest pause asked for is the one that is kept."""
    paused = Circuit(Phase.PAUSED, EPOCH, 1, until=NOW + 500, reason=Outcome.THROTTLED)
    assert paused.observed(seen(Outcome.THROTTLED, 30.0), EPOCH - 1, PAUSES, NOW) == paused


@pytest.mark.parametrize(("refusals", "pause"), [(1, 2.0), (2, 4.0), (3, 8.0)])
def test_a_late_refusal_does_not_make_pauses_grow(refusals: int, pause: float) -> None:
    """When many polls in flight are refused together, the pause is as long after the last as after the first."""
    paused = Circuit(Phase.PAUSED, EPOCH, refusals, until=NOW, reason=Outcome.THROTTLED)
    assert paused.observed(seen(Outcome.THROTTLED), EPOCH - 1, PAUSES, NOW).until == NOW + pause


def test_the_default_pauses_are_the_documented_ones() -> None:
    """What the config file leaves out is as the manual says."""
    minute = 60.0
    assert Pauses() == Pauses(auth_pause=5 * minute, max_pause=60 * minute, initial=2.0, max=5 * minute, growth=1.5)


def test_a_connection_begins_with_one_poll_at_a_time() -> None:
    """Nobody knows yet whether the credentials are right, and a row of refusals locks a key."""
    assert Circuit() == Circuit(Phase.PROBING, epoch=0, refusals=0, until=0.0, reason=None)


@pytest.mark.parametrize("outcome", [Outcome.ANSWERED, Outcome.MISSING, Outcome.UNRECOGNIZED, Outcome.REJECTED])
def test_a_reply_clears_the_record(outcome: Outcome) -> None:
    """An open connection has no refusals and no reason for a pause; its epoch goes on."""
    assert IN_PHASE[Phase.PROBING].observed(seen(outcome), EPOCH, PAUSES, NOW) == Circuit(Phase.OPEN, EPOCH)


def test_a_refusal_begins_an_epoch() -> None:
    """What was sent before the pause is told apart from what comes after it."""
    assert refused(IN_PHASE[Phase.OPEN]) == Circuit(Phase.PAUSED, EPOCH + 1, 1, NOW + 2.0, Outcome.THROTTLED)


def probed_and_refused(times: int, pauses: Pauses = PAUSES) -> list[float]:
    """How long each of so many pauses in a row was."""
    circuit, now, lengths = Circuit(), NOW, []
    for _ in range(times):
        circuit = circuit.observed(seen(Outcome.THROTTLED), circuit.epoch, pauses, now)
        lengths.append(circuit.until - now)
        now = circuit.until
        circuit = circuit.passed(now)
    return lengths


def test_pauses_grow_while_refusals_go_on() -> None:
    """Without being told for how long, each pause is longer than the last, up to the longest."""
    assert probed_and_refused(6) == [2.0, 4.0, 8.0, 16.0, 16.0, 16.0]


def test_max_pause_caps_the_growing_pauses_too() -> None:
    """No throttling pauses a connection for longer than max_pause, whatever the schedule's max."""
    assert probed_and_refused(4, replace(PAUSES, max_pause=5.0)) == [2.0, 4.0, 5.0, 5.0]


def test_pauses_grow_anew_after_an_answer() -> None:
    """An open connection's next refusal is its first again."""
    circuit = Circuit(Phase.PROBING, EPOCH, refusals=4).observed(seen(Outcome.ANSWERED), EPOCH, PAUSES, NOW)
    assert refused(circuit).until == NOW + 2.0


@pytest.mark.parametrize(
    ("asked", "pause"),
    [
        (30.0, 30.0),
        (0.5, 0.5),
        (600.0, 600.0),
        (86_400.0, 600.0),
        (float("inf"), 600.0),
        (None, 8.0),
        (0.0, 8.0),
        (-3.0, 8.0),
        (float("nan"), 8.0),
    ],
)
def test_a_pause_asked_for_is_kept_up_to_max_pause(asked: float | None, pause: float) -> None:
    """The provider's word goes, up to max_pause; a word that makes no sense counts as none."""
    assert refused(IN_PHASE[Phase.PROBING], asked).until == NOW + pause


def test_refused_credentials_pause_for_auth_pause() -> None:
    """However often they are refused, the pause is the one configured and does not grow."""
    once = unauthorized(Circuit())
    twice = unauthorized(once.passed(NOW + 100.0), NOW + 100.0)
    assert once == Circuit(Phase.PAUSED, 1, 1, NOW + 100.0, Outcome.UNAUTHORIZED)
    assert twice == Circuit(Phase.PAUSED, 2, 2, NOW + 200.0, Outcome.UNAUTHORIZED)


@pytest.mark.parametrize(
    ("moment", "phase"),
    [(NOW, Phase.PAUSED), (NOW + 1.9, Phase.PAUSED), (NOW + 2, Phase.PROBING), (1e9, Phase.PROBING)],
)
def test_a_pause_ends_with_one_poll_at_a_time(moment: float, phase: Phase) -> None:
    """When its time is over, and not before, a paused connection lets a poll out to see."""
    assert refused(IN_PHASE[Phase.OPEN]).passed(moment).phase is phase


def test_a_connection_that_probes_remembers_why() -> None:
    """The reason stands until an answer opens the connection."""
    assert refused(Circuit()).passed(NOW + 2).reason is Outcome.THROTTLED


@pytest.mark.parametrize("phase", [Phase.PROBING, Phase.OPEN])
def test_time_changes_nothing_unless_paused(phase: Phase) -> None:
    """Only a pause has an end to wait for."""
    assert IN_PHASE[phase].passed(1e12) is IN_PHASE[phase]


def test_new_credentials_end_a_pause_on_their_account() -> None:
    """A repaired key is tried at once, with one poll."""
    paused = unauthorized(Circuit())
    assert paused.renewed() == replace(paused, phase=Phase.PROBING)


@pytest.mark.parametrize("phase", Phase)
def test_new_credentials_change_nothing_else(phase: Phase) -> None:
    """Throttling is not about credentials, and a connection that is not paused needs no help."""
    assert IN_PHASE[phase].renewed() is IN_PHASE[phase]


steps = st.lists(
    st.tuples(st.sampled_from(Outcome), st.booleans(), st.none() | st.floats(-10, 10_000), st.floats(0, 700)),
    max_size=40,
)


@given(steps)
def test_a_refusal_never_pauses_for_longer_than_allowed(
    steps: list[tuple[Outcome, bool, float | None, float]],
) -> None:
    """Whatever comes back, in whatever order, a pause ends, each begins an epoch, and refusals are counted in them."""
    circuit, now = Circuit(), NOW
    for outcome, stale, asked, gap in steps:
        now += gap
        circuit = circuit.passed(now)
        before, circuit = circuit, circuit.observed(seen(outcome, asked), circuit.epoch - stale, PAUSES, now)
        assert circuit.until <= max(before.until, now + max(PAUSES.auth_pause, PAUSES.max_pause))
        assert circuit.epoch - before.epoch == (circuit.refusals > before.refusals)


# --- what other replicas tell ---


@pytest.mark.parametrize("phase", list(Phase))
def test_what_another_replica_met_with_pauses_until_then(phase: Phase) -> None:
    """Whatever the phase; polls under way belong to an epoch before, and refusals in a row are counted as before."""
    circuit = IN_PHASE[phase].told(Outcome.UNAUTHORIZED, NOW + 50)
    assert circuit == Circuit(Phase.PAUSED, EPOCH + 1, IN_PHASE[phase].refusals, NOW + 50, Outcome.UNAUTHORIZED)


@pytest.mark.parametrize("until", [NOW - 10, NOW + 1, NOW + 1.9])
def test_a_pause_as_long_is_no_news(until: float) -> None:
    """Nor is a shorter one, nor the same one told on another clock."""
    assert IN_PHASE[Phase.PAUSED].told(Outcome.THROTTLED, until) is IN_PHASE[Phase.PAUSED]


def test_before_its_first_answer_a_connection_tries_its_own_credentials() -> None:
    """Those that were refused may be others'; that the provider is overloaded concerns everybody."""
    assert Circuit().told(Outcome.UNAUTHORIZED, NOW + 50) == Circuit()
    assert Circuit().told(Outcome.THROTTLED, NOW + 50).phase is Phase.PAUSED


@pytest.mark.parametrize("phase", list(Phase))
def test_an_answer_to_another_replica_lets_one_poll_out(phase: Phase) -> None:
    """The reason is kept until there is an answer here; what is not paused stays as it is."""
    before = IN_PHASE[phase]
    after = before.relieved()
    if phase is Phase.PAUSED:
        assert after == replace(before, phase=Phase.PROBING)
    else:
        assert after is before
