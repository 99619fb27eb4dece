"""Where handlers run: sync ones in a few threads, async ones on the loop."""

import asyncio
import contextvars
import inspect
import threading
import weakref
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from typing import Any, cast

from kneo_serv.errors import PlatformClosedError, StepError, StepTimeoutError

type _Inbox = SimpleQueue[_Job | None]
"""A worker's letter box; None sends it home."""


class HandlerPool:
    """Runs foreign functions so that none of them can hold up the loop, the run or the end of the process.

    - At most `size` sync functions run at a time, each in a daemon thread; further callers wait in order of arrival,
      without blocking their loop. Async functions run on the caller's loop and take no thread.
    - A thread cannot be stopped from outside. When a call runs out of time or its caller is cancelled, the function is
      *abandoned*: its caller goes on, a fresh thread takes its place, and it is counted in `abandoned` until it ends.
      With `max_abandoned` of them new sync calls are refused, so the number of threads never passes
      `size + max_abandoned + size`: what was running already may still be abandoned.
    - Threads are daemons, and nothing joins them at exit: a process with a hung handler ends at once.
    - A pool serves any number of event loops; two pools share nothing.
    """

    def __init__(self, *, size: int = 32, max_abandoned: int = 16) -> None:
        if size < 1 or max_abandoned < 1:
            raise ValueError(f"size and max_abandoned must be at least 1, not {size} and {max_abandoned}")
        self.size = size
        self.max_abandoned = max_abandoned
        # Reentrant: the collector may close a forgotten caller's coroutine in the middle of a locked stretch.
        self._lock = threading.RLock()
        self._running = 0
        self._abandoned = 0
        self._waiting: deque[_Waiter] = deque()
        self._idle: list[_Inbox] = []
        self._closed = False
        # Idle threads know only their inbox, so a forgotten pool is collected, and its threads with it.
        weakref.finalize(self, _send_home, self._idle).atexit = False

    @property
    def running(self) -> int:
        """Sync functions that run now and are waited for."""
        return self._running

    @property
    def waiting(self) -> int:
        """Callers that wait for a free thread."""
        return len(self._waiting)

    @property
    def abandoned(self) -> int:
        """Sync functions that still run although nobody waits for them any more."""
        return self._abandoned

    async def run(
        self,
        function: Callable[..., Any],
        *args: Any,
        timeout: float | None = None,
        name: str | None = None,
        entry: Callable[[], None] | None = None,
    ) -> Any:
        """What `function(*args)` returns; an awaitable is awaited here, on the caller's loop.

        The function sees the caller's context variables. `timeout` is in seconds and counts while the function runs;
        waiting for a free thread does not count, since the function cannot help it. `name` is what error texts call
        the function. `entry` is called right before the function, on its thread; when it raises, the function does
        not begin. What the function raises is raised here, with one exception: what would tear down the caller
        (SystemExit, KeyboardInterrupt, a cancellation nobody asked for, StopIteration) becomes a StepError.

        Raises:
            StepTimeoutError: the time is over. A sync function is abandoned, an async one is cancelled.
            StepError: `max_abandoned` functions hang already, or no thread could be started.
            PlatformClosedError: the pool was closed.
        """
        label = name or getattr(function, "__qualname__", None) or type(function).__name__
        threaded = not is_async(function)
        if threaded:
            await self._acquire(label)
        try:
            async with asyncio.timeout(timeout) as scope:
                called = function if entry is None else partial(_entered, entry, function)
                result = await self._in_thread(called, args, label) if threaded else called(*args)
                threaded = False
                return await _awaited(result, label) if inspect.isawaitable(result) else result
        except TimeoutError as error:
            if not scope.expired() or isinstance(error, StepTimeoutError):
                raise  # the function's own time-out, of a request it made
            rest = " Its thread still runs and is counted as abandoned." if threaded else ""
            raise StepTimeoutError(f"{label} took longer than {timeout:g} s.{rest}") from None

    def close(self) -> None:
        """Refuses further calls, also the waiting ones, and lets the threads go; waits for nobody."""
        with self._lock:
            self._closed = True
            _send_home(self._idle)
            waiting, self._waiting = list(self._waiting), deque()
            for waiter in waiting:
                waiter.wake(granted=False)

    async def _in_thread(self, function: Callable[..., Any], args: tuple[Any, ...], label: str) -> Any:
        loop = asyncio.get_running_loop()
        job = _Job(self, function, args, label, contextvars.copy_context(), loop, loop.create_future())
        self._start(job)
        try:
            outcome = await job.answer
        except BaseException:  # cancelled, timed out, or collected with its loop: nobody waits any more
            self._abandon(job)
            raise
        if outcome.error is not None:
            raise outcome.error
        return outcome.value

    async def _acquire(self, label: str) -> None:
        with self._lock:
            self._admit(label)
            if self._running < self.size and not self._waiting:
                self._running += 1
                return
            loop = asyncio.get_running_loop()
            waiter = _Waiter(loop, loop.create_future())
            self._waiting.append(waiter)
        try:
            await waiter.turn
            with self._lock:
                self._admit(label)
        except BaseException:
            with self._lock:
                if waiter.granted:
                    self._release()
                elif waiter in self._waiting:
                    self._waiting.remove(waiter)
            raise

    def _admit(self, label: str) -> None:
        if self._closed:
            raise PlatformClosedError(f"{label} was not started: the platform is shutting down.")
        if self._abandoned >= self.max_abandoned:
            raise StepError(
                f"{label} was not started: {self._abandoned} earlier calls ran out of time and still hang "
                f"(the limit is {self.max_abandoned}). Give what they wait for a time limit of its own, or restart."
            )

    def _release(self) -> None:
        """Passes a slot on to who waits longest. The lock is held."""
        while self._waiting:
            if self._waiting.popleft().wake(granted=True):
                return
        self._running -= 1

    def _start(self, job: "_Job") -> None:
        with self._lock:
            if self._idle:
                self._idle.pop().put(job)
                return
        inbox: _Inbox = SimpleQueue()
        inbox.put(job)
        try:
            threading.Thread(target=_work, args=(inbox,), name="kneo-handler", daemon=True).start()
        except RuntimeError as error:
            with self._lock:
                self._release()
            raise StepError(f"{job.label} was not started: no thread is to be had ({error}).") from error

    def _abandon(self, job: "_Job") -> None:
        with self._lock:
            if not job.ended and not job.abandoned:
                job.abandoned = True
                self._abandoned += 1
                self._release()

    def _ended(self, job: "_Job", inbox: _Inbox) -> bool:
        """Books a job that came to its end; whether its thread is still needed."""
        with self._lock:
            job.ended = True
            if job.abandoned:
                self._abandoned -= 1
                return False
            self._release()
            if self._closed:
                return False
            self._idle.append(inbox)
            return True


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling `function` runs none of its code yet, but makes a coroutine."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


@dataclass(frozen=True, slots=True)
class _Outcome:
    value: Any = None
    error: Exception | None = None


@dataclass(slots=True, eq=False)
class _Job:
    pool: HandlerPool
    function: Callable[..., Any]
    args: tuple[Any, ...]
    label: str
    context: contextvars.Context
    loop: asyncio.AbstractEventLoop
    answer: "asyncio.Future[_Outcome]"
    ended: bool = field(default=False, init=False)
    abandoned: bool = field(default=False, init=False)

    def execute(self) -> _Outcome:
        try:
            return _Outcome(self.context.run(self.function, *self.args))
        except BaseException as error:  # noqa: BLE001  # carried to the caller, whatever it is
            return _Outcome(error=_carried(error, self.label))

    def deliver(self, outcome: _Outcome) -> None:
        if self.abandoned:
            if inspect.iscoroutine(outcome.value):
                outcome.value.close()  # nobody will await it
            return
        try:
            self.loop.call_soon_threadsafe(_settle, self.answer, outcome)
        except RuntimeError:
            return  # the loop is closed, and its callers with it


@dataclass(slots=True, eq=False)
class _Waiter:
    loop: asyncio.AbstractEventLoop
    turn: "asyncio.Future[None]"
    granted: bool = field(default=False, init=False)

    def wake(self, *, granted: bool) -> bool:
        """Whether there still was somebody to wake."""
        self.granted = granted
        try:
            self.loop.call_soon_threadsafe(_settle, self.turn, None)
        except RuntimeError:  # the loop is closed, and the waiter with it
            self.granted = False
            return False
        return True


def _entered(entry: Callable[[], None], function: Callable[..., Any], *args: Any) -> Any:
    entry()
    return function(*args)


def _settle[T](future: "asyncio.Future[T]", value: T) -> None:
    if not future.done():
        future.set_result(value)


def _work(inbox: _Inbox) -> None:
    while (job := inbox.get()) is not None:
        outcome = job.execute()
        needed = job.pool._ended(job, inbox)
        job.deliver(outcome)
        del job, outcome  # an idle thread keeps neither the pool nor an answer alive
        if not needed:
            return


def _send_home(idle: list[_Inbox]) -> None:
    while idle:
        idle.pop().put(None)


async def _awaited(result: Awaitable[Any], label: str) -> Any:
    try:
        return await result
    except asyncio.CancelledError as error:
        if cast("asyncio.Task[Any]", asyncio.current_task()).cancelling():
            raise
        raise _carried(error, label) from error  # its own, and no wish of ours
    except (SystemExit, KeyboardInterrupt) as error:
        if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
            raise  # the keys on the keyboard
        raise _carried(error, label) from error


def _carried(error: BaseException, label: str) -> Exception:
    """The error in a form that a future and a task carry like any other."""
    if isinstance(error, Exception) and not isinstance(error, (StopIteration, StopAsyncIteration)):
        return error
    carried = StepError(
        f"{label} raised {type(error).__name__}: {error}" if str(error) else f"{label} raised {type(error).__name__}."
    )
    carried.__cause__ = error
    return carried
