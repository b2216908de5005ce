"""The local cloud over real sockets on 127.0.0.1."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest
from yarl import URL

from poller.simulator import Scenario, Simulator, serve
from poller.simulator.wire import RawRequest
from tests.simulator.caller import HOST, START, HandClock, acs3, bearer, sdk

JOB = {"api": "job", "name": "report", "params": {"job_id": "j1"}}
FUNCTION = {
    "api": "function-task",
    "params": {"appGroupIdentity": "a/b", "functionName": "ctr", "instanceName": "i*", "generation": 1},
}


def _simulator(*tasks: dict[str, Any], **more: Any) -> Simulator:
    return Simulator(Scenario.model_validate({"tasks": list(tasks), **more}), HandClock())


async def _send(base_url: str, raw: RawRequest) -> tuple[int, bytes, Mapping[str, str]]:
    url = URL(base_url + raw.target, encoded=True)
    headers = {**dict(raw.headers), "Host": HOST}
    async with (
        aiohttp.ClientSession(skip_auto_headers=["Content-Type"]) as session,
        session.request(raw.method, url, headers=headers, timeout=aiohttp.ClientTimeout(5)) as response,
    ):
        return response.status, await response.read(), response.headers


async def test_signed_requests_are_checked_as_they_came_over_the_wire() -> None:
    simulator = _simulator(FUNCTION, {"api": "system-task", "params": {"project_id": "p", "task_id": "t 1"}})
    async with serve(simulator) as base_url:
        target = "/v4/openapi/app-groups/a%2Fb/functions/ctr/instances/i%2A/tasks/1"
        assert (await _send(base_url, acs3(target, START)))[0] == 200
        # Signed as sent, yet not as the documents want it: an encoded letter is the letter itself.
        assert (await _send(base_url, acs3(target.replace("ctr", "%63tr"), START)))[0] == 400
        status, _, headers = await _send(base_url, sdk("/v1/p/system-tasks/t%201", START))
        assert status == 200
        assert headers["X-Request-Id"]
        assert headers["Content-Type"] == "application/json"
    assert simulator.outcomes == {"200": 2, "SignatureDoesNotMatch": 1}


async def test_a_port_of_its_own_is_found_and_left_again() -> None:
    simulator = _simulator(JOB)
    async with serve(simulator) as base_url:
        assert URL(base_url).host == "127.0.0.1"
        assert (await _send(base_url, bearer("/v1/jobs/j1")))[0] == 200
    with pytest.raises(aiohttp.ClientConnectorError):
        await _send(base_url, bearer("/v1/jobs/j1"))


async def test_a_port_that_is_taken_is_an_error() -> None:
    async with serve(_simulator(JOB)) as base_url:
        with pytest.raises(OSError, match="address"):
            async with serve(_simulator(JOB), port=URL(base_url).port or 0):
                pass


async def test_it_tells_its_health_and_what_it_was_asked_for() -> None:
    instance = {"appGroupIdentity": "my-app", "functionName": "ctr", "instanceName": "ctr_test"}
    simulator = _simulator(JOB, {"api": "function-instance", "name": "ctr", "params": instance})
    start = "/v4/openapi/app-groups/my-app/functions/ctr/instances/ctr_test/tasks"
    async with serve(simulator) as base_url, aiohttp.ClientSession(base_url) as session:
        assert (await _send(base_url, acs3(start, START, action="CreateFunctionTask", method="POST")))[0] == 200
        await _send(base_url, bearer("/v1/jobs/j1"))
        await _send(base_url, bearer("/v1/jobs/j2"))
        async with session.get("/-/healthy") as response:
            assert response.status == 200
        async with session.get("/-/requests") as response:
            assert await response.json() == {
                "requests": {"report": 1, "ctr": 1},
                "strangers": 1,
                "starts": {"ctr": 1},
                "outcomes": {"200": 2, "not_found": 1},
            }
    assert simulator.requests["report"] == 1


async def test_a_hanging_request_gets_no_answer_and_holds_up_no_stop() -> None:
    simulator = _simulator({**JOB, "faults": [{"kind": "hang"}]})
    async with serve(simulator) as base_url:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await _send(base_url, bearer("/v1/jobs/j1"))
        await _nobody_is_served()
        waiting = asyncio.create_task(_send(base_url, bearer("/v1/jobs/j1")))
        await asyncio.sleep(0.05)
        stopping = time.monotonic()
    assert time.monotonic() - stopping < 1
    with pytest.raises(aiohttp.ClientError):
        await waiting
    assert simulator.requests == {"report": 2}


async def _nobody_is_served() -> None:
    """A client that gave up leaves nothing behind, or a load test would fill the memory."""
    async with asyncio.timeout(5):
        while any("RequestHandler" in repr(running) for running in asyncio.all_tasks()):
            await asyncio.sleep(0.001)


async def test_a_connection_may_be_reset() -> None:
    async with serve(_simulator({**JOB, "faults": [{"kind": "reset"}]})) as base_url:
        with pytest.raises(aiohttp.ClientConnectionError) as caught:
            await _send(base_url, bearer("/v1/jobs/j1"))
    assert isinstance(caught.value, ConnectionResetError | aiohttp.ServerDisconnectedError | aiohttp.ClientOSError)


async def test_answers_take_as_long_as_the_scenario_says() -> None:
    async with serve(_simulator(JOB, latency=["20ms", "40ms"])) as base_url:
        started = time.monotonic()
        assert (await _send(base_url, bearer("/v1/jobs/j1")))[0] == 200
        assert time.monotonic() - started >= 0.02
