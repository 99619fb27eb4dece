"""Connections that callers open: how long the head of a request may take, how large it may be, and what is none.

The server itself waits for a head for ever, keeps whatever comes of it, and tells of its faults in words of its own.
"""

import asyncio
from typing import Any
from uuid import uuid4

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from kneo_serv.service.errors import envelope
from kneo_serv.service.request_ids import HEADER

_REASONS = {400: "Bad Request", 408: "Request Timeout", 431: "Request Header Fields Too Large"}
_NO_REQUEST = "This is no HTTP request that is understood here."


class Connection(HttpToolsProtocol):
    """A connection whose requests have `head_seconds` for their heads, of `max_head_bytes` at most."""

    head_seconds = 15.0
    max_head_bytes = 65_536

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._in_head = True
        self._unbounded = 0
        """Bytes since the last one that something else counts: of a head, of what follows a body in pieces, ..."""
        self._head = 0
        """Bytes of the fields of this head."""
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins to wait."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Waits no longer."""
        self._wait_no_longer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Takes in what has come, unless it is too much."""
        if self.transport.is_closing():
            return
        self._unbounded += len(data)
        super().data_received(data)
        if max(self._unbounded, self._head) > self.max_head_bytes:
            self._refuse(431, "headers_too_large", f"The head of a request has at most {self.max_head_bytes} bytes.")
        elif self._in_head and self._unbounded and self._patience is None:
            self._wait()

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._in_head = True
        self._head = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A piece of the address."""
        self._head += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head. What is sent behind a body is dropped: by then the head has been judged."""
        if self._in_head:
            self._head += len(name) + len(value)
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._in_head = False
        self._unbounded = 0
        self._wait_no_longer()
        if self._head <= self.max_head_bytes:
            super().on_headers_complete()

    def on_chunk_header(self) -> None:
        """A piece of a body begins."""
        self._unbounded = 0

    def on_body(self, body: bytes) -> None:
        """A piece of a body, whose size others look at."""
        self._unbounded = 0
        if self._head <= self.max_head_bytes:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is there; the next byte begins another one."""
        self._in_head = True
        self._unbounded = 0
        if self._head <= self.max_head_bytes:
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuses what is no request."""
        self._refuse(400, "invalid_request", _NO_REQUEST)

    def _wait(self) -> None:
        self._patience = self.loop.call_later(self.head_seconds, self._give_up)

    def _wait_no_longer(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self) -> None:
        self._patience = None
        if self._is_answering():
            # The caller may well wait before it goes on.
            self._wait()
        elif self._unbounded:
            message = f"The head of the request did not arrive within {self.head_seconds:g} seconds."
            self._refuse(408, "request_timeout", message)
        else:
            self.transport.close()

    def _is_answering(self) -> bool:
        # The server declares it as always there, and sets it with the first request.
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _refuse(self, status: int, code: str, message: str) -> None:
        """Refuses and ends the connection; an answer that is under way to an earlier request is finished first."""
        self._wait_no_longer()
        if self.transport.is_closing():
            return
        if self._is_answering() and (self.cycle.response_started or not self.cycle.more_body):
            self.cycle.keep_alive = False
            self.flow.pause_reading()
            return
        answer = envelope(status, code, message, headers={HEADER: str(uuid4()), "Connection": "close"})
        head = [f"HTTP/1.1 {status} {_REASONS[status]}\r\n".encode()]
        head += [b"%s: %s\r\n" % field for field in answer.raw_headers]
        self.transport.write(b"".join([*head, b"\r\n", bytes(answer.body)]))
        self.transport.close()


def bounded(*, head_seconds: float, max_head_bytes: int) -> type[Connection]:
    """The class of connections with these bounds, as the server's config takes it."""
    return type("BoundedConnection", (Connection,), {"head_seconds": head_seconds, "max_head_bytes": max_head_bytes})
