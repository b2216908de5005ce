"""How single values of a scenario file are written, and what all its parts share."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from poller.domain.durations import parse_duration, parse_rate


class Model(BaseModel):
    """What all parts share: unknown keys are refused, and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _seconds(value: object) -> float:
    if not isinstance(value, str):
        raise ValueError("a duration is allowed, like 500ms, 5s, 2m, 1h30m or 7d")
    return parse_duration(value)


def _per_second(value: object) -> float:
    if not isinstance(value, str):
        raise ValueError("a rate above zero is allowed, like 10/s or 300/m")
    return parse_rate(value)


def _span(value: object) -> tuple[float, float]:
    ends = [_seconds(end) for end in value] if isinstance(value, list) else [_seconds(value)] * 2
    if len(ends) != 2 or ends[0] > ends[1]:
        raise ValueError("one duration, or [shortest, longest], is allowed")
    return ends[0], ends[1]


def _parameter(value: object) -> object:
    """A generation is a number to people and a string to the API; both spellings mean the same."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Duration = Annotated[float, BeforeValidator(_seconds)]
Span = Annotated[tuple[float, float], BeforeValidator(_span)]
Rate = Annotated[float, BeforeValidator(_per_second)]
Parameter = Annotated[str, Field(min_length=1), BeforeValidator(_parameter)]
Name = Annotated[str, Field(min_length=1)]
