"""Removing what is old enough, a bounded number of rows in each transaction."""
# ruff: noqa: S608 - statements are put together from fixed parts; values travel as parameters

import sqlite3

from kneo_serv.model.run import TERMINAL
from kneo_serv.store.contract import RetentionCut
from kneo_serv.store.jsontext import dumps, loads

STRIDE = 200
"""Runs, tasks, audit events or keys in one transaction; of events ten times as many."""

_TERMINAL = dumps(sorted(TERMINAL)).decode()
_IS_OVER = "status IN (SELECT value FROM json_each(:terminal))"
_OLD_RUNS = (
    "SELECT json_group_array(id) FROM (SELECT id FROM runs"
    f" WHERE {_IS_OVER} AND status IN (SELECT value FROM json_each(:statuses))"
    " AND coalesce(completed_at, updated_at) < :before LIMIT :limit)"
)
_THEIR_PLANS = "SELECT json_group_array(DISTINCT plan_hash) FROM runs WHERE id IN (SELECT value FROM json_each(?))"
_UNUSED_PLANS = (
    "DELETE FROM plans WHERE hash IN (SELECT value FROM json_each(?))"
    " AND NOT EXISTS (SELECT 1 FROM runs WHERE plan_hash = hash)"
)
_OF_RUNS = ("run_events", "snapshots", "human_tasks", "timers", "run_inputs", "run_outputs", "idempotency_keys")
_OLD_EVENTS = (
    "DELETE FROM run_events WHERE position IN (SELECT position FROM run_events"
    f" JOIN runs ON runs.id = run_id WHERE at < :before AND {_IS_OVER}"
    " AND coalesce(completed_at, updated_at) < :before LIMIT :limit)"
)
_OLD_TASKS = (
    "DELETE FROM human_tasks WHERE continuation_id IN (SELECT human_tasks.continuation_id FROM human_tasks"
    " JOIN runs ON runs.id = run_id WHERE human_tasks.status <> 'open'"
    " AND coalesce(closed_at, human_tasks.created_at) < :before"
    " AND runs.status IN (SELECT value FROM json_each(:terminal)) LIMIT :limit)"
)
_OLD_AUDIT = (
    "DELETE FROM audit_events WHERE position IN (SELECT position FROM audit_events"
    " LEFT JOIN runs ON runs.id = run_id WHERE audit_events.created_at < :before"
    f" AND (runs.id IS NULL OR {_IS_OVER}) LIMIT :limit)"
)
_OLD_KEYS = (
    "DELETE FROM idempotency_keys WHERE (scope, principal, key) IN"
    " (SELECT scope, principal, key FROM idempotency_keys WHERE created_at < :before LIMIT :limit)"
)


def prune_runs(connection: sqlite3.Connection, cut: RetentionCut) -> tuple[int, int, int, int]:
    """Removes some old runs with all that is theirs but the audit; how many runs, events, tasks and keys went."""
    values = {
        "terminal": _TERMINAL,
        "statuses": dumps(list(cut.run_statuses)).decode(),
        "before": cut.runs_before,
        "limit": STRIDE,
    }
    (found,) = connection.execute(_OLD_RUNS, values).fetchone()
    if not loads(found):
        return 0, 0, 0, 0
    (plans,) = connection.execute(_THEIR_PLANS, (found,)).fetchone()
    newest = _newest(connection)
    gone = {
        table: connection.execute(
            f"DELETE FROM {table} WHERE run_id IN (SELECT value FROM json_each(?))",
            (found,),
        ).rowcount
        for table in _OF_RUNS
    }
    runs = connection.execute("DELETE FROM runs WHERE id IN (SELECT value FROM json_each(?))", (found,)).rowcount
    connection.execute(_UNUSED_PLANS, (plans,))
    _keep_position(connection, newest)
    return runs, gone["run_events"], gone["human_tasks"], gone["idempotency_keys"]


def prune_events(connection: sqlite3.Connection, before: float) -> int:
    """Removes some events that are older, of runs that ended before; how many went.

    A run that ended later keeps its whole journal: half of one could not be read.
    """
    newest = _newest(connection)
    gone = _prune(connection, _OLD_EVENTS, before, STRIDE * 10)
    _keep_position(connection, newest)
    return gone


def prune_tasks(connection: sqlite3.Connection, before: float) -> int:
    """Removes some tasks that were closed before, of runs that have ended; how many went."""
    return _prune(connection, _OLD_TASKS, before, STRIDE)


def prune_audit(connection: sqlite3.Connection, before: float) -> int:
    """Removes some audit events that are older and belong to no living run; how many went."""
    return _prune(connection, _OLD_AUDIT, before, STRIDE)


def prune_keys(connection: sqlite3.Connection, before: float) -> int:
    """Removes some idempotency keys that are older; how many went."""
    return connection.execute(_OLD_KEYS, {"before": before, "limit": STRIDE}).rowcount


def _prune(connection: sqlite3.Connection, statement: str, before: float, limit: int) -> int:
    return connection.execute(statement, {"terminal": _TERMINAL, "before": before, "limit": limit}).rowcount


def _newest(connection: sqlite3.Connection) -> int:
    (newest,) = connection.execute("SELECT coalesce(max(position), 0) FROM run_events").fetchone()
    return int(newest)


def _keep_position(connection: sqlite3.Connection, newest: int) -> None:
    """Leaves a mark of no run at the highest position, so that no later event gets it and a feed passes that over."""
    if _newest(connection) == newest:
        connection.execute("DELETE FROM run_events WHERE run_id = '' AND position < ?", (newest,))
    else:
        mark = "INSERT INTO run_events (position, run_id, seq, kind, at, payload) VALUES (?, '', ?, '', 0, '')"
        connection.execute(mark, (newest, newest))
