"""The gateway before Alibaba Cloud OpenSearch: signatures, nonces, and the gateway's error bodies."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping

from poller.simulator.canonical import ALLOWED_SKEW
from poller.simulator.keys import SigningKey
from poller.simulator.signature_acs3 import verify_acs3
from poller.simulator.styles import AlibabaAccount
from poller.simulator.wire import Answer, RawRequest, Refusal, json_answer

_NONCES_KEPT = 100_000


class NonceMemory:
    """The nonces of the last half hour, in which a request may be replayed; of the newest ``capacity`` at most."""

    def __init__(self, capacity: int = _NONCES_KEPT) -> None:
        """``capacity``: how many are kept."""
        self._capacity = capacity
        self._seen: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        """How many it remembers."""
        return len(self._seen)

    def is_new(self, nonce: str, now: float) -> bool:
        """Whether ``nonce`` was not seen before; now it was."""
        self._forget(now)
        if nonce in self._seen:
            return False
        self._seen[nonce] = now
        return True

    def _forget(self, now: float) -> None:
        # A request may be dated a quarter of an hour ahead and is then good for another quarter after that.
        while self._seen and (
            len(self._seen) >= self._capacity or now - next(iter(self._seen.values())) > 2 * ALLOWED_SKEW
        ):
            self._seen.popitem(last=False)


class AlibabaGate:
    """Lets in what is signed by one of the accounts, once."""

    def __init__(self, accounts: Iterable[AlibabaAccount], new_id: Callable[[], str]) -> None:
        """``new_id`` makes request ids."""
        keys = (SigningKey(a.access_key_id, a.access_key_secret, a.security_token) for a in accounts)
        self._keys: Mapping[str, SigningKey] = {key.id: key for key in keys}
        self._nonces = NonceMemory()
        self._new_id = new_id

    def admit(self, raw: RawRequest, now: float) -> Answer | None:
        """None if the signature is good and its nonce new, else the refusal."""
        refusal = verify_acs3(raw, self._keys, now)
        if refusal is None and not self._nonces.is_new(raw.folded["x-acs-signature-nonce"], now):
            refusal = Refusal(400, "SignatureNonceUsed", "Specified signature nonce was used already.")
        return self.refuse(raw, refusal) if refusal else None

    def deny(self, raw: RawRequest, now: float, code: str | None) -> Answer:
        """By default as if the key had been deleted: a 404, which is no word on the task."""
        del now  # no failures are counted here
        code = code or "InvalidAccessKeyId.NotFound"
        status = 404 if code == "InvalidAccessKeyId.NotFound" else 400
        return self.refuse(raw, Refusal(status, code, "Specified access key is not accepted."))

    def throttle(self, retry_after: float | None, limit: str) -> Answer:
        """HTTP 400, with the pause in milliseconds where one is asked for."""
        headers = {} if retry_after is None else {"x-acs-retry-after": str(round(retry_after * 1000))}
        message = f"Request was denied due to user flow control, {limit}."
        return self._error(Refusal(400, "Throttling.User", message), "opensearch", headers)

    def fail(self, status: int, code: str | None) -> Answer:
        """``InternalError`` for a 500, else ``ServiceUnavailable``."""
        code = code or ("InternalError" if status == 500 else "ServiceUnavailable")
        return self._error(Refusal(status, code, "The request has failed due to a temporary failure."), "opensearch")

    def no_such_path(self, raw: RawRequest) -> Answer:
        """The gateway's 404."""
        message = "Specified api is not found, please check your url and method."
        return self.refuse(raw, Refusal(404, "InvalidApi.NotFound", message))

    def refuse(self, raw: RawRequest, refusal: Refusal) -> Answer:
        """``refusal`` as the gateway words it."""
        return self._error(refusal, raw.header("Host") or "")

    def _error(self, refusal: Refusal, host: str, headers: Mapping[str, str] | None = None) -> Answer:
        body = {
            "RequestId": self._new_id(),
            "HostId": host,
            "Code": refusal.code,
            "Message": refusal.message,
            "Recommend": f"https://api.aliyun.com/troubleshoot?q={refusal.code}&product=OpenSearch",
        }
        return json_answer(refusal.status, body, headers=headers, code=refusal.code)
