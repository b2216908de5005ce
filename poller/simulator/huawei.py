"""The gateway before Huawei Cloud's APIs: signatures, tokens, the lock of a key, and the gateway's error bodies."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from poller.simulator.keys import SigningKey
from poller.simulator.signature_sdk import access_key_of, incorrect, verify_sdk
from poller.simulator.styles import HuaweiAccount
from poller.simulator.wire import Answer, RawRequest, Refusal, json_answer

_FAILURES_ALLOWED = 5
_LOCKED_FOR = 300.0

_STRANGER = ""
"""All keys that are not known share one entry, so that made-up ones fill no memory."""


class KeyLock:
    """Locks a key for 5 minutes after more than 5 failed authentications in a row. ``now`` is in epoch seconds."""

    def __init__(self) -> None:
        """Nothing is locked at first."""
        self.times_locked = 0
        self._failures: Counter[str] = Counter()
        self._until: dict[str, float] = {}

    def locked(self, key: str, now: float) -> bool:
        """Whether ``key`` is refused, whatever it signs."""
        return now < self._until.get(key, -math.inf)

    def failed(self, key: str, now: float) -> None:
        """Counts a failure; the sixth in a row locks. What comes while it is locked does not count."""
        if self.locked(key, now):
            return
        self._failures[key] += 1
        if self._failures[key] > _FAILURES_ALLOWED:
            self._until[key] = now + _LOCKED_FOR
            self._failures[key] = 0
            self.times_locked += 1

    def succeeded(self, key: str) -> None:
        """The row of failures, if any, is over."""
        self._failures[key] = 0


class HuaweiGate:
    """Lets in what is signed by one of the accounts, or carries a token of theirs."""

    def __init__(self, accounts: Iterable[HuaweiAccount], new_id: Callable[[], str]) -> None:
        """``new_id`` makes request ids."""
        accounts = tuple(accounts)
        self._keys = {a.access_key: SigningKey(a.access_key, a.secret_key, a.security_token) for a in accounts}
        self._tokens = frozenset(a.token for a in accounts if a.token)
        self._new_id = new_id
        self.lock = KeyLock()

    def admit(self, raw: RawRequest, now: float) -> Answer | None:
        """None if token or signature are good and the key is not locked, else the refusal."""
        refusal = self._check_token(raw) if raw.header("X-Auth-Token") else self._check_signature(raw, now)
        return self._refuse(refusal) if refusal else None

    def deny(self, raw: RawRequest, now: float, code: str | None) -> Answer:
        """By default as if the signature were wrong."""
        self.lock.failed(self._owner(raw), now)
        refusal = incorrect("verify aksk signature fail")
        return self._refuse(Refusal(401, code or refusal.code, refusal.message))

    def throttle(self, retry_after: float | None, limit: str) -> Answer:
        """HTTP 429 with the limit in its message; Retry-After, in whole seconds, only where a pause is asked for."""
        message = f"The throttling threshold has been reached: policy user over ratelimit,{limit}"
        headers = {} if retry_after is None else {"Retry-After": str(math.ceil(retry_after))}
        return self._refuse(Refusal(429, "APIGW.0308", message), headers)

    def fail(self, status: int, code: str | None) -> Answer:
        """The backend cannot be reached."""
        return self._refuse(Refusal(status, code or "APIGW.0201", "Backend unavailable."))

    def no_such_path(self, raw: RawRequest) -> Answer:
        """The gateway's 404."""
        message = f"The API does not exist or has not been published in the environment: {raw.method} {raw.path}"
        return self._refuse(Refusal(404, "APIGW.0101", message))

    def answer(self, status: int, body: object, code: str = "") -> Answer:
        """An answer of a service behind the gateway, which adds the request's id."""
        return json_answer(status, body, headers={"X-Request-Id": self._new_id()}, code=code)

    def error(self, refusal: Refusal) -> Answer:
        """An error of a service behind the gateway."""
        body = {"error_code": refusal.code, "error_msg": refusal.message}
        return self.answer(refusal.status, body, refusal.code)

    def _refuse(self, refusal: Refusal, headers: Mapping[str, str] | None = None) -> Answer:
        request_id = self._new_id()
        body = {"error_code": refusal.code, "error_msg": refusal.message, "request_id": request_id}
        all_headers = {"X-Request-Id": request_id, **(headers or {})}
        return json_answer(refusal.status, body, headers=all_headers, code=refusal.code)

    def _check_token(self, raw: RawRequest) -> Refusal | None:
        return None if raw.header("X-Auth-Token") in self._tokens else incorrect("decrypt token fail")

    def _check_signature(self, raw: RawRequest, now: float) -> Refusal | None:
        if raw.header("Authorization") is None:
            return incorrect("x-auth-token not found")
        owner = self._owner(raw)
        if self.lock.locked(owner, now):
            return incorrect("AK access failed to reach the limit,forbidden")
        refusal = verify_sdk(raw, self._keys, now)
        if refusal:
            self.lock.failed(owner, now)
        else:
            self.lock.succeeded(owner)
        return refusal

    def _owner(self, raw: RawRequest) -> str:
        key = access_key_of(raw)
        return key if key in self._keys else _STRANGER
