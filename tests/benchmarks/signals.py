"""How the benchmarks' own processes live: until they are told to leave, and never for ever."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any

import uvloop

from tests.benchmarks.processes import LONGEST_LIFE


def run_until_told(main: Coroutine[Any, Any, None]) -> None:
    """Runs ``main`` on uvloop until it returns, SIGTERM or SIGINT comes, or LONGEST_LIFE is over."""
    uvloop.run(_until_told(main))


async def _until_told(main: Coroutine[Any, Any, None]) -> None:
    loop = asyncio.get_running_loop()
    work = loop.create_task(main)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, work.cancel)
    await asyncio.wait({work}, timeout=LONGEST_LIFE)
    work.cancel()
    await asyncio.wait({work})
    if not work.cancelled():
        work.result()
