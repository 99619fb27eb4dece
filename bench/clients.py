"""HTTP clients that cost little: one connection each, requests as bytes, answers read no further than needed.

A load generator shares the machine with what it measures, so that a comfortable client would measure itself.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Answers:
    """What one kind of request met with: seconds of each, and how many had which status."""

    seconds: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)

    def note(self, status: int, seconds: float) -> None:
        self.seconds.append(seconds)
        self.statuses[status] = self.statuses.get(status, 0) + 1

    def quantile(self, share: float) -> float:
        """Seconds within which so large a share of the requests was answered."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    @property
    def errors(self) -> int:
        """Answers other than 2xx and 304."""
        return sum(number for status, number in self.statuses.items() if not (200 <= status < 300 or status == 304))


class Client:
    """One kept-alive connection."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._host = f"{host}:{port}"
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> "Client":
        self._reader, self._writer = await asyncio.open_connection(*self._address)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()
            await self._writer.wait_closed()

    def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
        """The bytes of a request, to be sent any number of times."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if body:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        return "\r\n".join([*lines, "", ""]).encode() + body

    async def send(self, request: bytes) -> tuple[int, bytes]:
        """Status and body of the answer."""
        reader, writer = self._reader, self._writer
        if reader is None or writer is None:
            raise RuntimeError("the connection is not open")
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        status = int(head[9:12])
        lowered = head.lower()
        start = lowered.find(b"content-length:")
        if start < 0:
            return status, b""
        length = int(lowered[start + 15 : lowered.index(b"\r\n", start)])
        return status, await reader.readexactly(length) if length else b""


async def clients(
    number: int, host: str, port: int, *, seconds: float, act: Callable[[Client, Answers], Awaitable[None]]
) -> Answers:
    """So many clients that each repeat `act` for some seconds."""
    answers = Answers()
    end = time.perf_counter() + seconds

    async def one() -> None:
        async with Client(host, port) as client:
            while time.perf_counter() < end:
                await act(client, answers)

    await asyncio.gather(*(one() for _ in range(number)))
    return answers


async def timed(client: Client, request: bytes, answers: Answers) -> bytes:
    """Sends a request, notes how that went, and gives the body."""
    begun = time.perf_counter()
    status, body = await client.send(request)
    answers.note(status, time.perf_counter() - begun)
    return body
