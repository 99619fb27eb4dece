"""Firing timers by themselves: any number of processes may do so on one store, each timer counts once."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from kneo_serv.errors import KneoError
from kneo_serv.store.contract import Store, Timer, TimerKind

log = logging.getLogger("kneo_serv.platform")

_BATCH = 100


class Timekeeper:
    """Looks for due timers every `interval` seconds while started."""

    def __init__(
        self,
        store: Store,
        *,
        fire: Callable[[Timer], Awaitable[bool]],
        kinds: Sequence[TimerKind] = tuple(TimerKind),
        interval: float = 1.0,
    ) -> None:
        self._store = store
        self._fire = fire
        self._kinds = tuple(kinds)
        self._interval = interval
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins. Idempotent."""
        if self._task is None:
            self._task = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Ends; a timer that is being fired is finished by whoever comes next."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _keep(self) -> None:
        while True:
            try:
                for timer in await self._store.due_timers(kinds=self._kinds, limit=_BATCH):
                    await self._fire(timer)
            except KneoError as error:
                log.warning("timers cannot be fired just now: %s", error)
            except Exception:
                # Whatever it is, the other timers of this store wait for this very task.
                log.exception("a timer cannot be fired")
            await asyncio.sleep(self._interval)
