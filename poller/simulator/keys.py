"""The keys that the local cloud accepts when a scenario names none: made up, public, good for nothing else."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key to sign requests with; ``security_token`` must come along where it is set (temporary keys)."""

    id: str
    secret: str = field(repr=False)
    security_token: str | None = field(default=None, repr=False)


ALIBABA_DEMO_KEY = SigningKey("demo-alibaba-key-id", "demo-alibaba-key-secret-not-a-real-one")
HUAWEI_DEMO_KEY = SigningKey("demo-huawei-access-key", "demo-huawei-secret-key-not-a-real-one")
HUAWEI_DEMO_TOKEN = f"demo-huawei-token-beside-{HUAWEI_DEMO_KEY.id}"
JOBS_DEMO_BEARER = "demo-jobs-bearer-not-a-real-one"
