"""A thread for one call of foreign code."""

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from typing import Any


async def in_own_thread(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What the function returns, run in a daemon thread: unlike a pool's, it never keeps the interpreter from exiting.

    The function sees the context variables of its caller. What it raises is raised here; `sys.exit()` in it is a
    RuntimeError. A cancelled caller leaves the thread to itself, since Python cannot stop one.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()
    context = contextvars.copy_context()

    def settle(answer: Any, error: BaseException | None) -> None:
        if not done.done():
            done.set_result((answer, error))

    def work() -> None:
        answer, failure = None, None
        try:
            answer = context.run(function, *args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - raised again in the waiting task, whatever it is
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, answer, failure)

    threading.Thread(target=work, name=f"kneo-adapter-{getattr(function, '__name__', 'call')}", daemon=True).start()
    answer, failure = await done
    if isinstance(failure, Exception):
        raise failure
    if failure is not None:
        # sys.exit() in foreign code ends that call, not the platform.
        raise RuntimeError(f"{type(failure).__name__}: {failure}")
    return answer
