"""Work that would keep the server's loop busy, on a few threads of its own."""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

THREADS = 4
"""More would only take turns: what they do is computing."""

_POOL = ThreadPoolExecutor(THREADS, "kneo-serv-door")


async def off_loop[T](work: Callable[[], T]) -> T:
    """What `work` gives or raises; the loop goes on meanwhile."""
    context = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(_POOL, context.run, work)
