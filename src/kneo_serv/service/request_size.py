"""How large a body may be, and how long it may take: looked at before anybody is asked who they are."""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kneo_serv.service.errors import envelope, note_fault
from kneo_serv.service.json_shape import fault_of
from kneo_serv.service.off_loop import off_loop

_LINGER_SECONDS = 5.0
"""How long what a refused caller still sends is read and thrown away, so that the answer is not lost on the way."""
_LINGER_BYTES = 64 * 1024 * 1024
_AT_ONCE = 65_536
"""Bodies up to this size are looked through on the loop, larger ones on a thread."""


class RequestSize:
    """Takes the body in before the app is asked: up to `max_bytes`, within `seconds`; refuses it with 413 or 408."""

    def __init__(self, app: ASGIApp, *, max_bytes: int, seconds: float) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope["type"] != "http" or not _has_body(scope["headers"]):
            await self._app(scope, receive, send)
            return
        pieces = _Pieces(receive)
        length = _length(scope["headers"])
        if length is not None and length > self._max_bytes:
            await self._too_large(scope, send, pieces)
            return
        body = bytearray()
        try:
            async with asyncio.timeout(self._seconds):
                while not pieces.over and len(body) <= self._max_bytes:
                    body += await pieces.next()
        except TimeoutError:
            message = f"The body did not arrive within {self._seconds:g} seconds."
            await _refuse(scope, send, 408, "request_timeout", message)
        except _GoneError:
            return
        else:
            if len(body) > self._max_bytes:
                await self._too_large(scope, send, pieces)
            else:
                await self._app(scope, _Replay(bytes(body), _is_json(scope["headers"]), receive), send)

    async def _too_large(self, scope: Scope, send: Send, pieces: "_Pieces") -> None:
        message = f"The body is larger than the {self._max_bytes} bytes that are taken (KNEO_SERV_MAX_BODY_BYTES)."
        facts = {"max_body_bytes": self._max_bytes}
        await _refuse(scope, send, 413, "payload_too_large", message, pieces=pieces, facts=facts)


async def _refuse(
    scope: Scope,
    send: Send,
    status: int,
    code: str,
    message: str,
    *,
    pieces: "_Pieces | None" = None,
    facts: Mapping[str, int] | None = None,
) -> None:
    """Refuses, and ends the connection: at once, or when the rest of `pieces` has been thrown away."""
    note_fault(scope, code, message)
    answer = envelope(status, code, message, headers={"Connection": "close"}, **(facts or {}))
    await send({"type": "http.response.start", "status": status, "headers": answer.raw_headers})
    await send({"type": "http.response.body", "body": bytes(answer.body), "more_body": pieces is not None})
    if pieces is not None:
        await pieces.throw_away()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class _Replay:
    """Gives the body that was taken in to the app, once the app asks; what comes after is the server's own."""

    def __init__(self, body: bytes, is_json: bool, receive: Receive) -> None:
        self._body: bytes | None = body
        self._is_json = is_json
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        if self._is_json:
            # The app asks after it has let the caller in, so that nobody else learns what is wrong with a body.
            fault = fault_of(body) if len(body) <= _AT_ONCE else await off_loop(lambda: fault_of(body))
            if fault is not None:
                raise HTTPException(400, fault)
        return {"type": "http.request", "body": body, "more_body": False}


class _GoneError(Exception):
    """The caller has hung up."""


class _Pieces:
    """The body as it comes in."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.over = False

    async def next(self) -> bytes:
        """The next piece. Raises _GoneError."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise _GoneError
        self.over = not message.get("more_body", False)
        piece: bytes = message.get("body", b"")
        return piece

    async def throw_away(self) -> None:
        """Reads on for a while, and keeps nothing."""
        seen = 0
        with contextlib.suppress(TimeoutError, _GoneError):
            async with asyncio.timeout(_LINGER_SECONDS):
                while not self.over and seen < _LINGER_BYTES:
                    seen += len(await self.next())


def _header(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> bytes | None:
    return next((value for name, value in headers if name == wanted), None)


def _has_body(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    length = _header(headers, b"content-length")
    return (length is not None and length.strip() != b"0") or _header(headers, b"transfer-encoding") is not None


def _length(headers: Iterable[tuple[bytes, bytes]]) -> int | None:
    text = (_header(headers, b"content-length") or b"").strip()
    return int(text) if text.isdigit() and len(text) < 19 else None


def _is_json(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return b"json" in (_header(headers, b"content-type") or b"").lower()
