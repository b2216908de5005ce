"""A client for tests: signs requests on its own, hands them to a cloud without a socket, and moves its clock."""

import hashlib
import hmac
import itertools
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import orjson

from poller.simulator.cloud import Cloud, Silence
from poller.simulator.keys import ALIBABA_DEMO_KEY, HUAWEI_DEMO_KEY, JOBS_DEMO_BEARER, SigningKey
from poller.simulator.scenario import Scenario
from poller.simulator.wire import Answer, RawRequest

START = datetime(2026, 11, 21, 12, 0, tzinfo=UTC).timestamp()
HOST = "127.0.0.1:9818"
APP = "/v4/openapi/app-groups/my-app/functions/ctr/instances"
_EMPTY = hashlib.sha256(b"").hexdigest()
_nonces = itertools.count()


class HandClock:
    """Epoch seconds, which pass only when told to."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Reply:
    """An answer, read."""

    answer: Answer

    @property
    def status(self) -> int:
        return self.answer.status

    @property
    def code(self) -> str:
        return self.answer.code

    @property
    def json(self) -> Any:
        return orjson.loads(self.answer.body)


@dataclass
class Caller:
    """Asks a cloud made of ``scenario``."""

    scenario: dict[str, Any]
    clock: HandClock = field(default_factory=HandClock)

    def __post_init__(self) -> None:
        self.cloud = Cloud(Scenario.model_validate(self.scenario), self.clock)

    def at(self, seconds: float) -> "Caller":
        """The same caller, so many seconds after the cloud's start."""
        self.clock.now = START + seconds
        return self

    def send(self, raw: RawRequest) -> Reply:
        answer = self.cloud.respond(raw)
        assert isinstance(answer, Answer), answer
        return Reply(answer)

    def silence(self, raw: RawRequest) -> Silence:
        answer = self.cloud.respond(raw)
        assert not isinstance(answer, Answer), answer
        return answer

    def search(self, path: str, action: str = "GetFunctionTask", method: str = "GET") -> Reply:
        return self.send(acs3(APP + path, self.clock(), action=action, method=method))

    def instance(self, name: str) -> Reply:
        return self.search(f"/{name}?output=detail", "GetFunctionInstance")

    def start(self, name: str) -> Reply:
        return self.search(f"/{name}/tasks", "CreateFunctionTask", "POST")

    def huawei(self, path: str, **headers: str) -> Reply:
        return self.send(sdk(path, self.clock(), headers=headers))

    def job(self, job_id: str) -> Reply:
        return self.send(bearer(f"/v1/jobs/{job_id}"))


def acs3(
    target: str,
    now: float,
    *,
    action: str = "GetFunctionTask",
    method: str = "GET",
    key: SigningKey = ALIBABA_DEMO_KEY,
    nonce: str | None = None,
    version: str = "2017-12-25",
    content_hash: str = _EMPTY,
) -> RawRequest:
    """A request signed with ACS3-HMAC-SHA256; plain paths and queries only."""
    headers = {
        "host": HOST,
        "x-acs-action": action,
        "x-acs-content-sha256": content_hash,
        "x-acs-date": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "x-acs-signature-nonce": nonce or f"nonce-{next(_nonces)}",
        "x-acs-version": version,
    }
    if key.security_token:
        headers["x-acs-security-token"] = key.security_token
    path, _, query = target.partition("?")
    names, hashed = _hashed(method, path, query, headers)
    signature = _hmac(key.secret, f"ACS3-HMAC-SHA256\n{hashed}")
    value = f"ACS3-HMAC-SHA256 Credential={key.id},SignedHeaders={names},Signature={signature}"
    return RawRequest(method, target, (*headers.items(), ("Authorization", value)))


def sdk(
    target: str,
    now: float,
    *,
    key: SigningKey = HUAWEI_DEMO_KEY,
    headers: dict[str, str] | None = None,
    method: str = "GET",
) -> RawRequest:
    """A request signed with SDK-HMAC-SHA256; plain paths and queries only."""
    date = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    signed = {"host": HOST, "x-sdk-date": date, **(headers or {})}
    if key.security_token:
        signed["x-security-token"] = key.security_token
    path, _, query = target.partition("?")
    names, hashed = _hashed(method, f"{path}/", query, signed)
    signature = _hmac(key.secret, f"SDK-HMAC-SHA256\n{date}\n{hashed}")
    value = f"SDK-HMAC-SHA256 Access={key.id}, SignedHeaders={names}, Signature={signature}"
    return RawRequest(method, target, (*signed.items(), ("Authorization", value)))


def bearer(target: str, secret: str = JOBS_DEMO_BEARER) -> RawRequest:
    """A request with a bearer token."""
    return RawRequest("GET", target, (("Host", HOST), ("Authorization", f"Bearer {secret}")))


def with_header(raw: RawRequest, name: str, value: str | None) -> RawRequest:
    """``raw`` with a header changed, added, or (None) taken away after signing."""
    kept = tuple((key, old) for key, old in raw.headers if key.lower() != name.lower())
    return replace(raw, headers=kept if value is None else (*kept, (name, value)))


def _hashed(method: str, path: str, query: str, headers: dict[str, str]) -> tuple[str, str]:
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    canonical = "\n".join((method, path, "&".join(sorted(query.split("&"))), lines, names, _EMPTY))
    return names, hashlib.sha256(canonical.encode()).hexdigest()


def _hmac(secret: str, text: str) -> str:
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
