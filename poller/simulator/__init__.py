"""The local cloud: speaks the providers' documented APIs, checks signatures, and runs scripted tasks."""

from poller.simulator.cloud import STRANGERS
from poller.simulator.keys import ALIBABA_DEMO_KEY, HUAWEI_DEMO_KEY, HUAWEI_DEMO_TOKEN, JOBS_DEMO_BEARER, SigningKey
from poller.simulator.scenario import Scenario
from poller.simulator.scenario_file import DEMO_SCENARIO, ScenarioError, load_scenario
from poller.simulator.server import Simulator, serve

__all__ = [
    "ALIBABA_DEMO_KEY",
    "DEMO_SCENARIO",
    "HUAWEI_DEMO_KEY",
    "HUAWEI_DEMO_TOKEN",
    "JOBS_DEMO_BEARER",
    "STRANGERS",
    "Scenario",
    "ScenarioError",
    "SigningKey",
    "Simulator",
    "load_scenario",
    "serve",
]
