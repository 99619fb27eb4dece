"""An answer that does not end by itself: server-sent events, heartbeats between them, and many ways to end."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Protocol

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from kneo_serv.errors import KneoError
from kneo_serv.observe import redact_error
from kneo_serv.platform.platform import Platform
from kneo_serv.service import sse
from kneo_serv.service.errors import INTERNAL, RequestRefused, answer_to, code_of, note_fault
from kneo_serv.service.off_loop import off_loop
from kneo_serv.service.pump import Pump, PumpOver
from kneo_serv.service.state import Service

log = logging.getLogger("kneo_serv.service")

RETRY = 2000
"""Milliseconds after which a client comes back whose stream has ended."""
_LAST_WORDS = 1.0
"""Seconds that a stream has to say that it ends."""
_STALLED = 60.0
"""Seconds after which a client that takes nothing of what is sent is given up. It may come back and go on."""
_AT_ONCE = 8
"""Events that are put into words on the loop; more are on a thread."""

type StillAdmitted = Callable[[], Awaitable[bool]]
"""Whether the caller may go on listening."""


class Following[T](Protocol):
    """What a stream tells."""

    most: int
    """Items that wait for a slow client."""

    def items(self, platform: Platform) -> AsyncGenerator[T]:
        """What there is to tell; on the platform's loop."""
        ...

    def weight(self, item: T) -> int:
        """How many events it is worth, by the work of putting it into words."""
        ...

    def told(self, item: T) -> bytes:
        """The item in words; nothing where it was not asked for."""
        ...

    def mark(self) -> str | None:
        """The id of which everything was told that was asked for."""
        ...

    async def end(self, platform: Platform) -> bytes:
        """The last words, when there are no more items."""
        ...


class EventStream[T](Response):
    """Tells what a following gives, until one of: its end, the caller's going, the end of the caller's key, draining.

    Nothing is fetched before the client has taken what was sent, so that a slow one costs no memory and stalls nobody.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        service: Service,
        following: Following[T],
        *,
        admitted: StillAdmitted,
        stalled: float = _STALLED,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is begun before the answer is asked for.

        Args:
            service: What the app serves: its streams, its platform, its settings.
            following: What is told.
            admitted: Is asked once in a heartbeat, in silence and in haste.
            stalled: Seconds in which a client has to take what is sent.
            monotonic: Seconds.
        """
        # As with every answer that streams there is no body to be measured.
        self.status_code = 200
        self.background = None
        self.init_headers({"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._service = service
        self._following = following
        self._admitted = admitted
        self._stalled = stalled
        self._monotonic = monotonic
        self._heartbeat = service.settings.event_heartbeat_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        try:
            with self._service.streams.one(draining=self._service.draining) as ending:
                await self._until_over(scope, receive, send, ending)
        except RequestRefused as refused:
            note_fault(scope, refused.wire_code, refused.message)
            await answer_to(refused)(scope, receive, send)

    async def _until_over(self, scope: Scope, receive: Receive, send: Send, ending: asyncio.Event) -> None:
        """Tells until there is no more to tell, or nobody to hear it."""
        scope.setdefault("state", {})["streamed"] = True
        telling = asyncio.create_task(self._tell(send, ending))
        others = [asyncio.create_task(_gone(receive)), asyncio.create_task(_too_late(ending))]
        try:
            await asyncio.wait([telling, *others], return_when=asyncio.FIRST_COMPLETED)
            if telling.done():
                telling.result()
        finally:
            for task in (telling, *others):
                task.cancel()
            await asyncio.gather(telling, *others, return_exceptions=True)

    async def _tell(self, send: Send, ending: asyncio.Event) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async with contextlib.aclosing(self._pieces(ending)) as pieces:
            async for piece in pieces:
                try:
                    async with asyncio.timeout(self._stalled):
                        await send({"type": "http.response.body", "body": piece, "more_body": True})
                except TimeoutError:
                    log.info("a client that took nothing of its stream for %g seconds is given up", self._stalled)
                    return
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pieces(self, ending: asyncio.Event) -> AsyncGenerator[bytes]:
        yield sse.opening(RETRY)
        pump = Pump(self._following.items, most=self._following.most)
        try:
            try:
                async with contextlib.aclosing(self._pumped(pump, ending)) as pieces:
                    async for piece in pieces:
                        yield piece
            except PumpOver:
                yield await self._service.reach(self._following.end)
        except KneoError as error:
            yield _closing(error)
        finally:
            pump.stop()

    async def _pumped(self, pump: Pump[T], ending: asyncio.Event) -> AsyncGenerator[bytes]:
        spoke = checked = self._monotonic()
        while True:
            patience = max(0.0, min(spoke, checked) + self._heartbeat - self._monotonic())
            items = await _unless(ending, self._service.reach(partial(pump.next, patience=patience)))
            if items is None:
                yield sse.event(_DRAINING, name="close", retry=RETRY)
                return
            now = self._monotonic()
            if now - checked >= self._heartbeat:
                checked = now
                if not await self._admitted():
                    yield sse.event(_UNAUTHORIZED, name="close")
                    return
            piece = await self._worded(items)
            if not piece and now - spoke >= self._heartbeat:
                piece = sse.heartbeat(self._following.mark())
            if piece:
                spoke = now
                yield piece

    async def _worded(self, items: Sequence[T]) -> bytes:
        def worded() -> bytes:
            return b"".join([self._following.told(item) for item in items])

        if sum(self._following.weight(item) for item in items) <= _AT_ONCE:
            return worded()
        return await off_loop(worded)


_DRAINING = {
    "type": "close",
    "reason": "draining",
    "message": "The service is ending. Come back with the last id, to it or to another process at the same database.",
}
_UNAUTHORIZED = {
    "type": "close",
    "reason": "unauthorized",
    "message": "The key or token is not accepted any more.",
}


def _closing(error: KneoError) -> bytes:
    code = code_of(error)
    if code == "internal_error":
        log.error("a stream has ended: %s", type(error).__name__, exc_info=error)
    message = INTERNAL if code == "internal_error" else redact_error(error.message)
    return sse.event({"type": "close", "reason": code, "message": message}, name="close", retry=RETRY)


async def _unless[R](ending: asyncio.Event, work: Coroutine[Any, Any, R]) -> R | None:
    """The result, or None when the stream should end before it is there."""
    working, ended = asyncio.ensure_future(work), asyncio.ensure_future(ending.wait())
    try:
        await asyncio.wait([working, ended], return_when=asyncio.FIRST_COMPLETED)
        return None if ended.done() else working.result()
    finally:
        for task in (working, ended):
            task.cancel()
        await asyncio.gather(working, ended, return_exceptions=True)


async def _gone(receive: Receive) -> None:
    message = {"type": ""}
    while message["type"] != "http.disconnect":
        # Somebody may send a body, which nobody has asked for and which is nobody's business.
        with contextlib.suppress(HTTPException):
            message = dict(await receive())


async def _too_late(ending: asyncio.Event) -> None:
    await ending.wait()
    await asyncio.sleep(_LAST_WORDS)
