"""Removing what is old enough: found by readers, removed a bounded number of rows in each transaction of the writer.

What was found is looked at again where it is removed, since a failed run may have been continued in between.
"""
# ruff: noqa: S608 - statements are put together from fixed parts; values travel as parameters

import sqlite3
from collections.abc import Mapping
from typing import Any

from kneo_serv.model.run import TERMINAL, RunStatus
from kneo_serv.store.contract import Pruned, RetentionCut
from kneo_serv.store.jsontext import dumps, loads

STRIDE = 25
"""Runs, tasks, audit events or keys in one transaction at most."""
EVENTS = 250
"""Events of several runs in one transaction; a run with more goes by itself."""

TERMINAL_TEXT = dumps(sorted(TERMINAL)).decode()
"""The terminal statuses as a JSON array, the parameter `terminal`."""
IS_OVER = "SELECT count(*) FROM runs WHERE id = :id AND status IN (SELECT value FROM json_each(:terminal))"
"""Whether a run has ended."""
_IS_OVER = "status IN (SELECT value FROM json_each(:terminal))"
_OLD = f"{_IS_OVER} AND updated_at < :before"
_WANTED = "status IN (SELECT value FROM json_each(:statuses))"
_THESE = "IN (SELECT value FROM json_each(:these))"
_OF_RUNS = ("run_events", "snapshots", "human_tasks", "timers", "run_inputs", "run_outputs", "idempotency_keys")
_THEIR_PLANS = f"SELECT json_group_array(DISTINCT plan_hash) FROM runs WHERE id {_THESE}"
_UNUSED_PLANS = (
    "DELETE FROM plans WHERE hash IN (SELECT value FROM json_each(?))"
    " AND NOT EXISTS (SELECT 1 FROM runs WHERE plan_hash = hash)"
)
_OLD_TASKS = (
    "human_tasks JOIN runs ON runs.id = run_id WHERE human_tasks.status <> 'open'"
    " AND coalesce(closed_at, human_tasks.created_at) < :before"
    " AND runs.status IN (SELECT value FROM json_each(:terminal))"
)
_OLD_AUDIT = (
    "audit_events LEFT JOIN runs ON runs.id = run_id WHERE audit_events.created_at < :before"
    " AND (runs.id IS NULL OR runs.status IN (SELECT value FROM json_each(:terminal)))"
)


def find_runs(connection: sqlite3.Connection, cut: RetentionCut) -> list[str]:
    """Ids of some runs that may go, as many as one transaction removes."""
    return _few(connection, f"SELECT id, seq FROM runs WHERE {_OLD} AND {_WANTED} LIMIT :limit", _values(cut))


def remove_runs(
    connection: sqlite3.Connection, found: list[str], *, before: float | None = None
) -> tuple[int, int, int, int]:
    """Removes runs that have ended with all that is theirs but the audit; how many runs, events, tasks and keys went.

    Those that have changed since `before` stay.
    """
    values: dict[str, Any] = {"these": dumps(found).decode(), "terminal": TERMINAL_TEXT, "before": before}
    # Looked at again: one of them may have been continued.
    still = "(:before IS NULL OR updated_at < :before)"
    query = f"SELECT json_group_array(id) FROM runs WHERE id {_THESE} AND {_IS_OVER} AND {still}"
    (values["these"],) = connection.execute(query, values).fetchone()
    if values["these"] == "[]":
        return 0, 0, 0, 0
    (plans,) = connection.execute(_THEIR_PLANS, values).fetchone()
    newest = _newest(connection)
    gone = {
        table: connection.execute(f"DELETE FROM {table} WHERE run_id {_THESE}", values).rowcount for table in _OF_RUNS
    }
    runs = connection.execute(f"DELETE FROM runs WHERE id {_THESE}", values).rowcount
    connection.execute(_UNUSED_PLANS, (plans,))
    _keep_position(connection, newest)
    return runs, gone["run_events"], gone["human_tasks"], gone["idempotency_keys"]


type Place = tuple[float, str]
"""How far the runs have been looked through: last change and id."""


def find_journals(
    connection: sqlite3.Connection, status: RunStatus, before: float, behind: Place
) -> tuple[list[str], Place | None]:
    """Ids of some runs of one status behind a place that ended before and still have events; the last one's place."""
    values = {"status": status, "before": before, "limit": STRIDE, "at": behind[0], "id": behind[1]}
    query = (
        "SELECT id, seq FROM runs INDEXED BY runs_by_status"
        " WHERE status = :status AND (updated_at, id) > (:at, :id) AND updated_at < :before"
        " AND EXISTS (SELECT 1 FROM run_events WHERE run_id = runs.id) ORDER BY updated_at, id LIMIT :limit"
    )
    found = _few(connection, query, values)
    if not found:
        return [], None
    return found, connection.execute("SELECT updated_at, id FROM runs WHERE id = ?", (found[-1],)).fetchone()


def remove_journals(connection: sqlite3.Connection, found: list[str], before: float) -> int:
    """Removes the events of runs that ended before; how many went. Half a journal could not be read: all or none."""
    newest = _newest(connection)
    values = {"these": dumps(found).decode(), "terminal": TERMINAL_TEXT, "before": before}
    gone = connection.execute(
        f"DELETE FROM run_events WHERE run_id IN (SELECT id FROM runs WHERE id {_THESE} AND {_OLD})", values
    ).rowcount
    _keep_position(connection, newest)
    return gone


def find_tasks(connection: sqlite3.Connection, before: float) -> list[str]:
    """Ids of some tasks that were closed before, of runs that have ended."""
    return _ids(connection, "human_tasks.continuation_id", _OLD_TASKS, before)


def remove_tasks(connection: sqlite3.Connection, found: list[str], before: float) -> int:
    """Removes them; how many went."""
    return _remove(connection, "human_tasks", "continuation_id", found)


def find_audit(connection: sqlite3.Connection, before: float) -> list[int]:
    """Positions of some audit events that are older and belong to no living run."""
    return _ids(connection, "audit_events.position", _OLD_AUDIT, before)


def remove_audit(connection: sqlite3.Connection, found: list[int], before: float) -> int:
    """Removes them; how many went."""
    return _remove(connection, "audit_events", "position", found)


def find_keys(connection: sqlite3.Connection, before: float) -> list[list[str]]:
    """Some idempotency keys that are older."""
    query = (
        "SELECT json_group_array(json_array(scope, principal, key)) FROM"
        " (SELECT scope, principal, key FROM idempotency_keys WHERE created_at < ? LIMIT ?)"
    )
    (found,) = connection.execute(query, (before, STRIDE)).fetchone()
    keys: list[list[str]] = loads(found)
    return keys


def remove_keys(connection: sqlite3.Connection, found: list[list[str]], before: float) -> int:
    """Removes them; how many went. One that was used anew in between stays."""
    return connection.execute(
        "DELETE FROM idempotency_keys WHERE created_at < :before AND (scope, principal, key) IN (SELECT"
        " json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]')"
        " FROM json_each(:these))",
        {"before": before, "these": dumps(found).decode()},
    ).rowcount


def measure(connection: sqlite3.Connection, cut: RetentionCut) -> Pruned:
    """How much would go now."""
    values = _values(cut)
    values |= {
        "events": cut.events_before,
        "tasks": cut.tasks_before,
        "audit": cut.audit_before,
        "keys": cut.keys_before,
    }
    going = f"SELECT id FROM runs WHERE :before IS NOT NULL AND {_OLD} AND {_WANTED}"

    def count(query: str) -> int:
        (number,) = connection.execute(f"SELECT count(*) FROM {query}", values).fetchone()
        return int(number)

    def at(text: str, moment: str) -> str:
        return text.replace(":before", f":{moment}")

    return Pruned(
        runs=count(f"({going})"),
        events=count(
            f"run_events WHERE run_id IN ({going} UNION SELECT id FROM runs WHERE :events IS NOT NULL"
            f" AND {at(_OLD, 'events')})"
        ),
        tasks=count(
            f"human_tasks WHERE run_id IN ({going}) OR (:tasks IS NOT NULL AND continuation_id IN"
            f" (SELECT human_tasks.continuation_id FROM {at(_OLD_TASKS, 'tasks')}))"
        ),
        audit=count(at(_OLD_AUDIT, "audit")) if cut.audit_before is not None else 0,
        keys=count(f"idempotency_keys WHERE run_id IN ({going}) OR created_at < coalesce(:keys, -1)"),
    )


def _values(cut: RetentionCut) -> dict[str, Any]:
    return {
        "terminal": TERMINAL_TEXT,
        "statuses": dumps(list(cut.run_statuses)).decode(),
        "before": cut.runs_before,
        "limit": STRIDE,
    }


def _few(connection: sqlite3.Connection, query: str, values: Mapping[str, Any]) -> list[str]:
    """Ids of the first runs, as long as their events are not too many for one transaction."""
    found: list[str] = []
    events = 0
    for run_id, seq in connection.execute(query, values).fetchall():
        events += seq
        if found and events > EVENTS:
            break
        found.append(run_id)
    return found


def _ids(connection: sqlite3.Connection, column: str, source: str, before: float) -> list[Any]:
    values = {"terminal": TERMINAL_TEXT, "before": before, "limit": STRIDE}
    (found,) = connection.execute(
        f"SELECT json_group_array(found) FROM (SELECT {column} AS found FROM {source} LIMIT :limit)", values
    ).fetchone()
    ids: list[Any] = loads(found)
    return ids


def _remove(connection: sqlite3.Connection, table: str, column: str, found: list[Any]) -> int:
    values = {"these": dumps(found).decode(), "terminal": TERMINAL_TEXT}
    return connection.execute(
        f"DELETE FROM {table} WHERE {column} {_THESE} AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.id = {table}.run_id"
        " AND runs.status NOT IN (SELECT value FROM json_each(:terminal)))",
        values,
    ).rowcount


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
