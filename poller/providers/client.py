"""One attempt at asking for a task's status: whatever comes back, or not, becomes an Observation.

There is no retry here, the schedule is the only one; but what a spec's rule calls worth asking ``again`` is asked once
more at once: with other credentials where those were refused, if there are any. What starts something is not.
"""

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache, partial
from itertools import count
from urllib.parse import quote

from yarl import URL

from poller.domain.explanation import Explanation
from poller.domain.observation import UNCHANGED, Observation, Outcome
from poller.domain.starting import Job
from poller.domain.task import Entry
from poller.protocols import Clock
from poller.providers.classify import LONGEST_TEXT, classify, classify_runs, cut, saying
from poller.providers.credentials.forms import Credentials
from poller.providers.credentials.source import CredentialSource, NoCredentialsError
from poller.providers.explain import explain_reply, explain_silence
from poller.providers.redaction import redacted
from poller.providers.request import Reply, Request, encode_segment, is_unreserved
from poller.providers.signing import Signer
from poller.providers.spec import Json, Operation, Start, fill, fill_body, needed
from poller.providers.transport import NotBroughtError, Transport

_NOT_SENT = "nothing was sent"
_NO_ANSWER = "no answer came"

Explain = Callable[[], Explanation]
Read = Callable[[Reply, float, Explain], Observation]
"""Makes of a reply, when it came, and what explains it, what was seen."""


def build_request(operation: Operation, endpoint: URL, params: Mapping[str, str]) -> Request:
    """The request that asks for a task, unsigned. ``endpoint`` is ``https://host[:port][/prefix]``.

    ValueError for a parameter that cannot be sent, KeyError for one that is missing.
    """
    origin, prefix = _parted(endpoint)
    return Request(
        method=operation.method,
        origin=origin,
        path=prefix + fill(operation.path, params, encode_segment),
        query=tuple(_filled(operation.query, params).items()),
        headers=_filled(operation.headers, params),
        body=b"" if operation.body is None else _encoded(fill_body(operation.body, params)),
    )


@lru_cache(maxsize=256)
def _parted(endpoint: URL) -> tuple[str, str]:
    """An endpoint's origin, and the prefix of its paths, without a slash at the end."""
    return str(endpoint.origin()), endpoint.raw_path.rstrip("/")


def family_of(operation: Operation, entry: Entry) -> str:
    """What ``entry``'s runs are runs of: the name it is given, else ``provider/operation?name=value&...``.

    The parameters are those of the operation that stay from run to run, sorted by name; of a followed task all stay.
    Everything is percent-encoded, so that no two families have one name.
    """
    if entry.family is not None:
        return entry.family
    changing = () if entry.follow else operation.run_params
    what, params = _quoted(entry.provider) + "/" + _quoted(entry.operation), entry.params
    given = [
        name_is + _quoted(params[name])
        for name, name_is in _staying(operation.required, operation.optional, changing)
        if name in params
    ]
    return what + "?" + "&".join(given) if given else what


@lru_cache(maxsize=1_024)
def _staying(
    required: tuple[str, ...], optional: tuple[str, ...], changing: tuple[str, ...]
) -> Sequence[tuple[str, str]]:
    """The names of the parameters that stay, and what stands before their values."""
    return [(name, _quoted(name) + "=") for name in sorted({*required, *optional}.difference(changing))]


# The same few names and values are in the families of thousands of tasks.
@lru_cache(maxsize=1_024)
def _quoted(text: str) -> str:
    # Not `encode_query`: half a surrogate pair, which cannot be sent, may still be watched in vain.
    return text if is_unreserved(text) else quote(text, safe="", errors="surrogatepass")


def _nonces() -> Callable[[], str]:
    """Makes numbers used once: a number that is this connection's by chance, which costs a system call, and a count."""
    by_chance, numbers = secrets.token_hex(8), count()
    return lambda: f"{by_chance}{next(numbers):016x}"


def _encoded(body: Json) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def _filled(templates: Mapping[str, str], params: Mapping[str, str]) -> dict[str, str]:
    """The lines whose parameters are given; the others are left out."""
    filled = {}
    for key, text in templates.items():
        names = needed(text)
        if not names:
            filled[key] = text
        elif params.keys() >= names:
            filled[key] = fill(text, params)
    return filled


class HttpProvider:
    """A connection to one provider: its endpoint, its credentials and what carries its requests.

    Unless it ``repeats``, a poll is one request, whatever comes of it. Implements `poller.protocols.Provider`.
    """

    def __init__(
        self,
        *,
        operations: Mapping[str, Operation],
        endpoint: URL,
        signer: Signer,
        credentials: CredentialSource,
        transport: Transport,
        clock: Clock,
        nonce: Callable[[], str] | None = None,
        repeats: bool = True,
    ) -> None:
        self._operations = operations
        self._endpoint = endpoint
        self._signer = signer
        self._credentials = credentials
        self._transport = transport
        self._clock = clock
        self._nonce = nonce or _nonces()
        self._repeats = repeats

    @property
    def credentials_version(self) -> int:
        """A number that changes when the credentials do, as of their last use."""
        return self._credentials.version

    async def renew_credentials(self, refused: int | None = None) -> None:
        """Looks whether other credentials are to be had, and uses them from now on.

        ``refused`` is the version of those that the provider refuses.
        """
        await self._credentials.renew(refused)

    async def poll(self, entry: Entry, said: int | None = None) -> Observation:
        """One attempt at asking for the status of ``entry``'s task.

        ``said`` is that of the last answer: one that says the same again, but for its request id, is not read, but
        `UNCHANGED`. Never raises on account of the provider or the network.
        """
        operation = self._operations[entry.operation]
        return await self._ask(operation, entry, partial(self._read, operation, said))

    def _read(
        self, operation: Operation, before: int | None, reply: Reply, now: float, explain: Explain
    ) -> Observation:
        said = saying(operation, reply)
        # Other credentials may have to be taken out of the same words.
        said = None if said is None else hash((said, self._credentials.version))
        if said is not None and said == before:
            return UNCHANGED
        return classify(operation, reply, now, explain, said)

    def family(self, entry: Entry) -> str:
        """What ``entry``'s runs are runs of; see `family_of`."""
        return family_of(self._operations[entry.operation], entry)

    def job(self, entry: Entry) -> Job | None:
        """What could be started behind ``entry``'s task; None where its operation has no such request."""
        start = self._operations[entry.operation].start
        if start is None:
            return None
        return Job(build_request(start.request, self._endpoint, entry.params).url, start.operation, start.param)

    async def list_runs(self, entry: Entry) -> Observation:
        """The runs of ``entry``'s `job`, which there must be, asked for like a poll."""
        start = self._start(entry)
        return await self._ask(start.listing, entry, partial(classify_runs, start))

    async def start_run(self, entry: Entry) -> Observation:
        """Asks for a run of ``entry``'s `job`, which there must be, to start: one request, whatever comes of it."""
        request = self._start(entry).request
        await self._credentials.renew()
        return await self._attempt(request, entry, partial(classify, request))

    async def close(self) -> None:
        """Lets go of the connection."""
        await self._transport.close()
        await self._credentials.close()

    def _start(self, entry: Entry) -> Start:
        start = self._operations[entry.operation].start
        if start is None:
            raise ValueError(f"operation {entry.operation} has no start section")
        return start

    async def _ask(self, operation: Operation, entry: Entry, read: Read) -> Observation:
        await self._credentials.renew()
        seen = await self._attempt(operation, entry, read)
        if self._repeats and seen.again and await self._may_repeat(seen):
            seen = await self._attempt(operation, entry, read)
        return seen

    async def _may_repeat(self, seen: Observation) -> bool:
        """Whether the same question may get another answer: not with the same credentials where they were refused."""
        if seen.outcome is not Outcome.UNAUTHORIZED:
            return True
        await self._credentials.renew(seen.credentials_version)
        return self._credentials.version != seen.credentials_version

    async def _attempt(self, operation: Operation, entry: Entry, read: Read) -> Observation:
        version = self._credentials.version
        try:
            credentials = self._credentials.current()
        except NoCredentialsError as error:
            return replace(
                self._not_sent(Outcome.UNAUTHORIZED, f"no credentials: {error}"), credentials_version=version
            )
        seen = await self._send(operation, entry.params, credentials, read)
        if seen.outcome is Outcome.UNAUTHORIZED:
            seen = replace(seen, credentials_version=version)
        if seen.unchanged:
            return seen
        if self._credentials.version != version:
            seen = replace(seen, said=None)  # Next time other secrets may have to be taken out of it.
        return redacted(seen, credentials)

    async def _send(
        self, operation: Operation, params: Mapping[str, str], credentials: Credentials, read: Read
    ) -> Observation:
        try:
            request = self._signed(build_request(operation, self._endpoint, params), credentials)
        except ValueError as error:
            return self._not_sent(Outcome.UNREACHABLE, str(error))
        try:
            reply = await self._transport.exchange(request)
        except NotBroughtError as error:
            explain = partial(explain_silence, _NO_ANSWER, self._clock.now(), request, credentials)
            text = cut(str(error), LONGEST_TEXT)
            return Observation(Outcome.UNREACHABLE, message=text, rule=_NO_ANSWER, explain=explain)
        now = self._clock.now()
        return read(reply, now, partial(explain_reply, operation, request, reply, now, credentials))

    def _not_sent(self, outcome: Outcome, why: str) -> Observation:
        explain = partial(explain_silence, _NOT_SENT, self._clock.now())
        return Observation(outcome, message=cut(why, LONGEST_TEXT), rule=_NOT_SENT, explain=explain)

    def _signed(self, request: Request, credentials: Credentials) -> Request:
        now = datetime.fromtimestamp(self._clock.now(), UTC)
        return request.with_headers(self._signer(request, credentials, now, self._nonce()))
