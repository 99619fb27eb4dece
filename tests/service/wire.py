"""Requests as a server hands them on, for what no well-behaved client would send."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message

NEVER = object()
"""In place of a piece of a body: nothing comes any more."""


@dataclass
class Exchange:
    """What an app answered."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    asked_for: int = 0
    """Pieces of the body that were taken."""


def exchange(
    app: ASGIApp, method: str, path: str, *, pieces: Iterable[Any] = (), headers: dict[str, str] | None = None
) -> Exchange:
    """One request whose body comes in these pieces."""
    answer = Exchange()
    left = list(pieces)

    async def receive() -> Message:
        if not left:
            await asyncio.Event().wait()
        piece = left.pop(0)
        if piece is NEVER:
            await asyncio.Event().wait()
        answer.asked_for += 1
        return {"type": "http.request", "body": piece, "more_body": bool(left)}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            answer.body += message.get("body", b"")

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }

    async def run() -> None:
        await app(scope, receive, send)

    asyncio.run(run())
    return answer
