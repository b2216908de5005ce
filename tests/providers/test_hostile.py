"""Whatever a server answers: a poll without an answer, in time, read up to a megabyte, and never a verdict."""

import asyncio
import json
import tracemalloc
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from yarl import URL

from poller.domain.observation import Observation, Outcome
from poller.domain.state import REPORTED
from poller.domain.task import Entry
from poller.providers.catalog import builtin_kinds, inline_kind
from poller.providers.classify import LONGEST_TEXT
from poller.providers.client import HttpProvider
from poller.providers.credentials.forms import Credentials
from poller.providers.request import Reply, Request
from poller.providers.signing import SIGNERS
from poller.providers.spec import Kind
from poller.providers.transport import LONGEST_BODY, HttpTransport, NotBroughtError, Transport
from tests.providers.hostile import WAYS
from tests.providers.test_client import JOBS, KEY, PARAMS, Given, StoppedClock
from tests.providers.wire import Endless, Wire

TIMEOUT = 0.3
STATES = {"running": ["running"], "succeeded": ["success"], "failed": ["failed"]}
SPEC = inline_kind({"operations": {"job": {"path": "/jobs/{id}", "status": "status", "states": STATES}}})


def connection(url: str, transport: Transport, kind: Kind = SPEC, credentials: Credentials = None) -> HttpProvider:
    return HttpProvider(
        operations=kind.operations,
        endpoint=URL(url),
        signer=SIGNERS[kind.signer],
        credentials=Given(credentials),
        transport=transport,
        clock=StoppedClock(),
    )


@pytest.mark.parametrize("way", WAYS)
async def test_a_hostile_answer_is_no_answer(way: str) -> None:
    """Two polls: neither tells a state, both come back, and little was read and held for them."""
    answer = WAYS[way]()
    wire = Wire((answer,))
    await wire.start()
    provider = connection(wire.url, HttpTransport(timeout=TIMEOUT, max_in_flight=2))
    tracemalloc.start()
    async with asyncio.timeout(20):
        polls = [await provider.poll(Entry("t", "p", "job", {"id": "1"})) for _ in range(2)]
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    await provider.close()
    await wire.stop()
    for seen in polls:
        assert (seen.outcome in (Outcome.UNREACHABLE, Outcome.UNRECOGNIZED), seen.state) == (True, None)
        assert 0 < len(str(seen.message)) <= LONGEST_TEXT
        assert "\n" not in str(seen.message)
    assert 1 <= len(wire.requests) <= 2, "nothing is asked twice"
    assert most < 64 * LONGEST_BODY
    if isinstance(answer, Endless):
        assert answer.written < 32 * LONGEST_BODY


# --- any reply at all ----------------------------------------------------------------------------------------------


class Replying:
    """Brings a reply without any network, or fails."""

    def __init__(self, reply: Reply | None) -> None:
        self._reply = reply

    async def exchange(self, request: Request) -> Reply:
        if self._reply is None:
            raise NotBroughtError("no answer within 10 s")
        return self._reply

    async def close(self) -> None: ...


OPERATIONS = [(kind, name) for kind in (*builtin_kinds().values(), JOBS) for name in kind.operations]
WORDS = st.sampled_from(
    ["status", "result", "task", "dagStatus", "phase", "code", "error", "error_code", "message", "endTime", "subtasks"]
)
ENDS = st.sampled_from(["success", "failed", "SUCCESSFUL", "FAILED", "Completed", "ok", 2, 3, 4, "WARNING"])
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | ENDS
DOCUMENTS = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=3), inner, max_size=4)
)
HEADERS = st.dictionaries(
    st.sampled_from(["Retry-After", "x-acs-retry-after", "Date", "X-Request-Id", "Content-Type"]), st.text(max_size=20)
)


def encoded(document: object) -> bytes:
    return json.dumps(document).encode()


@given(
    st.sampled_from(OPERATIONS),
    st.integers(0, 999),
    HEADERS,
    DOCUMENTS.map(encoded) | st.binary(max_size=50) | st.none(),
)
def test_no_reply_whatsoever_raises_or_ends_a_task_on_its_own(
    operation: tuple[Kind, str], status: int, headers: Mapping[str, str], body: bytes | None
) -> None:
    """A state comes of a 2xx with a status of the map, or of a rule that says so, over every operation there is."""
    kind, name = operation
    reply = Reply(status, CIMultiDict(headers), body)
    credentials = None if kind.signer == "plain" else KEY
    provider = connection("https://api.test", Replying(reply), kind, credentials)
    seen = asyncio.run(provider.poll(Entry("t", "p", name, PARAMS[kind.name])))
    assert_says_why(kind, name, status, seen)


def assert_says_why(kind: Kind, name: str, status: int, seen: Observation) -> None:
    operation = kind.operations[name]
    assert (seen.state is None) == (seen.outcome is not Outcome.ANSWERED)
    if seen.state is None:
        return
    mapped = operation.states.get(seen.raw_status or "")
    ruled = {rule.text: rule.state for rule in (*operation.rules, *operation.fallbacks)}.get(seen.rule or "")
    assert status // 100 == 2
    assert seen.state in REPORTED
    assert seen.state in (mapped, ruled)
