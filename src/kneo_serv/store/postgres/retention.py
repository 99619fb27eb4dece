"""Removing what is old enough, a bounded number of rows in each transaction."""
# ruff: noqa: S608 - statements are put together from fixed parts; values travel as parameters

from collections.abc import Sequence

from kneo_serv.model.run import TERMINAL
from kneo_serv.store.contract import Pruned, RetentionCut
from kneo_serv.store.postgres import locks
from kneo_serv.store.postgres.connections import Connections, Link, Values

STRIDE = 200
"""Runs, tasks, audit events or keys in one transaction."""

# In the words of the index that finds them.
_OVER = f"status IN ({', '.join(repr(str(status)) for status in sorted(TERMINAL))})"
_END = "coalesce(completed_at, updated_at)"
_OLD_RUNS = (
    f"SELECT id FROM runs WHERE {_OVER} AND status = ANY (%(statuses)s) AND {_END} < %(before)s"
    f" ORDER BY {_END}, id LIMIT {STRIDE} FOR UPDATE SKIP LOCKED"
)
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
_OLD_JOURNALS = (
    f"SELECT id, {_END} FROM runs WHERE {_OVER} AND {_END} < %(before)s AND ({_END}, id) > (%(end)s, %(run)s)"
    f" ORDER BY {_END}, id LIMIT {STRIDE}"
)
_THEIR_EVENTS = "DELETE FROM run_events WHERE run_id = ANY (%s) AND at < %s"
_OLD_TASKS = f"""
    DELETE FROM human_tasks WHERE continuation_id IN (
        SELECT human_tasks.continuation_id FROM human_tasks JOIN runs ON runs.id = run_id
        WHERE human_tasks.status <> 'open' AND coalesce(closed_at, human_tasks.created_at) < %s AND runs.{_OVER}
        LIMIT {STRIDE})
"""
_OLD_AUDIT = f"""
    DELETE FROM audit_events WHERE position IN (
        SELECT position FROM audit_events LEFT JOIN runs ON runs.id = run_id
        WHERE audit_events.created_at < %s AND (runs.id IS NULL OR {_OVER}) LIMIT {STRIDE})
"""
_OLD_KEYS = f"""
    DELETE FROM idempotency_keys WHERE (scope, principal, key) IN (
        SELECT scope, principal, key FROM idempotency_keys WHERE created_at < %s LIMIT {STRIDE})
"""


async def prune(connections: Connections, cut: RetentionCut) -> Pruned:
    """Removes what is old enough, in transactions of some hundred rows between which others get their turn."""
    runs = events = tasks = keys = 0
    while cut.runs_before is not None:
        gone = await _prune_runs(connections, cut.runs_before, cut.run_statuses)
        runs, events, tasks, keys = runs + gone.runs, events + gone.events, tasks + gone.tasks, keys + gone.keys
        if not gone.runs:
            break
    if cut.events_before is not None:
        events += await _prune_events(connections, cut.events_before)
    tasks += await _repeat(connections, _OLD_TASKS, cut.tasks_before)
    audit = await _repeat(connections, _OLD_AUDIT, cut.audit_before)
    keys += await _repeat(connections, _OLD_KEYS, cut.keys_before)
    return Pruned(runs=runs, events=events, tasks=tasks, audit=audit, keys=keys)


async def _prune_runs(connections: Connections, before: float, statuses: Sequence[str]) -> Pruned:
    """Removes some old runs with all that is theirs but the audit."""
    values = {"statuses": [str(status) for status in statuses], "before": before}

    async def remove(link: Link) -> tuple[Pruned, list[str]]:
        async with link.connection.transaction():
            ids = [row[0] for row in await link.fetch(_OLD_RUNS, values, prepare=False)]
            if not ids:
                return Pruned(), []
            plans = [row[0] for row in await link.fetch(_THEIR_PLANS, (ids,))]
            await link.change(_UNCOUNT, (ids,))
            gone = {
                table: await link.change(f"DELETE FROM {table} WHERE run_id = ANY (%s)", (ids,)) for table in _OF_RUNS
            }
            count = await link.change("DELETE FROM runs WHERE id = ANY (%s)", (ids,))
        pruned = Pruned(runs=count, events=gone["run_events"], tasks=gone["human_tasks"], keys=gone["idempotency_keys"])
        return pruned, plans

    async def remove_plans(link: Link) -> None:
        async with link.connection.transaction():
            # Whoever makes a run with such a plan has either committed, or waits and finds it gone.
            await link.fetch("SELECT pg_advisory_xact_lock(%s)", (locks.PLANS,))
            await link.change(_UNUSED_PLANS, (plans,))

    pruned, plans = await connections.ask(remove)
    if plans:
        await connections.ask(remove_plans)
    return pruned


async def _prune_events(connections: Connections, before: float) -> int:
    """Removes events that are older, of runs that ended before.

    A run that ended later keeps its whole journal: half of one could not be read.
    """
    total = 0
    place: dict[str, float | str] = {"before": before, "end": float("-inf"), "run": ""}
    while rows := await connections.read(_OLD_JOURNALS, place, prepare=False):
        total += await _change(connections, _THEIR_EVENTS, ([row[0] for row in rows], before))
        place |= {"run": rows[-1][0], "end": rows[-1][1]}
    return total


async def _repeat(connections: Connections, statement: str, before: float | None) -> int:
    total = 0
    if before is not None:
        while gone := await _change(connections, statement, (before,)):
            total += gone
    return total


async def _change(connections: Connections, statement: str, values: Values) -> int:
    return await connections.ask(lambda link: link.change(statement, values))
