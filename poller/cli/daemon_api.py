"""The API of a running daemon, as the commands use it."""

import base64
import io
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import aiohttp
import anyio
import orjson
from aiohttp import hdrs
from yarl import URL

from poller.cli.eventreader import EventReader, Received
from poller.cli.options import daemon_at, given_token
from poller.domain.errors import (
    ConfigError,
    NoDaemonError,
    NoSuchSinkError,
    NoSuchTaskError,
    PollerError,
    Problem,
    StoreError,
    WatchlistError,
)

if TYPE_CHECKING:
    from poller.config.settings import Web

_TIMEOUT = aiohttp.ClientTimeout(total=10)
_START_TIMEOUT = aiohttp.ClientTimeout(total=180)
"""A start may take several requests to the provider, and looks in between."""
_STREAM_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=45)
"""A daemon that has nothing to tell says so every 15 s."""
_LONGEST_PAUSE = 5.0
"""Seconds before a stream that broke is asked for again."""
_CHANGE_TIMEOUT = aiohttp.ClientTimeout(total=120)
"""Ten thousand tasks are added in seconds, but a store may make them wait."""
_FOREIGN = (aiohttp.ClientError, TimeoutError, ValueError)
"""What may go wrong on the way, as others call it."""
_FEW = 10
"""As many tasks are asked for one by one; more of them are looked up in the list of all."""
_UNIX = "unix:"
_EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 - compared, not bound


@dataclass(frozen=True, slots=True)
class Access:
    """How to get to a daemon: its address, ``http://…`` or ``unix:PATH``, and what it takes to be let in."""

    address: str = field(repr=False)
    """May hold user and password; `url` does not."""
    prefix: str = ""
    """The path below which a daemon at a unix socket serves."""
    user: str | None = field(default=None, repr=False)
    """NAME:PASSWORD."""
    ca: Path | None = None
    """The authorities to trust, in PEM, instead of the system's."""
    insecure: bool = False
    """Takes any certificate."""
    token: str | None = field(default=None, repr=False)
    """The bearer token of ``web.api_token``; it is as good as a user."""

    @property
    def socket(self) -> str | None:
        """The path of the unix socket, if it is one."""
        return self.address.removeprefix(_UNIX) if self.address.startswith(_UNIX) else None

    @property
    def url(self) -> URL:
        """Where the daemon's paths start, without what is secret. PollerError for an address that is none."""
        base = f"http://localhost{self.prefix}" if self.socket is not None else self.address
        try:
            url = URL(base.rstrip("/"))
        except ValueError:
            url = URL()
        if url.scheme not in ("http", "https") or not url.host:
            raise PollerError("--url: an address that is none, http://HOST:PORT, https://… or unix:PATH is allowed")
        return url.with_user(None)

    @property
    def login(self) -> dict[str, str]:
        """The header that the token makes, or user and password (RFC 7617), from wherever they are given; else none."""
        if self.token is not None:
            return {hdrs.AUTHORIZATION: f"Bearer {self.token}"}
        if self.user is not None:
            name, colon, password = self.user.partition(":")
            if not colon or not name:
                raise PollerError("--user: no user and password, NAME:PASSWORD is allowed")
            return _header(name, password)
        url = URL() if self.socket is not None else URL(self.address)
        return _header(url.user, url.password or "") if url.user else {}

    def trust(self) -> ssl.SSLContext | bool:
        """What a certificate must stand up to. PollerError when the file with the authorities cannot be used."""
        if self.insecure:
            return False
        try:
            return ssl.create_default_context(cafile=self.ca)
        except OSError as error:
            raise PollerError(f"--ca: {self.ca} holds no certificates that can be read: {error}") from None


def changing(config: Path | None, url: str | None, token_file: Path | None, ca: Path | None, insecure: bool) -> Access:
    """How to get to a daemon to change something: with the token that is given, else that of its own config."""
    address, prefix, own = daemon_at(url, config)
    token = given_token(token_file) or (own.reveal() if own is not None else None)
    return Access(address, prefix, ca=ca, insecure=insecure, token=token)


def _header(user: str, password: str) -> dict[str, str]:
    return {hdrs.AUTHORIZATION: f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


def configured_address(web: "Web") -> str:
    """Where the daemon with this config is found: at its first TCP address, else at its unix socket.

    PollerError when the web config file, which says whether it speaks TLS, cannot be read.
    """
    from poller.config.values import Address, UnixAddress

    addresses = [each for each in web.listen if isinstance(each, Address)]
    if not addresses:
        return str(next(each for each in web.listen if isinstance(each, UnixAddress)))
    first = addresses[0]
    host = "127.0.0.1" if first.host in _EVERYWHERE else first.host
    return f"{_scheme(web)}://{Address(host, first.port)}{web.route_prefix.rstrip('/')}"


def _scheme(web: "Web") -> str:
    from poller.config.webfile import read_web_file

    if web.config_file is None:
        return "http"
    try:
        return "http" if read_web_file(web.config_file).tls is None else "https"
    except ConfigError as error:
        raise PollerError(f"{error}; give the daemon's address with --url") from None


async def fetch_tasks(access: Access, filters: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """Every task of a daemon that the ``filters`` of its API let through, page after page, as it tells them.

    PollerError when it cannot be asked.
    """
    async with _session(access) as session:
        return await _list(session, access, filters or {})


async def fetch_some(access: Access, names: Collection[str]) -> list[dict[str, Any]]:
    """The tasks of a daemon that bear these ``names``, in their order.

    NoDaemonError when it does not answer, or has not loaded its watchlist yet; NoSuchTaskError for a name that it does
    not know; PollerError when it refuses.
    """
    async with _session(access) as session:
        await _check_ready(session, access)
        listed = await _list(session, access) if len(names) > _FEW else []
        known = {task["name"]: task for task in listed}
        # The list leaves out what ended long ago.
        return [known.get(name) or await _fetch(session, access, name) for name in names]


async def fetch_names(access: Access) -> list[str]:
    """The names of every task of a daemon. Raises what `fetch_some` does."""
    async with _session(access) as session:
        await _check_ready(session, access)
        return [task["name"] for task in await _list(session, access)]


async def fetch_transitions(access: Access, filters: Mapping[str, str]) -> list[dict[str, Any]]:
    """The transitions of a daemon that the ``filters`` of its API let through, oldest first.

    Raises what `fetch_some` does.
    """
    async with _session(access) as session:
        await _check_ready(session, access)
        return (await _list(session, access, filters, "transitions"))[::-1]


async def stream_transitions(access: Access, say: Callable[[str], None]) -> AsyncGenerator[dict[str, Any] | None]:
    """The transitions of a daemon as they happen, without an end; None each time that it is known where it goes on.

    A stream that breaks is taken up where it was. ``say`` tells people of that, and of what may have been missed.
    NoDaemonError if no daemon answers the first time, PollerError when it refuses.
    """
    reader, failures = EventReader(), 0
    while True:
        try:
            async with _session(access, _STREAM_TIMEOUT) as session:
                async for event in _stream(session, access, reader):
                    failures = 0
                    yield _transition_in(event, say)
            lost = "the daemon has ended the stream"
        except NoDaemonError as error:
            if not reader.last_id:
                raise
            lost = str(error)
        if not failures:
            say(f"{lost}; it is asked again")
        failures += 1
        await anyio.sleep(min(0.5 * failures, _LONGEST_PAUSE))


def _transition_in(event: Received | None, say: Callable[[str], None]) -> dict[str, Any] | None:
    if event is None or event.name not in {"transition", "reset"}:
        return None
    told: dict[str, Any] = orjson.loads(event.data)
    if event.name == "transition":
        return told
    say(f"something may be missing here: {told['reason']}")
    return None


async def _stream(
    session: aiohttp.ClientSession, access: Access, reader: EventReader
) -> AsyncIterator[Received | None]:
    """The events of one stream until it ends; None for what only tells where it goes on."""
    url = access.url / "api/v1/events"
    headers = {"Last-Event-ID": reader.last_id} if reader.last_id else {}
    try:
        async with session.get(url, headers=headers) as response:
            if response.status == 503:
                raise NoDaemonError(f"{url}: {(await response.json())['error']['message']}")
            response.raise_for_status()
            reader.begin()
            async for received in response.content.iter_any():
                before = reader.last_id
                for event in reader.feed(received):
                    yield event
                if reader.last_id != before:
                    yield None
    except _FOREIGN as error:
        raise _explained(url, error) from None


async def start_task(access: Access, name: str) -> dict[str, Any]:
    """Has a daemon start the job behind a task; what it tells of that. PollerError when nothing is known to run."""
    async with _session(access, _START_TIMEOUT) as session:
        return await _change(session, hdrs.METH_POST, _task_url(access, name, "/start"))


async def add_tasks(access: Access, body: bytes, content_type: str) -> dict[str, Any]:
    """Has a daemon watch the tasks in ``body``; how many of them are new, changed and unchanged.

    ConfigError with every mistake that it finds, WatchlistError for names that mean other tasks, and PollerError when
    it cannot be asked; nothing was added then.
    """
    async with _session(access, _CHANGE_TIMEOUT) as session:
        headers = {hdrs.CONTENT_TYPE: content_type}
        url = access.url / "api/v1/tasks"
        return await _change(session, hdrs.METH_POST, url, headers=headers, data=io.BytesIO(body))


Told = dict[str, Any] | NoSuchTaskError | WatchlistError
"""What a daemon tells of a change that was asked for, or why it refuses it."""


async def remove_tasks(access: Access, names: Iterable[str]) -> AsyncIterator[tuple[str, Told]]:
    """Has a daemon watch these tasks no more, one after the other. PollerError when it cannot be asked."""
    async with _session(access, _CHANGE_TIMEOUT) as session:
        for name in names:
            yield name, await _change_one(session, hdrs.METH_DELETE, _task_url(access, name))


async def rearm_tasks(access: Access, names: Iterable[str]) -> AsyncIterator[tuple[str, Told]]:
    """Has a daemon watch these missing or expired tasks anew, one after the other. Raises what `remove_tasks` does."""
    async with _session(access, _CHANGE_TIMEOUT) as session:
        for name in names:
            yield name, await _change_one(session, hdrs.METH_POST, _task_url(access, name, "/rearm"))


async def fetch_sinks(access: Access) -> list[dict[str, Any]]:
    """How the sinks of a daemon do, as it tells them. PollerError when it cannot be asked."""
    async with _session(access) as session:
        return await _sinks(session, access)


async def fetch_dead(access: Access, sink: str | None) -> list[dict[str, Any]]:
    """The dead letters of a daemon's sink, or of all, newest first, each with the name of its ``sink``.

    NoSuchSinkError for a name that it does not know, PollerError when it cannot be asked.
    """
    async with _session(access) as session:
        names = [sink] if sink is not None else [each["name"] for each in await _sinks(session, access)]
        return [{"sink": name, **letter} for name in names for letter in await _letters(session, access, name)]


async def redeliver_events(access: Access, sink: str, ids: Sequence[str] | None) -> dict[str, Any]:
    """Has a daemon deliver events once more, or all dead letters of a sink. Raises what `fetch_dead` does."""
    async with _session(access, _CHANGE_TIMEOUT) as session:
        wanted = {"all": True} if ids is None else {"events": list(ids)}
        return await _change(session, hdrs.METH_POST, _sink_url(access, sink, "/redeliver"), json=wanted)


async def _sinks(session: aiohttp.ClientSession, access: Access) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = (await _get(session, access.url / "api/v1/sinks", {}))["sinks"]
    return told


async def _letters(session: aiohttp.ClientSession, access: Access, sink: str) -> list[dict[str, Any]]:
    letters: list[dict[str, Any]] = []
    query = {"limit": "1000"}
    while True:
        page = await _change(session, hdrs.METH_GET, _sink_url(access, sink, "/dead"), params=query)
        letters += page["events"]
        if page["next_cursor"] is None:
            return letters
        query["cursor"] = page["next_cursor"]


def _sink_url(access: Access, name: str, what: str) -> URL:
    return URL(f"{access.url / 'api/v1/sinks'}/{quote(name, safe='', errors='replace')}{what}", encoded=True)


async def _change_one(session: aiohttp.ClientSession, method: str, url: URL) -> Told:
    try:
        return await _change(session, method, url)
    except (NoSuchTaskError, WatchlistError) as error:
        return error


async def _change(session: aiohttp.ClientSession, method: str, url: URL, **more: Any) -> dict[str, Any]:
    """Asks for a change; what the daemon tells of it. PollerError, of the fitting kind, when it refuses."""
    try:
        async with session.request(method, url, **more) as response:
            told: dict[str, Any] = await response.json()
    except _FOREIGN as error:
        raise _explained(url, error) from None
    if response.ok:
        return told
    if "error" not in told:
        raise PollerError(f"{url}: it is not the daemon that answers there; is --url its address?")
    raise _refusal(response.status, told["error"])


def _refusal(status: int, error: Mapping[str, Any]) -> PollerError:
    """The error that a daemon tells, as the one that it was there."""
    message, details = error["message"], error["details"]
    match status:
        case 400 if "mistakes" in details:
            told = ((each["line"] or 0, each["key"], each["message"]) for each in details["mistakes"])
            return ConfigError(Problem("request", *problem) for problem in told)
        case 401:
            return PollerError(f"{message}; give the daemon's web.api_token in POLLER_TOKEN or --token-file")
        case 404 if "task" in details:
            return NoSuchTaskError(details["task"])
        case 404 if "sink" in details:
            return NoSuchSinkError(details["sink"])
        case 409 if "tasks" in details:
            return WatchlistError(message, details["tasks"])
        case 503:
            return StoreError(message)
    return PollerError(message)


async def _list(
    session: aiohttp.ClientSession, access: Access, filters: Mapping[str, str] | None = None, what: str = "tasks"
) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = []
    query = {**(filters or {}), "limit": "1000"}
    while True:
        page = await _get(session, access.url / "api/v1" / what, query)
        listed += page[what]
        if page["next_cursor"] is None:
            return listed
        query["cursor"] = page["next_cursor"]


async def _fetch(session: aiohttp.ClientSession, access: Access, name: str) -> dict[str, Any]:
    url = _task_url(access, name)
    try:
        async with session.get(url) as response:
            if response.status == 404:
                raise NoSuchTaskError(name)
            return await _json(response)
    except _FOREIGN as error:
        raise _explained(url, error) from None


async def _check_ready(session: aiohttp.ClientSession, access: Access) -> None:
    """Whoever asks too soon would be told that there are no tasks."""
    url = access.url / "-/ready"
    try:
        async with session.get(url) as response:
            response.raise_for_status()
    except _FOREIGN as error:
        raise _explained(url, error) from None


def _task_url(access: Access, name: str, what: str = "") -> URL:
    return URL(f"{access.url / 'api/v1/tasks'}/{quote(name, safe='', errors='replace')}{what}", encoded=True)


def _session(access: Access, timeout: aiohttp.ClientTimeout = _TIMEOUT) -> aiohttp.ClientSession:
    login, trust = access.login, access.trust()
    connector = aiohttp.TCPConnector(ssl=trust) if access.socket is None else aiohttp.UnixConnector(access.socket)
    return aiohttp.ClientSession(connector=connector, headers=login, timeout=timeout)


async def _get(session: aiohttp.ClientSession, url: URL, query: dict[str, str]) -> dict[str, Any]:
    try:
        async with session.get(url, params=query) as response:
            return await _json(response)
    except _FOREIGN as error:
        raise _explained(url, error) from None


async def _json(response: aiohttp.ClientResponse) -> dict[str, Any]:
    response.raise_for_status()
    page: dict[str, Any] = await response.json()
    return page


def _explained(url: URL, error: Exception) -> PollerError:
    if isinstance(error, aiohttp.ClientResponseError) and error.status == 401:
        advice = "give --user NAME:PASSWORD, or set POLLER_USER"
        return PollerError(f"{url}: a login is needed, or this one is wrong; {advice}")
    if isinstance(error, aiohttp.ClientResponseError) and error.status == 404:
        return PollerError(f"{url}: it is not the daemon that answers there; is --url its address?")
    if isinstance(error, aiohttp.ClientResponseError) and error.status == 503:
        return NoDaemonError(f"the daemon at {url.with_path('/')} is not ready: it is starting, or ending")
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        advice = "give its authority with --ca FILE, and with --url the name that it was made for; or --insecure"
        return PollerError(f"{url}: the daemon's certificate is not trusted: {error.certificate_error}; {advice}")
    reason = str(error) or type(error).__name__
    return NoDaemonError(f"no daemon answers at {url}: {reason}; is it running, and is --url its address?")
