"""How much there is in the store just now, for the metrics."""

from dataclasses import dataclass

from kneo_serv.model.page import Page
from kneo_serv.model.task import TaskStatus
from kneo_serv.platform.platform import Platform

_MOST = 1000


@dataclass(frozen=True, slots=True)
class Gauges:
    """Numbers of a moment. Ages in seconds, 0 where there is nothing to wait for."""

    queued: int
    """Runs that could be claimed now; above 1,000 it stays at 1,000."""
    queue_age: float
    """How long ago the first of them was last touched."""
    running: int
    open_tasks: int
    task_age: float
    workers: int
    abandoned: int


async def gauges_of(platform: Platform) -> Gauges:
    """The numbers of a platform, on its own loop. Raises StoreError."""
    store = platform.store
    now = await store.now()
    runnable = await store.runnable(limit=_MOST)
    first = await store.get_run(runnable[0]) if runnable else None
    oldest = await store.list_tasks(status=TaskStatus.OPEN, page=Page(limit=1))
    return Gauges(
        queued=len(runnable),
        queue_age=0.0 if first is None else max(0.0, now - first.updated_at),
        running=platform.in_hand,
        open_tasks=await store.count_tasks(status=TaskStatus.OPEN),
        task_age=max(0.0, now - oldest[0].created_at) if oldest else 0.0,
        workers=platform.options.worker_concurrency,
        abandoned=platform.abandoned_calls,
    )
