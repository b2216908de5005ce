"""The sinks of a config: what each is made of, and one sample event sent to one of them."""

import os
import secrets
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from urllib.parse import parse_qsl

from yarl import URL

from poller.config.loading import Loaded
from poller.config.secret import Secret
from poller.config.settings import Sink as SinkSettings
from poller.config.values import is_webhook_url
from poller.domain.delivery import Answer
from poller.domain.errors import NoSuchSinkError
from poller.domain.events import Transition
from poller.domain.state import State
from poller.emit.envelope import SAMPLE, TRANSITION
from poller.emit.eventfile import EventFile
from poller.emit.webhook import NotPostedError, Posted, Webhook
from poller.protocols import Clock, Sink
from poller.providers.classify import parse_retry_after
from poller.providers.credentials.forms import Basic
from poller.providers.proxy import Proxy, proxy_source
from poller.providers.request import Request
from poller.providers.transport import HttpTransport, NotBroughtError
from poller.runtime.clock import LoopClock


def open_sink(settings: SinkSettings, clock: Clock, stack: AsyncExitStack, env: Mapping[str, str] = os.environ) -> Sink:
    """What ``settings`` describe; its sockets are closed with ``stack``."""
    return _open(settings, clock, stack, env, TRANSITION)


def place(settings: SinkSettings) -> str:
    """Where a sink is, for people: of an address only what can hold no key."""
    if settings.kind == "file":
        return str(settings.path)
    text = settings.url.reveal() if settings.url is not None else None
    return "-" if text is None else str(URL(text).origin())


async def send_sample(loaded: Loaded, name: str, env: Mapping[str, str] = os.environ) -> Answer:
    """What comes of sending one sample event to the sink ``name``. NoSuchSinkError."""
    settings = loaded.settings.sinks.get(name)
    if settings is None:
        raise NoSuchSinkError(name)
    async with AsyncExitStack() as stack:
        return await _open(settings, LoopClock(), stack, env, SAMPLE).deliver([sample()])


def sample() -> Transition:
    """A transition that never was, with an id of its own."""
    now = time.time()
    return Transition(
        transition_id=secrets.token_hex(16),
        ordinal=1,
        task="sample",
        provider="sample",
        operation="sample",
        source=State.RUNNING,
        target=State.SUCCEEDED,
        at=now,
        run=1,
        message="a sample event, sent by poller sinks test",
        started_at=now - 60,
        ended_at=now,
        duration=60.0,
        labels={},
    )


def _open(settings: SinkSettings, clock: Clock, stack: AsyncExitStack, env: Mapping[str, str], kind: str) -> Sink:
    if settings.path is not None:
        return EventFile(settings.path, kind)
    poster = _Poster(settings, clock, env)
    stack.push_async_callback(poster.close)
    return Webhook(
        poster.post,
        clock,
        settings.max_in_flight,
        secrets=lambda: [text for each in settings.secret if (text := each.reveal()) is not None],
        headers=lambda: {name: text for name, each in settings.headers.items() if (text := each.reveal()) is not None},
        kind=kind,
    )


class _Poster:
    """Posts to where ``settings`` say, as that is at the moment."""

    def __init__(self, settings: SinkSettings, clock: Clock, env: Mapping[str, str]) -> None:
        self._settings = settings
        self._clock = clock
        self._env = env
        self._transport = HttpTransport(
            timeout=settings.timeout, max_in_flight=settings.max_in_flight, tls=settings.tls, proxy=self._proxy
        )

    async def post(self, headers: Mapping[str, str], body: bytes) -> Posted:
        """Sends once; see `poller.emit.webhook.Post`."""
        try:
            reply = await self._transport.exchange(_request(self._url(), headers, body))
        except NotBroughtError as error:
            raise NotPostedError(str(error)) from error
        return Posted(reply.status, parse_retry_after(reply.headers.get("Retry-After"), self._clock.now()))

    async def close(self) -> None:
        """Lets go of the sockets."""
        await self._transport.close()

    def _url(self) -> URL:
        written = self._settings.url
        text = written.reveal() if isinstance(written, Secret) else None
        if text is None or not is_webhook_url(text):
            # Not quoted: it is secret.
            raise NotPostedError("url: there is no address in it, https://host[:port]/path is allowed")
        return URL(text)

    def _proxy(self) -> Proxy | None:
        return proxy_source(self._settings, self._url(), self._env)()


def _request(url: URL, headers: Mapping[str, str], body: bytes) -> Request:
    """The request as it goes out; user and password of the address become a header (RFC 7617), unless one is given."""
    login = {}
    if url.user and all(name.lower() != "authorization" for name in headers):
        login = {"Authorization": f"Basic {Basic(url.user, url.password or '').encoded}"}
    query = tuple(parse_qsl(url.raw_query_string, keep_blank_values=True))
    return Request("POST", str(url.origin()), url.raw_path, query, {**login, **headers}, body)
