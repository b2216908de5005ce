"""What polls are compared with: a loop that makes the same requests with aiohttp on uvloop, and nothing else.

``python -m tests.benchmarks.bare ENDPOINT TRAININGS PACE COROUTINES``; PACE is in requests per second, all coroutines
together, and 0 is as fast as the answers come.
"""

import asyncio
import random
import sys
from itertools import cycle

import aiohttp
from yarl import URL

from tests.benchmarks.signals import run_until_told
from tests.benchmarks.trainings import training_url


async def _ask(session: aiohttp.ClientSession, urls: list[str], interval: float) -> None:
    """GETs one URL after the other, one each ``interval`` seconds from a random moment on."""
    loop = asyncio.get_running_loop()
    due = loop.time() + random.random() * interval
    for url in cycle(urls):
        await asyncio.sleep(max(0.0, due - loop.time()))
        due += interval
        async with session.get(URL(url, encoded=True)) as response:
            await response.read()


async def _ask_all(endpoint: str, trainings: int, pace: float, coroutines: int) -> None:
    urls = [training_url(endpoint, number) for number in range(trainings)]
    interval = coroutines / pace if pace else 0.0
    connector = aiohttp.TCPConnector(limit=coroutines)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
        async with asyncio.TaskGroup() as group:
            for number in range(coroutines):
                group.create_task(_ask(session, urls[number % trainings :: coroutines], interval))


if __name__ == "__main__":
    run_until_told(_ask_all(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])))
