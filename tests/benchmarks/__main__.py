"""``python -m tests.benchmarks [NAME] [--json]``: measures and prints. Whatever the figures, it succeeds."""

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from types import FrameType, MappingProxyType
from typing import NoReturn, Protocol

from tests.benchmarks import commits, detection, polls, scale, scrape, throughput
from tests.benchmarks.processes import BenchmarkError


class Report(Protocol):
    """What a benchmark found."""

    def as_text(self) -> str:
        """For people: a small table."""
        ...

    def as_json(self) -> dict[str, object] | list[dict[str, object]]:
        """The same for programs; a list is printed as it is, of an object it is told which benchmark it is of."""
        ...


class Benchmark(Protocol):
    """A module that measures one thing."""

    ABOUT: str

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Adds its own options; all have defaults."""
        ...

    def run(self, options: argparse.Namespace) -> Report:
        """Measures. BenchmarkError if that cannot be done."""
        ...


BENCHMARKS: MappingProxyType[str, Benchmark] = MappingProxyType(
    {
        "polls": polls,
        "throughput": throughput,
        "scale": scale,
        "scrape": scrape,
        "commits": commits,
        "detection": detection,
    }
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark that is named, or all of them; the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _leave)
    try:
        for name in [options.name] if options.name else BENCHMARKS:
            # Without a name there are no options of a benchmark's own: it gets its defaults.
            own = options if options.name else parser.parse_args([name])
            report = BENCHMARKS[name].run(own)
            as_json = "json" in options
            print(_json(name, report) if as_json else report.as_text(), flush=True)
    except BenchmarkError as error:
        print(f"no figures: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0


def _json(name: str, report: Report) -> str:
    told = report.as_json()
    return json.dumps(told if isinstance(told, list) else {"benchmark": name, **told})


def _parser() -> argparse.ArgumentParser:
    # Suppressed where not given, so that it may stand before the name as well as after it.
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--json", action="store_true", help="one JSON object a line, for programs")
    parser = argparse.ArgumentParser(prog="./dev bench", parents=[common], description="Without a name: all of them.")
    names = parser.add_subparsers(dest="name", metavar="NAME")
    for name, benchmark in BENCHMARKS.items():
        own = names.add_parser(name, parents=[common], help=benchmark.ABOUT, description=benchmark.ABOUT)
        benchmark.add_options(own)
    return parser


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    """Ends this process so that it still ends those it started."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
