"""A jobs API, as a process, that answers for each job in the way it is called after; after SIGUSR1 as it should.

It says on one line where it listens.
"""

import asyncio
import signal

from tests.providers.hostile import GOOD, WAYS, json
from tests.providers.wire import Behaviour, Wire, parse


class HostileServer(Wire):
    """Answers by the last segment of the path."""

    reformed = False

    def __init__(self) -> None:
        super().__init__(())
        self._made = {way: make() for way, make in WAYS.items()}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            answer = self._answer(parse(await reader.readuntil(b"\r\n\r\n")).target.rpartition("/")[2])
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(writer)

    def _answer(self, way: str) -> Behaviour:
        return json(GOOD) if self.reformed else self._made[way]

    def reform(self) -> None:
        """From now on every job has succeeded."""
        self.reformed = True


async def main() -> None:
    """Serves until killed."""
    server = HostileServer()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, server.reform)
    await server.start()
    print(server.url, flush=True)  # noqa: T201 - how the test hears of it
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
