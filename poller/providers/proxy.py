"""Which HTTP proxy a connection goes through, if any.

In the environment it is named as for other programs: ``https_proxy``, ``http_proxy`` and ``no_proxy``, in lower case
before upper case. A loopback address is never behind a proxy that only the environment names.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TypeAlias
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # undocumented, but not underscored

from yarl import URL

from poller.config.secret import Secret
from poller.config.settings import Provider, Sink
from poller.config.values import NO_PROXY, PROXY_ALLOWED
from poller.providers.credentials.forms import Basic


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that is spoken to over plain HTTP, and the login that it wants, if it wants one."""

    url: URL
    login: Basic | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What only the proxy is told."""
        return {} if self.login is None else {"Proxy-Authorization": f"Basic {self.login.encoded}"}

    def hide_login(self, said: bytes) -> bytes:
        """``said`` without the login, should whoever was told it have said it back."""
        for secret in () if self.login is None else self.login.secrets:
            said = said.replace(secret.encode(), b"***")
        return said


ProxySource: TypeAlias = Callable[[], Proxy | None]
"""The proxy to be used now; None for none. ValueError, which quotes no secret, when what is configured is no proxy."""


def no_proxy() -> None:
    """Connections go straight to where they lead."""


def proxy_source(settings: Provider | Sink, endpoint: URL, env: Mapping[str, str]) -> ProxySource:
    """The proxy that the ``settings`` of a connection name, else the environment. ValueError as its result would raise.

    A secret file that changes takes effect with the next poll.
    """
    written = settings.proxy
    if isinstance(written, Secret):
        return lambda: _revealed(written)
    found = None if written == NO_PROXY else _from_environment(endpoint, env)
    return lambda: found


def parse_proxy(text: str) -> Proxy:
    """The proxy at ``http://[user:password@]host:port``. ValueError, without quoting it, for anything else."""
    try:
        if not text.isprintable() or " " in text:
            raise ValueError
        url = URL(text)
        login = Basic(url.user or "", url.password or "") if url.user or url.password else None
    except ValueError:
        raise ValueError("something else") from None
    if url.scheme != "http" or not url.host or url.path not in ("", "/") or url.query_string or url.fragment:
        raise ValueError("something else" if url.scheme == "http" else f"a proxy by {url.scheme or 'no scheme'}")
    return Proxy(url.origin(), login)


def _revealed(secret: Secret) -> Proxy | None:
    text = secret.reveal()
    if text is None or text == NO_PROXY:
        return None
    try:
        return parse_proxy(text)
    except ValueError as error:
        raise ValueError(f"{error}, {PROXY_ALLOWED}") from None


def _from_environment(endpoint: URL, env: Mapping[str, str]) -> Proxy | None:
    name = f"{endpoint.scheme}_proxy"
    variable = name if name in env else name.upper()
    text = env.get(variable, "").strip()
    if not text or _is_loopback(endpoint) or _is_exempt(endpoint, env):
        return None
    try:
        return parse_proxy(text if "://" in text else f"http://{text}")
    except ValueError as error:
        raise ValueError(f"{error} in the environment variable {variable}, {PROXY_ALLOWED}") from None


def _is_exempt(endpoint: URL, env: Mapping[str, str]) -> bool:
    exempt = {"no": env.get("no_proxy", env.get("NO_PROXY", ""))}
    hosts = (endpoint.host or "", f"{endpoint.host}:{endpoint.port}")
    return any(proxy_bypass_environment(host, exempt) for host in hosts)


def _is_loopback(endpoint: URL) -> bool:
    host = endpoint.host or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
