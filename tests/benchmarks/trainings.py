"""What is polled: trainings of Alibaba Cloud OpenSearch (GetFunctionTask), each of an instance of its own."""

KIND = "alibaba-opensearch"
OPERATION = "function-task"


def training_params(number: int) -> dict[str, str]:
    """The parameters of training ``number``."""
    return {
        "appGroupIdentity": "bench",
        "functionName": "ctr",
        "instanceName": f"instance-{number}",
        "generation": "1",
    }


def training_url(endpoint: str, number: int) -> str:
    """The URL of training ``number``, encoded."""
    return f"{endpoint}/v4/openapi/app-groups/bench/functions/ctr/instances/instance-{number}/tasks/1"
