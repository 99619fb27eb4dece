"""Removing what is old enough, a bounded number of rows in each transaction.

What was found is locked or looked at again where it is removed, since a failed run may have been continued in between.
"""
# ruff: noqa: S608 - statements are put together from fixed parts; values travel as parameters

from collections.abc import Sequence
from typing import Any

from kneo_serv.model.audit import AuditEvent
from kneo_serv.model.ids import RunId
from kneo_serv.model.run import TERMINAL
from kneo_serv.store.contract import Pruned, RetentionCut
from kneo_serv.store.jsontext import dumps
from kneo_serv.store.postgres import locks
from kneo_serv.store.postgres.connections import Connections, Link, Values
from kneo_serv.store.postgres.queries import ADD_AUDIT
from kneo_serv.store.postgres.requests import audit_items

STRIDE = 200
"""Runs, tasks, audit events or keys in one transaction at most."""
EVENTS = 5_000
"""Events of several runs in one transaction; a run with more goes by itself."""

_OVER = f"status IN ({', '.join(repr(str(status)) for status in sorted(TERMINAL))})"
_OLD = f"{_OVER} AND updated_at < %(before)s::double precision"
_WANTED = "status = ANY (%(statuses)s)"
_OLD_RUNS = f"SELECT id, seq FROM runs WHERE {_OLD} AND {_WANTED} LIMIT {STRIDE} FOR UPDATE SKIP LOCKED"
_THIS_RUN = f"SELECT id FROM runs WHERE id = %s AND {_OVER} FOR UPDATE"
_THEIR_PLANS = "SELECT DISTINCT plan_hash FROM run_inputs WHERE run_id = ANY (%s)"
_UNUSED_PLANS = (
    "DELETE FROM plans WHERE hash = ANY (%s) AND NOT EXISTS (SELECT 1 FROM run_inputs WHERE plan_hash = hash)"
)
_UNCOUNT = """
    INSERT INTO run_counts (tenant, status, runs)
        SELECT whose.tenant, status, -count(*) FROM runs
        CROSS JOIN LATERAL (SELECT NULL AS tenant UNION ALL SELECT runs.tenant WHERE runs.tenant IS NOT NULL) AS whose
        WHERE id = ANY (%s) GROUP BY whose.tenant, status
"""
_OF_RUNS = ("run_events", "snapshots", "human_tasks", "timers", "run_inputs", "run_outputs", "idempotency_keys")
# Those that still have a journal, one status after the other in the order of its index.
_OLD_JOURNALS = (
    "SELECT id, seq, updated_at FROM runs WHERE status = %(status)s AND updated_at < %(before)s"
    " AND (updated_at, id) > (%(at)s, %(run)s) AND EXISTS (SELECT 1 FROM run_events WHERE run_id = runs.id)"
    f" ORDER BY updated_at, id LIMIT {STRIDE}"
)
# Half a journal could not be read: all of it or nothing.
_THEIR_EVENTS = f"""
    WITH still AS MATERIALIZED (SELECT id FROM runs WHERE id = ANY (%(these)s) AND {_OLD} FOR UPDATE SKIP LOCKED)
    DELETE FROM run_events USING still WHERE run_id = still.id
"""
_TASKS = (
    "human_tasks JOIN runs ON runs.id = run_id WHERE human_tasks.status <> 'open'"
    f" AND coalesce(closed_at, human_tasks.created_at) < %(tasks)s::double precision AND runs.{_OVER}"
)
_OLD_TASKS = f"""
    DELETE FROM human_tasks WHERE continuation_id IN (
        SELECT human_tasks.continuation_id FROM {_TASKS} LIMIT {STRIDE})
"""
_AUDIT = (
    "audit_events LEFT JOIN runs ON runs.id = run_id WHERE audit_events.created_at < %(audit)s::double precision"
    f" AND (runs.id IS NULL OR {_OVER})"
)
_OLD_AUDIT = f"DELETE FROM audit_events WHERE position IN (SELECT position FROM {_AUDIT} LIMIT {STRIDE})"
# One that was used anew in between stays.
_OLD_KEYS = f"""
    DELETE FROM idempotency_keys WHERE created_at < %(keys)s AND (scope, principal, key) IN (
        SELECT scope, principal, key FROM idempotency_keys WHERE created_at < %(keys)s LIMIT {STRIDE})
"""
_GOING = f"SELECT id FROM runs WHERE {_OLD} AND {_WANTED}"
_OLD_BY_EVENTS = _OLD.replace("before", "events")
_MEASURE = f"""
    SELECT (SELECT count(*) FROM ({_GOING}) AS going),
    (SELECT count(*) FROM run_events WHERE run_id IN ({_GOING} UNION SELECT id FROM runs WHERE {_OLD_BY_EVENTS})),
    (SELECT count(*) FROM human_tasks WHERE run_id IN ({_GOING})
        OR continuation_id IN (SELECT human_tasks.continuation_id FROM {_TASKS})),
    (SELECT count(*) FROM {_AUDIT}),
    (SELECT count(*) FROM idempotency_keys WHERE run_id IN ({_GOING}) OR created_at < %(keys)s::double precision)
"""


async def prune(connections: Connections, cut: RetentionCut) -> Pruned:
    """Removes what is old enough, in transactions of some hundred rows between which others get their turn."""
    runs = events = tasks = keys = 0
    while cut.runs_before is not None:
        gone = await _prune_runs(connections, cut)
        runs, events, tasks, keys = runs + gone.runs, events + gone.events, tasks + gone.tasks, keys + gone.keys
        if not gone.runs:
            break
    if cut.events_before is not None:
        events += await _prune_journals(connections, cut.events_before)
    tasks += await _repeat(connections, _OLD_TASKS, tasks=cut.tasks_before)
    audit = await _repeat(connections, _OLD_AUDIT, audit=cut.audit_before)
    keys += await _repeat(connections, _OLD_KEYS, keys=cut.keys_before)
    return Pruned(runs=runs, events=events, tasks=tasks, audit=audit, keys=keys)


async def measure(connections: Connections, cut: RetentionCut) -> Pruned:
    """How much would go now."""
    values = _values(cut) | {
        "events": cut.events_before,
        "tasks": cut.tasks_before,
        "audit": cut.audit_before,
        "keys": cut.keys_before,
    }

    async def count(link: Link) -> Pruned:
        ((runs, events, tasks, audit, keys),) = await link.fetch(_MEASURE, values, prepare=False)
        return Pruned(runs=runs, events=events, tasks=tasks, audit=audit, keys=keys)

    # Nobody waits for it, and it may have to look through the whole history.
    return await connections.ask(count, hurry=False)


async def delete_run(connections: Connections, run_id: RunId, audit: Sequence[AuditEvent]) -> bool:
    """Removes a run that has ended, with all that is its own but its audit."""
    attempts = 0

    async def remove(link: Link) -> tuple[bool, list[str]]:
        nonlocal attempts
        attempts += 1
        async with link.connection.transaction():
            if not await link.fetch(_THIS_RUN, (run_id,)):
                # It may be gone by an attempt whose answer was lost.
                seen = attempts > 1 and not await link.fetch("SELECT 1 FROM runs WHERE id = %s", (run_id,))
                return seen, []
            if audit:
                # It takes its tenant from the run, which must still be there.
                await link.change(ADD_AUDIT, (dumps([audit_items(event) for event in audit]).decode(),))
            _, plans = await _remove_runs(link, [run_id])
        return True, plans

    removed, plans = await connections.ask(remove)
    await _remove_plans(connections, plans)
    return removed


async def _prune_runs(connections: Connections, cut: RetentionCut) -> Pruned:
    """Removes some old runs with all that is theirs but the audit."""

    async def remove(link: Link) -> tuple[Pruned, list[str]]:
        async with link.connection.transaction():
            found = _few(await link.fetch(_OLD_RUNS, _values(cut), prepare=False))
            return await _remove_runs(link, found) if found else (Pruned(), [])

    pruned, plans = await connections.ask(remove)
    await _remove_plans(connections, plans)
    return pruned


async def _remove_runs(link: Link, ids: list[str]) -> tuple[Pruned, list[str]]:
    """Removes runs that are locked; how much went, and the plans that may be unused now."""
    plans = [row[0] for row in await link.fetch(_THEIR_PLANS, (ids,))]
    await link.change(_UNCOUNT, (ids,))
    gone = {table: await link.change(f"DELETE FROM {table} WHERE run_id = ANY (%s)", (ids,)) for table in _OF_RUNS}
    count = await link.change("DELETE FROM runs WHERE id = ANY (%s)", (ids,))
    pruned = Pruned(runs=count, events=gone["run_events"], tasks=gone["human_tasks"], keys=gone["idempotency_keys"])
    return pruned, plans


async def _remove_plans(connections: Connections, plans: list[str]) -> None:
    async def remove(link: Link) -> None:
        async with link.connection.transaction():
            # Whoever makes a run with such a plan has either committed, or waits and finds it gone.
            await link.fetch("SELECT pg_advisory_xact_lock(%s)", (locks.PLANS,))
            await link.change(_UNUSED_PLANS, (plans,))

    if plans:
        await connections.ask(remove)


async def _prune_journals(connections: Connections, before: float) -> int:
    """Removes the journals of runs that ended before, and have not changed since."""
    total = 0
    for status in sorted(TERMINAL):
        place: dict[str, Any] = {"status": status, "before": before, "at": float("-inf"), "run": ""}
        while rows := await connections.read(_OLD_JOURNALS, place, prepare=False):
            found = _few(rows)
            total += await _change(connections, _THEIR_EVENTS, {"these": found, "before": before})
            _, _, at = rows[len(found) - 1]
            place |= {"at": at, "run": found[-1]}
    return total


async def _repeat(connections: Connections, statement: str, **moment: float | None) -> int:
    total = 0
    if None not in moment.values():
        while gone := await _change(connections, statement, moment):
            total += gone
    return total


async def _change(connections: Connections, statement: str, values: Values) -> int:
    return await connections.ask(lambda link: link.change(statement, values))


def _values(cut: RetentionCut) -> dict[str, Any]:
    return {"statuses": [str(status) for status in cut.run_statuses], "before": cut.runs_before}


def _few(rows: Sequence[tuple[Any, ...]]) -> list[str]:
    """Ids of the first runs, as long as their events are not too many for one transaction."""
    found: list[str] = []
    events = 0
    for run_id, seq, *_ in rows:
        events += seq
        if found and events > EVENTS:
            break
        found.append(run_id)
    return found
