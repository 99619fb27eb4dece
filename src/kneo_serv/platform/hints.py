"""Hearing of work that other processes hand in, long before one would look for it unasked."""

import asyncio
import logging
from collections.abc import Callable

from kneo_serv.errors import StoreError
from kneo_serv.store.contract import Store

log = logging.getLogger("kneo_serv.platform")


class Hints:
    """Asks the store every `interval` seconds whether anything was committed, and says so. It is only a hint."""

    def __init__(self, store: Store, *, interval: float, submit: Callable[[], None]) -> None:
        self._store = store
        self._interval = interval
        self._submit = submit
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins. Idempotent."""
        if self._task is None:
            self._task = asyncio.create_task(self._ask())

    async def stop(self) -> None:
        """Ends."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _ask(self) -> None:
        known = -1
        while True:
            try:
                version = await self._store.changes()
            except StoreError as error:
                log.debug("cannot hear of work that others hand in: %s", error)
            else:
                if version != known:
                    known = version
                    self._submit()
            await asyncio.sleep(self._interval)
