"""A small TCP proxy before a server, which loses answers when it is asked to."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field


@dataclass
class Proxy:
    """Passes bytes on, both ways."""

    port: int
    target: int
    lose_answers: int = 0
    """So many answers of the server are lost from now on, each with its connection."""
    let_pass: int = 0
    """So many answers come through before the first one that is lost."""
    lost: int = 0
    silent: bool = False
    """Whether answers are kept back, while the connections stay open."""
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a client."""
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target)
        both = {writer, server_writer}
        self._writers |= both
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, server_writer, both))
                group.create_task(self._pass(server_reader, writer, both, answers=True))
        finally:
            self._writers -= both

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        both: set[asyncio.StreamWriter],
        *,
        answers: bool = False,
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if answers and self.lose_answers and self.let_pass:
                    self.let_pass -= 1
                elif answers and self.lose_answers:
                    self.lose_answers -= 1
                    self.lost += 1
                    break
                if answers and self.silent:
                    continue
                writer.write(data)
                await writer.drain()
        for each in both:
            each.close()

    def cut(self) -> None:
        """Ends all connections."""
        for writer in self._writers:
            writer.close()


@contextlib.asynccontextmanager
async def proxy(target: int) -> AsyncIterator[Proxy]:
    """A proxy on a free port before `target`."""
    made = Proxy(0, target)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        made.cut()
        await server.wait_closed()
