"""Credentials that are sent as they are: nothing is signed."""

from datetime import datetime

from poller.providers.credentials.forms import AuthToken, Basic, Bearer, Credentials, HeaderCredential
from poller.providers.request import Request


def sign(_request: Request, credentials: Credentials, _now: datetime, _nonce: str) -> dict[str, str]:
    """Gives the one header these credentials consist of, or none.

    `TypeError` for an access key: its secret is never sent.
    """
    match credentials:
        case None:
            return {}
        case Bearer(token=token):
            return {"Authorization": f"Bearer {token}"}
        case Basic():
            return {"Authorization": f"Basic {credentials.encoded}"}
        case HeaderCredential(name=name, value=value):
            return {name: value}
        case AuthToken(token=token):
            return {"X-Auth-Token": token}
        case _:
            raise TypeError("plain sends a token, a password or a header; an access key must sign")
