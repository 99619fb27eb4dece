"""Dispatch inside one process: runs are tasks of the platform's loop, bounded in number."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from kneo_serv.errors import StoreError

log = logging.getLogger("kneo_serv.dispatch")

_GATHER_SECONDS = 0.005
"""How long a few free places wait for others, before work is looked for."""


class EmbeddedDispatcher[T]:
    """Claims runnable work whenever a place is free, and executes it.

    `claim(limit)` gives up to `limit` pieces of work under a lease; `execute(piece)` does one and raises nothing.
    The store decides who gets what: several processes may do this on one store.
    """

    def __init__(
        self,
        *,
        claim: Callable[[int], Awaitable[Sequence[T]]],
        execute: Callable[[T], Awaitable[None]],
        concurrency: int,
        poll_seconds: float,
    ) -> None:
        self._claim = claim
        self._execute = execute
        self._concurrency = concurrency
        self._poll = poll_seconds
        self._wakened = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        self._loop: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def running(self) -> int:
        """How many pieces of work are in hand."""
        return len(self._running)

    @property
    def started(self) -> bool:
        """Whether work is being looked for."""
        return self._loop is not None

    def start(self) -> None:
        """Begins to look for work. Idempotent."""
        if self._loop is None:
            self._stopping = False
            self._loop = asyncio.create_task(self._work())

    def submit(self) -> None:
        """There may be work: look now."""
        self._wakened.set()

    async def stop(self, timeout: float) -> bool:
        """Claims no more, and waits up to `timeout` seconds for what is in hand; whether all of it ended."""
        self._stopping = True
        self._wakened.set()
        if self._loop is not None:
            await asyncio.gather(self._loop, return_exceptions=True)
            self._loop = None
        if self._running:
            await asyncio.wait(self._running, timeout=timeout)
        hanging = [task for task in self._running if not task.done()]
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
        return not hanging

    async def _work(self) -> None:
        while not self._stopping:
            self._wakened.clear()
            free = self._concurrency - len(self._running)
            if 0 < free < self._concurrency // 8:
                # Many are at work, and more of them are about to end: one claim for all of them is cheaper.
                await asyncio.sleep(_GATHER_SECONDS)
                free = self._concurrency - len(self._running)
            if free > 0:
                try:
                    claimed = await self._claim(free)
                except StoreError as error:
                    log.warning("cannot look for runnable runs: %s", error)
                    claimed = ()
                for piece in claimed:
                    task = asyncio.ensure_future(self._execute(piece))
                    self._running.add(task)
                    task.add_done_callback(self._ended)
                if len(claimed) == free:
                    continue
            try:
                async with asyncio.timeout(self._poll):
                    await self._wakened.wait()
            except TimeoutError:
                continue

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._wakened.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the execution of a run broke off: %s", error)
