"""The writer of a store: whatever waits is written as one batch, in one round trip and one transaction.

No call lingers for company. While one batch is under way, the next one gathers; so a lone caller pays one commit, and
many share it.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from kneo_serv.errors import StoreError
from kneo_serv.store.postgres.answers import results
from kneo_serv.store.postgres.connections import Backoff, Connections
from kneo_serv.store.postgres.faults import concerns_all, is_lost, is_passing, translate
from kneo_serv.store.postgres.requests import WRITE, Request, batch_text

log = logging.getLogger("kneo_serv.store")

BATCH_REQUESTS = 500
BATCH_BYTES = 4 << 20
# An answer that was lost is looked for longer than a server is waited for: somebody has to know.
_IN_DOUBT = 30.0


@dataclass(slots=True)
class _Pending:
    request: Request
    future: asyncio.Future[Any]


class Batcher:
    """Accepts requests and answers each when its transaction is durable; up to `width` batches are under way."""

    def __init__(self, connections: Connections, *, width: int, written: Callable[[], Awaitable[None]]) -> None:
        self._connections = connections
        self._width = width
        self._written = written
        self._waiting: deque[_Pending] = deque()
        self._busy: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._kicked = False
        self._closed = False

    async def submit(self, request: Request) -> Any:
        """What became of a request.

        Raises:
            StoreError: it could not be written.
        """
        if self._closed:
            raise StoreError(f"The store of {self._connections.place} is closed. Open it before it is used.")
        loop = asyncio.get_running_loop()
        pending = _Pending(request, loop.create_future())
        self._waiting.append(pending)
        if not self._kicked:
            # Only at the end of this turn of the loop: all who come in it go together.
            self._kicked = True
            loop.call_soon(self._kick)
        return await pending.future

    async def close(self) -> None:
        """Writes what was accepted. Idempotent."""
        self._closed = True
        while self._tasks or self._waiting:
            self._kick()
            if self._tasks:
                await asyncio.wait(self._tasks)
            # The end of a task takes it off the list in the next turn of the loop.
            await asyncio.sleep(0)

    def _kick(self) -> None:
        self._kicked = False
        while self._waiting and len(self._tasks) < self._width:
            batch = self._gather()
            if not batch:
                return
            task = asyncio.create_task(self._run(batch))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._waiting and not self._kicked:
            self._kick()

    def _gather(self) -> list[_Pending]:
        """The next batch: of those that share a name only the first, and none whose name is under way."""
        batch: list[_Pending] = []
        later: deque[_Pending] = deque()
        blocked: set[str] = set()
        size = 0
        while self._waiting and len(batch) < BATCH_REQUESTS and size < BATCH_BYTES:
            pending = self._waiting.popleft()
            if pending.future.cancelled():
                continue
            names = pending.request.names
            if not (names.isdisjoint(self._busy) and names.isdisjoint(blocked)):
                later.append(pending)
            else:
                batch.append(pending)
                size += pending.request.size
            # Whoever came later must not overtake one of the same name.
            blocked |= names
        later.extend(self._waiting)
        self._waiting = later
        for pending in batch:
            self._busy |= pending.request.names
        return batch

    async def _run(self, batch: list[_Pending]) -> None:
        try:
            await self._write(batch)
        except Exception as error:
            log.exception("Writing to %s failed", self._connections.place)
            _fail(batch, StoreError(f"Writing to the database {self._connections.place} failed: {error!r}"))
        finally:
            for pending in batch:
                self._busy -= pending.request.names
        await self._written()

    async def _write(self, batch: Sequence[_Pending]) -> None:
        try:
            text = await self._transact([pending.request for pending in batch])
        except StoreError as error:
            _fail(batch, error)
        except psycopg.Error as error:
            if len(batch) == 1 or concerns_all(error) or is_lost(error):
                _fail(batch, translate(error, self._connections.place))
                return
            # One of them is at fault, or all: each for itself, so that the innocent are served.
            for pending in batch:
                await self._write([pending])
        else:
            _answer(batch, text)

    async def _transact(self, requests: Sequence[Request]) -> str:
        """Answer of the database; asked again after a deadlock, and until it is known what became of a lost one."""
        backoff = Backoff(self._connections.patience)
        doubt = False
        backend = None
        while True:
            sent = False
            try:
                if doubt:
                    await self._connections.settle(backend)
                async with self._connections.one(writer=True) as link:
                    sent, backend = True, link.backend
                    rows = await link.fetch(WRITE, (batch_text(requests, again=doubt),))
                    return str(rows[0][0])
            except psycopg.Error as error:
                if not (is_lost(error) or is_passing(error)):
                    raise
                if sent and is_lost(error) and not doubt:
                    doubt = True
                    backoff = Backoff(max(_IN_DOUBT, self._connections.patience))
                    log.warning(
                        "The connection to %s was lost in a commit; looking what became of it", self._connections.place
                    )
                if not await backoff.pause():
                    if doubt:
                        raise StoreError(
                            f"The connection to the database {self._connections.place} was lost in a commit, and it is "
                            "away since: whether this was written, the next look at the run will tell."
                        ) from error
                    raise


def _fail(batch: Sequence[_Pending], error: StoreError) -> None:
    for pending in batch:
        if not pending.future.done():
            # A copy for each: an error that is raised in several places gathers all their tracebacks.
            copy = type(error)(error.message)
            copy.__cause__ = error.__cause__
            pending.future.set_exception(copy)


def _answer(batch: Sequence[_Pending], text: str) -> None:
    for pending, result in zip(batch, results([pending.request for pending in batch], text), strict=True):
        if pending.future.done():
            continue
        if isinstance(result, Exception):
            pending.future.set_exception(result)
        else:
            pending.future.set_result(result)
