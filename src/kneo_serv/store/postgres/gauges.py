"""How much there is just now: kept counters, and counts along indexes that hold only what is open."""
# ruff: noqa: S608 - statements are put together from fixed parts; values travel as parameters

from collections import Counter

from kneo_serv.model.run import RunStatus
from kneo_serv.store.contract import Gauges
from kneo_serv.store.jsontext import loads
from kneo_serv.store.lanes import lane_of
from kneo_serv.store.postgres import locks
from kneo_serv.store.postgres.claims import STANDS
from kneo_serv.store.postgres.connections import Connections
from kneo_serv.store.postgres.leases import FREE
from kneo_serv.store.postgres.rows import NOW

_GAUGES = f"""
    SELECT
    (SELECT jsonb_object_agg(status, runs)::text FROM
        (SELECT status, sum(runs) AS runs FROM run_counts WHERE tenant IS NULL GROUP BY status) AS counted),
    (SELECT count(*) FROM runs WHERE phase = 'runnable'),
    (SELECT count(*) FROM runs WHERE lease_owner IS NOT NULL AND lease_expires_at > {NOW} AND phase = 'runnable'),
    (SELECT created_at FROM runs WHERE {FREE} ORDER BY created_at, id LIMIT 1),
    (SELECT count(*) FROM human_tasks WHERE status = 'open'),
    (SELECT created_at FROM human_tasks WHERE status = 'open' ORDER BY created_at LIMIT 1)
"""
_WAITING = f"SELECT lane, count(*) FROM runs WHERE {STANDS} GROUP BY lane"
_FOLD = f"""
    WITH mine AS MATERIALIZED (SELECT pg_try_advisory_xact_lock({locks.COUNTS}) AS held),
    gone AS (DELETE FROM run_counts WHERE (SELECT held FROM mine) RETURNING tenant, status, runs)
    INSERT INTO run_counts (tenant, status, runs)
        SELECT tenant, status, sum(runs) FROM gone GROUP BY tenant, status HAVING sum(runs) <> 0
"""


async def gauges(connections: Connections) -> Gauges:
    """How much there is just now."""
    ((counts, runnable, leases, oldest, tasks, oldest_task),) = await connections.read(_GAUGES, prepare=False)
    queues: Counter[str] = Counter()
    for lane, number in await connections.read(_WAITING, prepare=False):
        queues[lane_of(lane).queue] += int(number)
    statuses = dict.fromkeys(RunStatus, 0)
    statuses |= {RunStatus(status): int(runs) for status, runs in (loads(counts) if counts else {}).items()}
    return Gauges(
        runs=statuses,
        queued=runnable - leases,
        oldest_queued_at=oldest,
        open_tasks=tasks,
        oldest_open_task_at=oldest_task,
        leases=leases,
        queues=dict(queues),
    )


async def fold_counts(connections: Connections) -> None:
    """Adds up the changes of the counts of runs; of several who are at it at a time one does it.

    The sums are right at every moment, also while this is done twice: each row is removed by one of them only.
    """
    await connections.read(_FOLD, prepare=False)
