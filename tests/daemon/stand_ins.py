"""Servers that stand in for those that give credentials out, and APIs that take no others; all on one port.

They watch what a poller must never do: send a poll unsigned, or with a key that has expired.
"""

import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from poller.simulator.keys import SigningKey
from poller.simulator.signature_acs3 import verify_acs3
from poller.simulator.signature_sdk import verify_sdk
from poller.simulator.wire import RawRequest

OIDC_TOKEN = "oidc-token-of-the-service-account"
META_TOKEN = "token-of-the-metadata-server"
URI_SECRET = "secret-in-the-uri"
PASSWORD = "password-of-the-user"
ROLE_ARN = "acs:ram::1:role/poller"
GRACE = 1.0
"""Seconds that a request may be under way."""


@dataclass
class Issued:
    """A temporary key, or a token: then its own ``token`` alone counts."""

    number: int
    issued_at: float
    expires_at: float
    revoked: bool = False

    @property
    def key(self) -> SigningKey:
        return SigningKey(f"key-{self.number}", f"issued-secret-{self.number}", self.token)

    @property
    def token(self) -> str:
        return f"issued-token-{self.number}"

    def state(self, now: float) -> str:
        """``good``, ``revoked`` or ``stale``."""
        return "revoked" if self.revoked else "good" if now < self.expires_at + GRACE else "stale"


@dataclass
class Poll:
    """A request to the API: what signed it, and what was thought of that."""

    by: str
    verdict: str


@dataclass
class StandIns:
    """The servers; ``life`` in seconds is that of what they issue, ``knows_tokens``: the metadata server has any."""

    life: float = 3_600.0
    knows_tokens: bool = True
    oidc_token: str = OIDC_TOKEN
    password: str = PASSWORD
    static: SigningKey | None = None
    url: str = ""
    issued: list[Issued] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    polls: list[Poll] = field(default_factory=list)
    jobs: int = 0

    @property
    def secrets(self) -> list[str]:
        """What must show nowhere."""
        issued = [text for one in self.issued for text in (one.token, one.key.secret)]
        return [*issued, OIDC_TOKEN, self.oidc_token, META_TOKEN, URI_SECRET, PASSWORD, self.password]

    @property
    def endpoints(self) -> dict[str, str]:
        """As the config names them."""
        return {"sts": f"{self.url}/sts", "metadata": f"{self.url}/meta", "iam": f"{self.url}/iam"}

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/sts/", self._sts)
        app.router.add_put("/meta/latest/api/token", self._meta_token)
        app.router.add_get("/meta/latest/meta-data/ram/security-credentials/{role}", self._ecs_role)
        app.router.add_put("/meta/meta-data/latest/api/token", self._meta_token)
        app.router.add_get("/meta/openstack/latest/securitykey", self._ecs_agency)
        app.router.add_get("/uri/{secret}", self._uri)
        app.router.add_post("/iam/v3/auth/tokens", self._iam)
        app.router.add_get("/v4/openapi/{rest:.*}", self._opensearch)
        app.router.add_get("/v1/jobs/{id}", self._job)
        app.router.add_get("/v1/{project}/system-tasks/{id}", self._dlf)
        return app

    # --- what gives out ----------------------------------------------------------------------------------------------

    async def _sts(self, request: web.Request) -> web.Response:
        self.asked["sts"] += 1
        form = dict(parse_qsl(await request.text()))
        if request.query["Action"] != "AssumeRoleWithOIDC" or form["RoleArn"] != ROLE_ARN:
            return web.json_response({"Code": "InvalidParameter"}, status=400)
        if form["OIDCToken"] != self.oidc_token:
            message = f"This JSON Web Token has expired: {form['OIDCToken']}"
            return web.json_response({"Code": "AuthenticationFail.OIDCToken.Expired", "Message": message}, status=400)
        return web.json_response({"RequestId": "r", "Credentials": self._alibaba_key()})

    async def _meta_token(self, request: web.Request) -> web.Response:
        self.asked["metadata token"] += 1
        return web.Response(text=META_TOKEN) if self.knows_tokens else web.Response(status=404, text="<html>no</html>")

    async def _ecs_role(self, request: web.Request) -> web.Response:
        self.asked["metadata"] += 1
        if self._lacks(request.headers, "X-aliyun-ecs-metadata-token") or request.match_info["role"] != "my-role":
            return web.Response(status=403, text="<html>no</html>")
        return web.json_response({"Code": "Success", **self._alibaba_key()})

    async def _ecs_agency(self, request: web.Request) -> web.Response:
        self.asked["metadata"] += 1
        if self._lacks(request.headers, "X-Metadata-Token"):
            return web.Response(status=401, text="no")
        one = self._issue()
        key = {"access": one.key.id, "secret": one.key.secret, "securitytoken": one.token}
        return web.json_response({"credential": {**key, "expires_at": f"{utc(one.expires_at)}.000000Z"}})

    async def _uri(self, request: web.Request) -> web.Response:
        self.asked["uri"] += 1
        known = request.match_info["secret"] == URI_SECRET
        return web.json_response(self._alibaba_key() if known else {}, status=200 if known else 404)

    async def _iam(self, request: web.Request) -> web.Response:
        self.asked["iam"] += 1
        user = (await request.json())["auth"]["identity"]["password"]["user"]
        if (user["name"], user["password"], user["domain"]["name"]) != ("ann", self.password, "acme"):
            error = {"code": 401, "message": f"The password {user['password']} is wrong.", "title": "Unauthorized"}
            return web.json_response({"error": error}, status=401)
        one = self._issue()
        body = {"token": {"expires_at": f"{utc(one.expires_at)}.000000Z"}}
        return web.json_response(body, status=201, headers={"X-Subject-Token": one.token})

    def _lacks(self, headers: Mapping[str, str], name: str) -> bool:
        return headers.get(name) != (META_TOKEN if self.knows_tokens else None)

    def _issue(self) -> Issued:
        now = time.time()
        one = Issued(len(self.issued) + 1, now, math.ceil(now + self.life))
        self.issued.append(one)
        return one

    def _alibaba_key(self) -> dict[str, str]:
        one = self._issue()
        return {
            "AccessKeyId": one.key.id,
            "AccessKeySecret": one.key.secret,
            "SecurityToken": one.token,
            "Expiration": f"{utc(one.expires_at)}Z",
        }

    # --- what takes them ---------------------------------------------------------------------------------------------

    async def _opensearch(self, request: web.Request) -> web.Response:
        raw = raw_request(request)
        verdict = self._judge(raw.header("Authorization"), verify_acs3(raw, self._keys(), time.time()) is None)
        if verdict != "good":
            return web.json_response({"Code": "InvalidSecurityToken.Expired", "Message": verdict}, status=400)
        return web.json_response({"requestId": "r", "result": {"status": "running"}})

    async def _dlf(self, request: web.Request) -> web.Response:
        raw = raw_request(request)
        token = raw.header("X-Auth-Token")
        known = token in {one.token for one in self.issued}
        signed = known if token else verify_sdk(raw, self._keys(), time.time()) is None
        verdict = self._judge(token or raw.header("Authorization"), signed)
        if verdict != "good":
            return web.json_response({"error_code": "APIGW.0307", "error_msg": verdict}, status=401)
        return web.json_response({"status": "RUNNING"})

    async def _job(self, request: web.Request) -> web.Response:
        self.jobs += 1
        return web.json_response({"status": "in_progress"})

    def _keys(self) -> dict[str, SigningKey]:
        keys = {one.key.id: one.key for one in self.issued}
        return {**keys, self.static.id: self.static} if self.static else keys

    def _judge(self, credential: str | None, signed: bool) -> str:
        """What is thought of a poll with that credential; ``signed``: it is one of those known, and rightly used."""
        said = credential or ""
        owner = next((one for one in self.issued if one.token == said or f"{one.key.id}," in said), None)
        verdict = "forged" if not signed else "good" if owner is None else owner.state(time.time())
        self.polls.append(Poll("static" if owner is None else str(owner.number), verdict))
        return verdict


def utc(moment: float) -> str:
    """As both vendors write it, without the zone."""
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%S}"


def raw_request(request: web.Request) -> RawRequest:
    """As it came over the wire."""
    headers = tuple((name.decode(), value.decode()) for name, value in request.raw_headers)
    return RawRequest(request.method, request.raw_path, headers)


@asynccontextmanager
async def stand_ins(**options: Any) -> AsyncIterator[StandIns]:
    """The servers, listening on a free port."""
    servers = StandIns(**options)
    runner = web.AppRunner(servers.app(), access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        servers.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield servers
    finally:
        await runner.cleanup()
