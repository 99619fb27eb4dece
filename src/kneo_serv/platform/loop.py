"""A loop on a thread of its own, and the hop to it from everywhere else."""

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any

from kneo_serv.errors import LoopMisuseError, PlatformClosedError


def _new_loop() -> asyncio.AbstractEventLoop:
    """The quicker loop where it is installed; both do the same."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


class LoopThread:
    """An event loop on a daemon thread: a script that forgets to shut down still exits."""

    def __init__(self, name: str = "kneo-platform") -> None:
        self._loop = _new_loop()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def call[T](self, coroutine: Coroutine[Any, Any, T], *, timeout: float | None = None) -> T:
        """Runs the coroutine on the loop and blocks until its result is there.

        Raises:
            LoopMisuseError: the caller is on this very loop, where waiting could never end.
            PlatformClosedError: the loop is closed.
        """
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise LoopMisuseError(
                "A blocking call of the platform was made on the platform's own loop (from an async tool or function). "
                "Make it from a synchronous function, or from a thread of your own."
            )
        if self._closed:
            coroutine.close()
            raise PlatformClosedError("The platform was shut down; make a new PlatformManager.")
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result(timeout)
        except concurrent.futures.CancelledError:
            if not self._closed:
                raise
            raise PlatformClosedError("The platform was shut down while this call was at work.") from None
        except KeyboardInterrupt:
            future.cancel()
            raise

    async def reach[T](self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs the coroutine on the loop; its result, awaited on the caller's own loop without blocking it.

        Who is cancelled here cancels the coroutine there.

        Raises:
            PlatformClosedError: the loop is closed.
        """
        if self._closed:
            coroutine.close()
            raise PlatformClosedError("The platform was shut down; make a new PlatformManager.")
        try:
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self._loop))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._closed or (task is not None and task.cancelling()):
                raise
            raise PlatformClosedError("The platform was shut down while this call was at work.") from None

    def close(self, timeout: float = 5.0) -> None:
        """Stops the loop and its thread. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            with contextlib.suppress(RuntimeError):
                self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self._loop.close()
