"""Where Huawei Cloud gives out temporary credentials: an ECS instance's metadata (agency), and IAM for a user.

Source: "Obtaining a temporary AK/SK of an agency" of ECS, "Obtaining a User Token Through Password Authentication" of
IAM, and the official SDK where these are silent.
"""

from dataclasses import dataclass
from typing import Any

import orjson

from poller.providers.credentials.asking import (
    ask_json,
    built,
    given,
    metadata_token,
    moment_at,
    request_to,
    text_at,
)
from poller.providers.credentials.fetching import Fetched, NotFetchedError
from poller.providers.credentials.forms import AccessKey, AuthToken
from poller.providers.credentials.source import Secret
from poller.providers.transport import Transport

AHEAD = 2_400.0
"""Seconds before they lapse that keys and tokens are renewed."""
AFTER_REFUSAL = 300.0
"""Seconds before a password that was refused is tried again: IAM locks a user after five refusals in 15 minutes."""
METADATA = "http://169.254.169.254"
_TOKEN_PATH = "/meta-data/latest/api/token"  # noqa: S105
_KEY_PATH = "/openstack/latest/securitykey"


def iam_endpoint(region: str | None) -> str:
    """Where tokens are had: in the region if one is known; European regions have a domain of their own."""
    if region is None:
        return "https://iam.myhuaweicloud.com"
    return f"https://iam.{region}.myhuaweicloud.{'eu' if region.startswith('eu-') else 'com'}"


@dataclass(frozen=True, slots=True)
class EcsAgency:
    """The agency of the ECS instance that this runs on."""

    metadata: str

    @property
    def asks_with(self) -> tuple[str | None, ...]:
        """Nothing that changes."""
        return ()

    async def fetch(self, transport: Transport, now: float) -> Fetched:
        """The key that the instance has now."""
        del now
        token = await self._token(transport)
        request = request_to(self.metadata, _KEY_PATH, headers={"X-Metadata-Token": token} if token else {})
        data, _ = await ask_json(transport, request, [token] if token else [])
        texts = [text_at(data, self.metadata, "credential", name) for name in ("access", "secret", "securitytoken")]
        key = built(self.metadata, lambda: AccessKey(*texts))
        return Fetched(key, moment_at(data, self.metadata, "credential", "expires_at"))

    async def _token(self, transport: Transport) -> str | None:
        """A token where the server has any: most do not ask for one, and know no such path."""
        try:
            return await metadata_token(transport, self.metadata, _TOKEN_PATH, "X-Metadata-Token-Ttl-Seconds")
        except NotFetchedError:
            return None


@dataclass(frozen=True, slots=True)
class IamUser:
    """A token for an IAM user of the account ``domain``, for one project: by its name, else by its id."""

    iam: str
    username: Secret
    password: Secret
    domain: Secret
    project: Secret | None
    project_id: str | None

    @property
    def asks_with(self) -> tuple[str | None, ...]:
        """User, password and domain."""
        return self.username.reveal(), self.password.reveal(), self.domain.reveal()

    async def fetch(self, transport: Transport, now: float) -> Fetched:
        """A token for a day as a rule, asked for with the password as it is now."""
        del now
        password = given(self.password, "password")
        headers = {"Content-Type": "application/json"}
        body = orjson.dumps({"auth": {"identity": self._identity(password), "scope": {"project": self._project()}}})
        request = request_to(self.iam, "/v3/auth/tokens", "POST", headers=headers, body=body)
        data, reply = await ask_json(transport, request, [password], status=201)
        token = reply.headers.get("X-Subject-Token")
        if not token:
            raise NotFetchedError(f"{self.iam}: the header X-Subject-Token is missing in the answer")
        return Fetched(built(self.iam, lambda: AuthToken(token)), moment_at(data, self.iam, "token", "expires_at"))

    def _identity(self, password: str) -> dict[str, Any]:
        user = {
            "name": given(self.username, "user name"),
            "password": password,
            "domain": {"name": given(self.domain, "domain")},
        }
        return {"methods": ["password"], "password": {"user": user}}

    def _project(self) -> dict[str, str]:
        name = self.project.reveal() if self.project else None
        return {"name": name} if name else {"id": self.project_id or ""}
