"""Signers by the names that provider specs use.

A signer is a pure function of a request, credentials, the time (aware, UTC) and a nonce. It gives the headers to *add*
to that request, which must then be sent unchanged: `request.with_headers(signer(…))`. Everything else a provider wants
in its headers comes with the request. Credentials that a signer has no use for are a `TypeError`.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import TypeAlias

from poller.providers.credentials.forms import Credentials
from poller.providers.request import Request
from poller.providers.signing import acs3, plain, sdk_hmac

Signer: TypeAlias = Callable[[Request, Credentials, datetime, str], Mapping[str, str]]

SIGNERS: Mapping[str, Signer] = MappingProxyType(
    {
        "acs3-hmac-sha256": acs3.sign,
        "sdk-hmac-sha256": sdk_hmac.sign,
        "plain": plain.sign,
    }
)
