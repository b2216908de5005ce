"""A real Prometheus that scrapes one address every second, and the shipped files that it is given."""

import asyncio
import math
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from tests.ports import free_port

FOLDER = Path(__file__).parents[2] / "deploy" / "prometheus"
CONFIG = FOLDER / "prometheus.yml"
RULES = FOLDER / "poller.rules.yml"
RULES_TEST = FOLDER / "poller.rules.test.yml"
ALERTMANAGER = FOLDER / "alertmanager.yml"

SERVER = shutil.which("prometheus")


class Prometheus:
    """The HTTP API of a running server."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session
        self._started = time.time()

    async def alerts(self) -> list[dict[str, Any]]:
        """Pending and firing alerts: state, labels and annotations."""
        found: list[dict[str, Any]] = (await self._get("alerts"))["alerts"]
        return found

    async def answers(self, query: str) -> bool:
        """Whether the query's instant answer holds any number."""
        answer = await self._get("query", query=query)
        return any(_is_number(series["value"]) for series in answer["result"])

    async def answers_over_time(self, query: str) -> bool:
        """The same for any second since the server's start."""
        span = {"start": str(self._started), "end": str(time.time()), "step": "1"}
        answer = await self._get("query_range", query=query, **span)
        return any(_is_number(value) for series in answer["result"] for value in series["values"])

    async def is_ready(self) -> bool:
        """Whether it takes queries."""
        try:
            async with self._session.get(f"{self._url}/-/ready") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False

    async def _get(self, what: str, **parameters: str) -> dict[str, Any]:
        async with self._session.get(f"{self._url}/api/v1/{what}", params=parameters) as response:
            answer = await response.json()
        assert answer["status"] == "success", answer
        data: dict[str, Any] = answer["data"]
        return data


@asynccontextmanager
async def prometheus(folder: Path, target: str) -> AsyncIterator[Prometheus]:
    """Starts it with the shipped rules; its data lie in ``folder``, and it is gone afterwards whatever happens."""
    listen = f"127.0.0.1:{free_port()}"
    config = folder / "prometheus.yml"
    config.write_text(yaml.safe_dump(_config(target)), "utf-8")
    with (folder / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            str(SERVER),
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={listen}",
            stdout=log,
            stderr=log,
        )
    try:
        async with aiohttp.ClientSession() as session:
            server = Prometheus(f"http://{listen}", session)
            while not await server.is_ready():
                assert process.returncode is None, (folder / "prometheus.log").read_text("utf-8")
                await asyncio.sleep(0.05)
            yield server
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _config(target: str) -> dict[str, Any]:
    """The shipped example, but quick, for another address, and without an Alertmanager."""
    config: dict[str, Any] = yaml.safe_load(CONFIG.read_text("utf-8"))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(RULES)]
    config["scrape_configs"][0]["static_configs"] = [{"targets": [target]}]
    del config["alerting"]
    return config


def _is_number(value: tuple[float, str]) -> bool:
    return not math.isnan(float(value[1]))
