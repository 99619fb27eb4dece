"""Questions to the database, each a function of a reader's connection."""
# ruff: noqa: S608 - statements are put together from fixed parts; values travel as parameters

import sqlite3
import time
from collections.abc import Sequence
from typing import Any

from kneo_serv.model.audit import AuditEvent
from kneo_serv.model.ids import ContinuationId, RunId
from kneo_serv.model.page import AuditFilter, Page, RunFilter
from kneo_serv.model.run import RunRecord, RunStatus
from kneo_serv.model.task import HumanTask, TaskStatus
from kneo_serv.store.contract import EventRow, FeedItem, Head, Snapshot, Timer, TimerKind
from kneo_serv.store.sqlite.filters import audit_conditions, counted, order, run_conditions, statuses
from kneo_serv.store.sqlite.jsontext import dumps, loads
from kneo_serv.store.sqlite.rows import (
    AUDIT,
    EVENT,
    FEED,
    RUN,
    TASK,
    TIMER,
    audit_event,
    human_task,
    run_record,
    seen_phase,
)

_ALL = -1
_MANY = 2_000
_RUNS_AND_TEXTS = (
    f"SELECT {', '.join(RUN.names)} FROM runs"
    " JOIN run_inputs ON run_inputs.run_id = runs.id LEFT JOIN run_outputs ON run_outputs.run_id = runs.id"
)
_TASKS = f"SELECT {', '.join(TASK.names)} FROM human_tasks"


def one_text(connection: sqlite3.Connection, query: str, *parameters: str) -> str | None:
    """First column of the first row."""
    row = connection.execute(query, parameters).fetchone()
    return None if row is None else row[0]


def events(connection: sqlite3.Connection, run_id: RunId, after: int, limit: int | None) -> list[EventRow]:
    """Events of a run, in order."""
    rows = EVENT.fetch(
        connection,
        "SELECT seq, kind, at, payload, public FROM run_events WHERE run_id = ? AND seq > ? ORDER BY seq LIMIT ?",
        (run_id, after, _ALL if limit is None else limit),
    )
    return [EventRow(*row) for row in rows]


def snapshot(connection: sqlite3.Connection, run_id: RunId) -> Snapshot | None:
    """The newest snapshot of a run."""
    row = connection.execute("SELECT seq, state FROM snapshots WHERE run_id = ?", (run_id,)).fetchone()
    return None if row is None else Snapshot(*row)


def feed(connection: sqlite3.Connection, after: int, limit: int) -> list[FeedItem]:
    """Events of all runs in the order of commits, which with one writer at a time is the order of positions."""
    rows = FEED.fetch(
        connection,
        "SELECT position, run_id, seq, kind, at, payload, public FROM run_events"
        " WHERE position > ? AND run_id <> '' ORDER BY position LIMIT ?",
        (after, limit),
    )
    return [FeedItem(position, run_id, EventRow(*event)) for position, run_id, *event in rows]


def heads(connection: sqlite3.Connection, run_ids: Sequence[RunId]) -> list[Head]:
    """Where runs stand, in the order of the ids."""
    (text,) = connection.execute(
        "SELECT json_group_array(json_array(runs.id, seq, status, phase, fence, lease_expires_at))"
        " FROM json_each(?) AS wanted CROSS JOIN runs ON runs.id = wanted.value",
        (dumps(list(run_ids)).decode(),),
    ).fetchone()
    now = time.time()
    return [
        Head(id_, seq, RunStatus(status), seen_phase(phase, expires, now), fence)
        for id_, seq, status, phase, fence, expires in loads(text)
    ]


def get_run(connection: sqlite3.Connection, run_id: RunId) -> RunRecord | None:
    """One run."""
    rows = RUN.fetch(connection, f"{_RUNS_AND_TEXTS} WHERE runs.id = ?", (run_id,))
    return run_record(rows[0], time.time()) if rows else None


def list_runs(connection: sqlite3.Connection, filters: RunFilter, page: Page) -> list[RunRecord]:
    """A page of runs."""
    chosen, values = _page(connection, filters, page)
    # The page is cut from narrow rows; long texts are read only for what is on it.
    rows = RUN.fetch(connection, f"{_RUNS_AND_TEXTS} WHERE runs.id IN ({chosen}) {order(page)} LIMIT -1", values)
    now = time.time()
    return [run_record(row, now) for row in rows]


def count_runs(connection: sqlite3.Connection, filters: RunFilter) -> int:
    """How many runs pass."""
    if counted(filters):
        where = "WHERE status IN (SELECT value FROM json_each(?))" if filters.status else ""
        query = f"SELECT coalesce(sum(runs), 0) FROM run_counts {where}"
        values: Sequence[str] = [dumps(statuses(filters)).decode()] if filters.status else []
    else:
        where, values = run_conditions(filters)
        outputs = "LEFT JOIN run_outputs ON run_outputs.run_id = runs.id" if filters.q else ""
        query = f"SELECT count(*) FROM runs {outputs} {where}"
    (count,) = connection.execute(query, values).fetchone()
    return int(count)


def get_task(connection: sqlite3.Connection, continuation_id: ContinuationId) -> HumanTask | None:
    """One human task."""
    rows = TASK.fetch(connection, f"{_TASKS} WHERE continuation_id = ?", (continuation_id,))
    return human_task(rows[0]) if rows else None


def list_tasks(
    connection: sqlite3.Connection, run_id: RunId | None, status: TaskStatus | None, page: Page | None
) -> list[HumanTask]:
    """Human tasks, oldest first."""
    where, values = _task_conditions(run_id, status)
    limit, offset = (_ALL, 0) if page is None else (page.limit, page.offset)
    rows = TASK.fetch(
        connection,
        f"{_TASKS} {where} ORDER BY created_at, continuation_id LIMIT ? OFFSET ?",
        (*values, limit, offset),
    )
    return [human_task(row) for row in rows]


def count_tasks(connection: sqlite3.Connection, run_id: RunId | None, status: TaskStatus | None) -> int:
    """How many human tasks."""
    where, values = _task_conditions(run_id, status)
    (count,) = connection.execute(f"SELECT count(*) FROM human_tasks {where}", values).fetchone()
    return int(count)


def due_timers(connection: sqlite3.Connection, kinds: Sequence[TimerKind], now: float, limit: int) -> list[Timer]:
    """Timers that are due, earliest first."""
    rows = TIMER.fetch(
        connection,
        "SELECT run_id, kind, key, due_at FROM timers"
        " WHERE due_at < ? AND kind IN (SELECT value FROM json_each(?)) ORDER BY due_at, run_id, kind, key LIMIT ?",
        (now, dumps(list(kinds)).decode(), limit),
    )
    return [Timer(run_id, TimerKind(kind), key, due_at) for run_id, kind, key, due_at in rows]


def next_due(connection: sqlite3.Connection) -> float | None:
    """When the earliest timer is due."""
    (due,) = connection.execute("SELECT min(due_at) FROM timers").fetchone()
    return None if due is None else float(due)


def list_audit(connection: sqlite3.Connection, filters: AuditFilter, limit: int, offset: int) -> list[AuditEvent]:
    """Audit events, newest first."""
    where, values = audit_conditions(filters)
    rows = AUDIT.fetch(
        connection,
        f"SELECT {', '.join(AUDIT.names)} FROM audit_events {where}"
        " ORDER BY created_at DESC, position DESC LIMIT ? OFFSET ?",
        (*values, limit, offset),
    )
    return [audit_event(row) for row in rows]


def count_audit(connection: sqlite3.Connection, filters: AuditFilter) -> int:
    """How many audit events."""
    where, values = audit_conditions(filters)
    (count,) = connection.execute(f"SELECT count(*) FROM audit_events {where}", values).fetchone()
    return int(count)


def list_documents(connection: sqlite3.Connection, kind: str) -> dict[str, str]:
    """Documents of a kind by name."""
    return dict(connection.execute("SELECT name, text FROM documents WHERE kind = ? ORDER BY name", (kind,)).fetchall())


def _page(connection: sqlite3.Connection, filters: RunFilter, page: Page) -> tuple[str, list[Any]]:
    """A query for the ids of a page, and its parameters."""
    if page.sort == "updated_at" and counted(filters):
        # Each status has its own stretch of the index, sorted already: SQLite merges them without sorting the table.
        wanted = list(dict.fromkeys(statuses(filters) or RunStatus))
        parts = " UNION ALL ".join("SELECT id, updated_at FROM runs WHERE status = ?" for _ in wanted)
        query = f"SELECT id FROM ({parts} {order(page)} LIMIT ? OFFSET ?)"
        return query, [*wanted, page.limit, page.offset]
    # SQLite takes every status for a rare one; sorting half the table is dearer than passing over the other half.
    frequent = bool(filters.status) and count_runs(connection, RunFilter(status=filters.status)) > _MANY
    where, values = run_conditions(filters, status_by_index=not frequent)
    outputs = "LEFT JOIN run_outputs ON run_outputs.run_id = runs.id" if filters.q else ""
    query = f"SELECT id FROM runs {outputs} {where} {order(page)} LIMIT ? OFFSET ?"
    return query, [*values, page.limit, page.offset]


def _task_conditions(run_id: RunId | None, status: TaskStatus | None) -> tuple[str, list[str]]:
    parts = [f"{column} = ?" for column, value in (("run_id", run_id), ("status", status)) if value is not None]
    values = [str(value) for value in (run_id, status) if value is not None]
    return (f"WHERE {' AND '.join(parts)}" if parts else ""), values
