"""How much there is just now: kept counters, and counts along indexes that hold only what is open."""
# ruff: noqa: S608 - statements are put together from fixed parts; values travel as parameters

import sqlite3
import time
from collections import Counter

from kneo_serv.model.run import RunStatus
from kneo_serv.store.contract import Gauges
from kneo_serv.store.jsontext import dumps
from kneo_serv.store.lanes import lane_of
from kneo_serv.store.sqlite.claims import WAITS
from kneo_serv.store.sqlite.leases import FREE, dead_owners

_LIVE = (
    "lease_owner IS NOT NULL AND lease_expires_at > :now"
    " AND lease_owner NOT IN (SELECT value FROM json_each(:dead)) AND phase = 'runnable'"
)
_COUNTS = (
    "SELECT"
    " (SELECT count(*) FROM runs INDEXED BY runs_runnable WHERE phase = 'runnable'),"
    f" (SELECT count(*) FROM runs INDEXED BY runs_leased WHERE {_LIVE}),"
    f" (SELECT created_at FROM runs INDEXED BY runs_runnable WHERE {FREE} ORDER BY created_at, id LIMIT 1),"
    " (SELECT count(*) FROM human_tasks INDEXED BY human_tasks_open WHERE status = 'open'),"
    " (SELECT created_at FROM human_tasks INDEXED BY human_tasks_by_status WHERE status = 'open'"
    " ORDER BY created_at LIMIT 1)"
)

_LANES = f"SELECT lane, count(*) FROM runs INDEXED BY runs_waiting WHERE {WAITS} GROUP BY lane"


def gauges(connection: sqlite3.Connection) -> Gauges:
    """How much there is just now."""
    statuses = dict.fromkeys(RunStatus, 0)
    statuses |= {RunStatus(status): runs for status, runs in connection.execute("SELECT status, runs FROM run_counts")}
    dead = dumps(dead_owners(connection)).decode()
    queues: Counter[str] = Counter()
    for lane, number in connection.execute(_LANES):
        queues[lane_of(lane).queue] += number
    runnable, leases, oldest, tasks, oldest_task = connection.execute(
        _COUNTS, {"now": time.time(), "dead": dead}
    ).fetchone()
    return Gauges(
        runs=statuses,
        queued=runnable - leases,
        oldest_queued_at=oldest,
        open_tasks=tasks,
        oldest_open_task_at=oldest_task,
        leases=leases,
        queues=dict(queues),
    )
