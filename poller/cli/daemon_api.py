"""The API of a running daemon, as the commands use it."""

from typing import Any

import aiohttp

from poller.domain.errors import PollerError

_TIMEOUT = aiohttp.ClientTimeout(total=10)


async def fetch_tasks(base: str) -> list[dict[str, Any]]:
    """Every task of the daemon at ``base``, page after page, as its API tells them.

    PollerError when it cannot be asked.
    """
    tasks: list[dict[str, Any]] = []
    query = {"limit": "1000"}
    async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
        while True:
            page = await _get(session, f"{base.rstrip('/')}/api/v1/tasks", query)
            tasks += page["tasks"]
            if page["next_cursor"] is None:
                return tasks
            query["cursor"] = page["next_cursor"]


async def _get(session: aiohttp.ClientSession, url: str, query: dict[str, str]) -> dict[str, Any]:
    try:
        async with session.get(url, params=query) as response:
            response.raise_for_status()
            page: dict[str, Any] = await response.json()
            return page
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        reason = str(error) or type(error).__name__
        raise PollerError(f"no daemon answers at {url}: {reason}; is it running, and is --url its address?") from None
