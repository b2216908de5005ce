"""Reads server-sent events (WHATWG HTML, section 9.2.6), however the bytes come in."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_LINE_END = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class Received:
    """An event: its name, its data, and the id to come back with."""

    name: str
    data: str
    id: str


class EventReader:
    """Makes events of bytes. ``last_id`` is the id to come back with, which events without data tell as well."""

    def __init__(self, last_id: str = "") -> None:
        self.last_id = last_id
        self._rest = b""
        self._name = ""
        self._data: list[str] = []
        self._coming_id = ""
        self.begin()

    def begin(self) -> None:
        """A stream begins: what was not ended in the one before is not told."""
        self._rest, self._name, self._data, self._coming_id = b"", "", [], self.last_id

    def feed(self, received: bytes) -> Iterator[Received]:
        """The events that end in ``received``. Of one that has begun nothing is told before its end."""
        *lines, rest = _LINE_END.split(self._rest + received)
        if lines and not rest and (self._rest + received).endswith(b"\r"):
            # The other half of its line end may be yet to come.
            rest = lines.pop() + b"\r"
        self._rest = rest
        for line in lines:
            if line:
                self._take(line.decode(errors="replace"))
            else:
                yield from self._end()

    def _take(self, line: str) -> None:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match field:
            case "event":
                self._name = value
            case "data":
                self._data.append(value)
            case "id" if "\0" not in value:
                self._coming_id = value

    def _end(self) -> Iterator[Received]:
        self.last_id = self._coming_id
        if self._data:
            yield Received(self._name or "message", "\n".join(self._data), self.last_id)
        self._name, self._data = "", []
