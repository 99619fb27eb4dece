"""Somebody who listens to a stream: a request as a server hands it on, whose answer is read while it comes."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from starlette.types import ASGIApp, Message

PATIENCE = 20.0


@dataclass(frozen=True)
class Heard:
    """One event of a stream, or one sign of life (whose name is `:`)."""

    name: str
    data: Any = None
    id: str | None = None
    retry: int | None = None


def heard(text: str) -> list[Heard]:
    """The events of a text that is whole, as a browser reads them; also those without data, which it passes over."""
    found = []
    for block in text.split("\n\n")[:-1]:
        fields: dict[str, list[str]] = {}
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            fields.setdefault(name or ":", []).append(value.removeprefix(" "))
        assert fields.keys() <= {"id", "event", "data", "retry", ":"}, block
        assert all(len(values) == 1 for name, values in fields.items() if name != "data"), block
        name = fields.get("event", [":" if ":" in fields else ""])[0]
        data = json.loads("\n".join(fields["data"])) if "data" in fields else None
        retry = int(fields["retry"][0]) if "retry" in fields else None
        found.append(Heard(name, data, fields.get("id", [None])[0], retry))
    return found


@dataclass
class Listener:
    """What came of the answer so far."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    over: bool = False
    reading: asyncio.Event = field(default_factory=asyncio.Event)
    """Whether what is sent is taken; cleared, the server is held up as by a client that does not read."""
    pieces: int = 0
    largest: int = 0
    _came: asyncio.Event = field(default_factory=asyncio.Event)
    _left: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def events(self) -> list[Heard]:
        """The events so far, without signs of life and the opening."""
        return [one for one in self.all if one.data is not None]

    @property
    def all(self) -> list[Heard]:
        """Everything so far."""
        return heard(self.text[: self.text.rfind("\n\n") + 2])

    async def until(self, holds: Any) -> None:
        """Waits for what is still to come."""
        async with asyncio.timeout(PATIENCE):
            while not holds(self):
                assert not self.over, f"it ended with {self.events[-3:]}"
                self._came.clear()
                await self._came.wait()

    async def named(self, name: str, count: int = 1) -> list[Heard]:
        """So many events of this name."""
        await self.until(lambda one: len([event for event in one.all if event.name == name]) >= count)
        return [event for event in self.all if event.name == name]

    async def end(self) -> list[Heard]:
        """All events of a stream that ends by itself."""
        async with asyncio.timeout(PATIENCE):
            while not self.over:
                self._came.clear()
                await self._came.wait()
        return self.events

    def leave(self) -> None:
        """Hangs up."""
        self._left.set()

    async def receive(self) -> Message:
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        await self.reading.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            body = message.get("body", b"")
            self.text += body.decode()
            self.pieces += 1
            self.largest = max(self.largest, len(body))
            self.over = not message.get("more_body", False)
        self._came.set()


@contextlib.asynccontextmanager
async def listening(
    app: ASGIApp,
    path: str,
    query: Mapping[str, Any] | Sequence[tuple[str, Any]] = (),
    *,
    method: str = "GET",
    reads: bool = True,
    headers: Mapping[str, str] | None = None,
) -> AsyncIterator[Listener]:
    """A listener; in the end it hangs up, and the app has to let go of it at once."""
    listener = Listener()
    if reads:
        listener.reading.set()
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": urlencode(query, doseq=True).encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }

    async def answer() -> None:
        await app(scope, listener.receive, listener.send)

    answering = asyncio.create_task(answer())
    answering.add_done_callback(lambda _: listener._came.set())
    try:
        yield listener
    finally:
        listener.leave()
        async with asyncio.timeout(PATIENCE):
            await answering
