"""A name for each request, by which its answer, the lines of the log and a complaint about it find together."""

from collections.abc import Callable, Iterable
from contextvars import ContextVar

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kneo_serv.platform.chance import random_uuid

HEADER = "X-Request-ID"
LONGEST = 128
"""Characters that a caller's own id may have."""

_RAW = HEADER.lower().encode()
_current: ContextVar[str | None] = ContextVar("kneo_request_id", default=None)


def current_request_id() -> str | None:
    """The id of the request that is being answered; None outside of one."""
    return _current.get()


def _new_id() -> str:
    return random_uuid()


class RequestIds:
    """Gives every answer the caller's `X-Request-ID`, or one of its own where that cannot be used."""

    def __init__(self, app: ASGIApp, *, new_id: Callable[[], str] = _new_id) -> None:
        self._app = app
        self._new_id = new_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _given(scope["headers"]) or self._new_id()
        scope.setdefault("state", {})["request_id"] = request_id

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        token = _current.set(request_id)
        try:
            await self._app(scope, receive, named)
        finally:
            _current.reset(token)


def _given(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The caller's own id, if it is 1 to 128 visible ASCII characters."""
    value = next((value for name, value in headers if name == _RAW), b"")
    fits = 0 < len(value) <= LONGEST and all(0x21 <= letter <= 0x7E for letter in value)
    return value.decode("ascii") if fits else None
