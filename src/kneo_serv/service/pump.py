"""From the platform's loop to the server's: items are fetched in batches, and only as fast as they are taken."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable

from kneo_serv.platform.platform import Platform


class PumpOver(Exception):
    """Nothing follows any more."""


class _End:
    """Stands behind the last item; `fault` is why there are no more, where that is not their own end."""

    def __init__(self, fault: Exception | None) -> None:
        self.fault = fault


class Pump[T]:
    """Takes items from an asynchronous generator while there is room for them, and hands them out together."""

    def __init__(self, items: Callable[[Platform], AsyncGenerator[T]], *, most: int) -> None:
        """Nothing is begun before the first `next`.

        Args:
            items: Makes the generator, on the platform's loop.
            most: How many items wait at most.
        """
        self._items = items
        self._most = most
        self._queue: asyncio.Queue[T | _End] = asyncio.Queue(most)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopped = False

    async def next(self, platform: Platform, patience: float) -> list[T]:
        """The items that are there, or the first that comes; none when `patience` seconds are over. On its own loop.

        Raises:
            PumpOver: the last one was given.
            Exception: what the generator has raised, behind its last item.
        """
        if self._task is None:
            # In this order: whoever stops it meanwhile either finds the loop, or is seen here.
            self._loop = asyncio.get_running_loop()
            if self._stopped:
                raise PumpOver
            self._task = self._loop.create_task(self._run(platform))
        found: list[T] = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                item = await self._queue.get()
                while not isinstance(item, _End):
                    found.append(item)
                    if self._queue.empty() or len(found) >= self._most:
                        return found
                    item = self._queue.get_nowait()
                if not found:
                    raise item.fault or PumpOver
                # Told with the next call, behind what came before it.
                self._queue.put_nowait(item)
        return found

    def stop(self) -> None:
        """Lets go of the generator, whatever it is doing. From any thread."""
        self._stopped = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # that loop is closed, and with it everything is gone
                self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self, platform: Platform) -> None:
        fault = None
        try:
            async with contextlib.aclosing(self._items(platform)) as items:
                async for item in items:
                    await self._queue.put(item)
        except Exception as error:  # noqa: BLE001 - told to who takes the items
            fault = error
        await self._queue.put(_End(fault))
