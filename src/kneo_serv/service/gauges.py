"""How much there is just now, for the metrics."""

from collections.abc import Mapping
from dataclasses import dataclass

from kneo_serv.platform.platform import Platform


@dataclass(frozen=True, slots=True)
class Gauges:
    """Numbers of a moment. Ages in seconds, 0 where there is nothing to wait for."""

    runs: Mapping[str, int]
    """By status."""
    queued: int
    queue_age: float
    """How long ago the first of them was created."""
    running: int
    """Under a live lease, of whatever process."""
    open_tasks: int
    task_age: float
    queues: Mapping[str, int]
    """Runs that wait, by queue."""
    providers: Mapping[str, str]
    """How those stand that failed lately or are paused."""


async def gauges_of(platform: Platform) -> Gauges:
    """The numbers of a platform, on its own loop; no cost grows with the history. Raises StoreError."""
    now, there = await platform.store.now(), await platform.store.gauges()

    def age(since: float | None) -> float:
        return 0.0 if since is None else max(0.0, now - since)

    return Gauges(
        runs={status.value: number for status, number in there.runs.items()},
        queued=there.queued,
        queue_age=age(there.oldest_queued_at),
        running=there.leases,
        open_tasks=there.open_tasks,
        task_age=age(there.oldest_open_task_at),
        queues=there.queues,
        providers={one.name: one.standing(now).value for one in await platform.fleet.providers.all()},
    )
