"""A pass over all that is old enough, so gently that nobody who writes meanwhile waits for it."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from kneo_serv.model.run import TERMINAL
from kneo_serv.store.contract import Pruned, RetentionCut
from kneo_serv.store.sqlite import retention

_LONGEST_REST = 0.1


class Ask(Protocol):
    """Runs a function on a connection, in a thread of its own."""

    async def __call__[T](self, run: Callable[[sqlite3.Connection], T], /) -> T:
        """What it returned."""
        ...


async def prune(cut: RetentionCut, *, read: Ask, work: Ask) -> Pruned:
    """Removes what is old enough. Between two transactions it rests as long as the last one took."""
    runs = events = tasks = keys = 0
    if cut.runs_before is not None:
        while found := await read(lambda db: retention.find_runs(db, cut)):
            more, its_events, its_tasks, its_keys = await _gently(
                work, partial(retention.remove_runs, found=found, before=cut.runs_before)
            )
            runs, events, tasks, keys = runs + more, events + its_events, tasks + its_tasks, keys + its_keys
            if not more:
                break
    if cut.events_before is not None:
        events += await _journals(cut.events_before, read, work)
    tasks += await _repeat(cut.tasks_before, retention.find_tasks, retention.remove_tasks, read, work)
    audit = await _repeat(cut.audit_before, retention.find_audit, retention.remove_audit, read, work)
    keys += await _repeat(cut.keys_before, retention.find_keys, retention.remove_keys, read, work)
    return Pruned(runs=runs, events=events, tasks=tasks, audit=audit, keys=keys)


async def _journals(before: float, read: Ask, work: Ask) -> int:
    total = 0
    for status in sorted(TERMINAL):
        behind: retention.Place | None = (float("-inf"), "")
        while behind is not None:
            look = partial(retention.find_journals, status=status, before=before, behind=behind)
            found, behind = await read(look)
            if found:
                total += await _gently(work, partial(retention.remove_journals, found=found, before=before))
    return total


async def _repeat(
    before: float | None,
    find: Callable[[sqlite3.Connection, float], list[Any]],
    remove: Callable[..., int],
    read: Ask,
    work: Ask,
) -> int:
    total = 0
    if before is None:
        return total
    while found := await read(lambda db: find(db, before)):
        gone = await _gently(work, partial(remove, found=found, before=before))
        total += gone
        if not gone:
            break
    return total


async def _gently[T](work: Ask, run: Callable[[sqlite3.Connection], T]) -> T:
    began = time.monotonic()
    done = await work(run)
    await asyncio.sleep(min(_LONGEST_REST, time.monotonic() - began))
    return done
