"""Where Alibaba Cloud gives out temporary keys: STS for a pod's role (RRSA), an ECS instance's metadata, a URI.

Source: AssumeRoleWithOIDC of the STS API 2015-04-01, "Instance RAM roles" of ECS, and the official credentials SDK
where these are silent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from yarl import URL

from poller.providers.credentials.asking import (
    ask_json,
    built,
    given,
    metadata_token,
    moment_at,
    part,
    request_to,
    text_at,
)
from poller.providers.credentials.fetching import Fetched, NotFetchedError
from poller.providers.credentials.forms import AccessKey
from poller.providers.credentials.source import Secret
from poller.providers.request import Request, encode_query, encode_segment
from poller.providers.transport import Transport

AHEAD = 900.0
"""Seconds before they lapse that keys are renewed."""
METADATA = "http://100.100.100.200"
_SESSION_SECONDS = "3600"
_SESSION_NAME = "poller"
_TOKEN_PATH = "/latest/api/token"  # noqa: S105
_TOKEN_TTL_HEADER = "X-aliyun-ecs-metadata-token-ttl-seconds"  # noqa: S105
_ROLE_PATH = "/latest/meta-data/ram/security-credentials/"


def sts_endpoint(region: str | None, env: Mapping[str, str]) -> str:
    """Where roles are assumed: in the region if one is known, inside the VPC where the environment asks for that."""
    region = region or env.get("ALIBABA_CLOUD_STS_REGION") or None
    prefix = "sts-vpc" if env.get("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", "").lower() == "true" else "sts"
    return f"https://{prefix}.{region}.aliyuncs.com" if region else "https://sts.aliyuncs.com"


@dataclass(frozen=True, slots=True)
class OidcRole:
    """Assumes a RAM role with the token of an OIDC provider, such as Kubernetes (RRSA); the request is not signed."""

    sts: str
    role_arn: Secret
    oidc_provider_arn: Secret
    oidc_token: Secret
    role_session_name: Secret | None = None

    @property
    def asks_with(self) -> tuple[str | None, ...]:
        """Role, provider and token."""
        return self.role_arn.reveal(), self.oidc_provider_arn.reveal(), self.oidc_token.reveal()

    async def fetch(self, transport: Transport, now: float) -> Fetched:
        """A key for an hour, asked for with the token as it is in its file now."""
        token = given(self.oidc_token, "OIDC token")
        data, _ = await ask_json(transport, self._request(token, now), [token])
        return _key(data, self.sts, "Credentials")

    def _request(self, token: str, now: float) -> Request:
        session = self.role_session_name.reveal() if self.role_session_name else None
        form = {
            "DurationSeconds": _SESSION_SECONDS,
            "OIDCProviderArn": given(self.oidc_provider_arn, "ARN of the OIDC provider"),
            "OIDCToken": token,
            "RoleArn": given(self.role_arn, "ARN of the role"),
            "RoleSessionName": session or _SESSION_NAME,
        }
        query = {
            "Action": "AssumeRoleWithOIDC",
            "Format": "JSON",
            "Timestamp": f"{datetime.fromtimestamp(now, UTC):%Y-%m-%dT%H:%M:%SZ}",
            "Version": "2015-04-01",
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        body = encode_query(form.items()).encode()
        return request_to(self.sts, "/", "POST", query=query.items(), headers=headers, body=body)


@dataclass(frozen=True, slots=True)
class EcsRole:
    """The RAM role of the ECS instance that this runs on. A token comes first; ``needs_token``: never without."""

    metadata: str
    role: Secret
    needs_token: bool = False

    @property
    def asks_with(self) -> tuple[str | None, ...]:
        """The role."""
        return (self.role.reveal(),)

    async def fetch(self, transport: Transport, now: float) -> Fetched:
        """The key that the instance has now."""
        del now
        path = _ROLE_PATH + built(self.metadata, lambda: encode_segment(given(self.role, "name of the role")))
        token = await self._token(transport)
        headers = {"X-aliyun-ecs-metadata-token": token} if token else {}
        request = request_to(self.metadata, path, headers=headers)
        data, _ = await ask_json(transport, request, [token] if token else [])
        return _key(data, self.metadata)

    async def _token(self, transport: Transport) -> str | None:
        try:
            return await metadata_token(transport, self.metadata, _TOKEN_PATH, _TOKEN_TTL_HEADER)
        except NotFetchedError:
            if self.needs_token:
                raise
            return None


@dataclass(frozen=True, slots=True)
class CredentialsUri:
    """A server of the user's own that gives out keys as the metadata server does."""

    uri: Secret

    @property
    def asks_with(self) -> tuple[str | None, ...]:
        """The URI."""
        return (self.uri.reveal(),)

    async def fetch(self, transport: Transport, now: float) -> Fetched:
        """The key that it gives out now."""
        del now
        uri = given(self.uri, "credentials URI")
        request = built("credentials URI", lambda: uri_request(uri))
        # Whichever part of the URI it may be that is secret.
        parts = [*request.path.split("/"), *(value for _, value in request.query)]
        data, _ = await ask_json(transport, request, [request.target, *parts])
        return _key(data, request.origin)


def uri_request(uri: str) -> Request:
    """The request for a credentials URI; ValueError, which does not quote it, for what is none."""
    try:
        url = URL(uri)
        if url.user is None and url.password is None:
            return Request("GET", str(url.origin()), url.raw_path, tuple(url.query.items()))
    except ValueError:
        pass
    raise ValueError("not a URI like http://host:port/path")


def _key(data: Mapping[str, Any], where: str, *at: str) -> Fetched:
    """The key in an answer: at its top, or below ``at``."""
    if part(data, "Code") not in (None, "Success"):
        raise NotFetchedError(f"{where}: the answer's Code is not Success but {str(part(data, 'Code'))[:100]!r}")
    texts = [text_at(data, where, *at, name) for name in ("AccessKeyId", "AccessKeySecret", "SecurityToken")]
    return Fetched(built(where, lambda: AccessKey(*texts)), moment_at(data, where, *at, "Expiration"))
