"""The part of a scenario that is about providers as a whole: the accounts they accept, and the way they speak."""

from enum import StrEnum
from typing import Literal

from poller.simulator.keys import ALIBABA_DEMO_KEY, HUAWEI_DEMO_KEY, HUAWEI_DEMO_TOKEN, JOBS_DEMO_BEARER
from poller.simulator.values import Model


class AlibabaAccount(Model):
    """A key for OpenSearch."""

    access_key_id: str = ALIBABA_DEMO_KEY.id
    access_key_secret: str = ALIBABA_DEMO_KEY.secret
    security_token: str | None = None


class HuaweiAccount(Model):
    """A key for DLF and ModelArts, and an IAM token that opens the same doors."""

    access_key: str = HUAWEI_DEMO_KEY.id
    secret_key: str = HUAWEI_DEMO_KEY.secret
    security_token: str | None = None
    token: str | None = HUAWEI_DEMO_TOKEN


class JobsAccount(Model):
    """A bearer token for the jobs API."""

    bearer: str = JOBS_DEMO_BEARER


class Accounts(Model):
    """Every key that is accepted; by default the demo keys."""

    alibaba: tuple[AlibabaAccount, ...] = (AlibabaAccount(),)
    huawei: tuple[HuaweiAccount, ...] = (HuaweiAccount(),)
    jobs: tuple[JobsAccount, ...] = (JobsAccount(),)


class KeySpelling(StrEnum):
    """How OpenSearch spells the keys of its answers: its documents show both."""

    CAMEL = "camel"
    PASCAL = "pascal"


class OpenSearchQuirk(StrEnum):
    """Where OpenSearch's documents contradict themselves, or each other."""

    CODE_BESIDE_SUCCESS = (
        "code-beside-success"  # `Task.NotExist` or `Instance.NotExist` in an answer that has the thing
    )
    ESCAPED_TWICE = "escaped-twice"  # extendInfo is JSON in a string whose quotes are escaped once more
    ERROR_AS_200 = "error-as-200"  # errors of the service come with HTTP status 200
    UNTRAINED_STATUS = "untrained-status"  # `untrained`, where otherwise there is no task in the answer


class OpenSearchStyle(Model):
    """How OpenSearch speaks."""

    keys: KeySpelling = KeySpelling.CAMEL
    quirks: frozenset[OpenSearchQuirk] = frozenset()


class DlfStyle(Model):
    """How DLF speaks."""

    subtasks_key: Literal["subtasks", "subTasks"] = "subtasks"


class ModelArtsQuirk(StrEnum):
    """What ModelArts was seen to do beside its documents."""

    ERROR_MSG_ON_SUCCESS = "error-msg-on-success"
    MISSING_AS_404 = "missing-as-404"


class ModelArtsStyle(Model):
    """How ModelArts speaks."""

    quirks: frozenset[ModelArtsQuirk] = frozenset()
