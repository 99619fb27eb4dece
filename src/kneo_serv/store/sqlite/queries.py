"""Questions to the database, each a function of a reader's connection."""
# ruff: noqa: S608 - statements are put together from fixed parts; values travel as parameters

import sqlite3
import time
from collections.abc import Sequence
from typing import Any

from kneo_serv.model.audit import AuditEvent
from kneo_serv.model.ids import ContinuationId, RunId
from kneo_serv.model.page import NO_TENANT, AuditFilter, Page, RunFilter
from kneo_serv.model.run import RunRecord, RunStatus
from kneo_serv.model.task import HumanTask
from kneo_serv.store.contract import EventRow, FeedItem, Head, Snapshot, Timer, TimerKind
from kneo_serv.store.filters import Condition, audit_sort, run_sort, task_sort
from kneo_serv.store.jsontext import dumps, loads
from kneo_serv.store.sqlite import pages
from kneo_serv.store.sqlite.packing import unpack
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
_RUNS_AND_TEXTS = (
    f"SELECT {', '.join(RUN.names)} FROM runs"
    " JOIN run_inputs ON run_inputs.run_id = runs.id LEFT JOIN run_outputs ON run_outputs.run_id = runs.id"
)
_RUNS_ALONE = (
    "SELECT *, '' AS input_text, NULL AS public_input_text, NULL AS output_text, NULL AS public_output_text,"
    " '[]' AS tags, '{}' AS metadata FROM runs"
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
    return [_event(*row) for row in rows]


def snapshot(connection: sqlite3.Connection, run_id: RunId) -> Snapshot | None:
    """The newest snapshot of a run."""
    row = connection.execute("SELECT seq, state FROM snapshots WHERE run_id = ?", (run_id,)).fetchone()
    return None if row is None else Snapshot(row[0], unpack(row[1]))


FEED_SPAN = 20_000
"""Positions that are looked through at a time for the events of one tenant."""


def feed(
    connection: sqlite3.Connection, after: int, limit: int, tenant: str | None = None
) -> tuple[list[FeedItem], int | None]:
    """Events in the order of commits, which with one writer at a time is the order of positions.

    For a tenant only so many positions are looked through: then the second value says after which one to go on.
    """
    parts = ["position > ?", "run_id <> ''"]
    values: list[Any] = [after]
    more = None
    if tenant is not None:
        owner = "IS NULL" if tenant == NO_TENANT else "= ?"
        parts.append(f"(SELECT tenant FROM runs WHERE runs.id = run_id) {owner}")
        values += [tenant] if tenant else []
        if last_position(connection) > after + FEED_SPAN:
            more = after + FEED_SPAN
            parts.append("position <= ?")
            values.append(more)
    rows = FEED.fetch(
        connection,
        "SELECT position, run_id, seq, kind, at, payload, public FROM run_events"
        f" WHERE {' AND '.join(parts)} ORDER BY position LIMIT ?",
        (*values, limit),
    )
    return [FeedItem(position, run_id, _event(*event)) for position, run_id, *event in rows], more


def _event(seq: int, kind: str, at: float, payload: str, public: str | None) -> EventRow:
    return EventRow(seq, kind, at, unpack(payload), None if public is None else unpack(public))


def last_position(connection: sqlite3.Connection) -> int:
    """The highest position so far."""
    (newest,) = connection.execute("SELECT coalesce(max(position), 0) FROM run_events").fetchone()
    return int(newest)


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


def list_runs(connection: sqlite3.Connection, filters: RunFilter, page: Page, *, texts: bool) -> list[RunRecord]:
    """A page of runs."""
    chosen, values = pages.run_page(connection, filters, page)
    # The page is cut from narrow rows; long texts are read only for what is on it.
    source = _RUNS_AND_TEXTS if texts else _RUNS_ALONE
    rows = RUN.fetch(connection, f"{source} WHERE runs.id IN ({chosen}) {run_sort(page).sql} LIMIT -1", values)
    now = time.time()
    return [run_record(row, now) for row in rows]


def get_task(connection: sqlite3.Connection, continuation_id: ContinuationId) -> HumanTask | None:
    """One human task."""
    rows = TASK.fetch(connection, f"{_TASKS} WHERE continuation_id = ?", (continuation_id,))
    return human_task(rows[0]) if rows else None


def list_tasks(connection: sqlite3.Connection, conditions: Sequence[Condition], page: Page | None) -> list[HumanTask]:
    """Human tasks; all of them without a page."""
    page = page or Page(limit=_ALL)
    sort = task_sort(page)
    chosen, values = pages.task_page(conditions, sort, page)
    rows = TASK.fetch(connection, f"{_TASKS} WHERE continuation_id IN ({chosen}) {sort.sql} LIMIT -1", values)
    return [human_task(row) for row in rows]


def due_timers(connection: sqlite3.Connection, kinds: Sequence[TimerKind], now: float, limit: int) -> list[Timer]:
    """Timers that are due, earliest first."""
    # Each kind by itself, so that what is due of another kind, and left alone, is not passed over.
    one = f"SELECT * FROM (SELECT {', '.join(TIMER.names)} FROM timers WHERE kind = ? AND due_at < ?"
    one += " ORDER BY due_at LIMIT ?)"
    found: list[list[Any]] = []
    for kind in dict.fromkeys(kinds):
        found += TIMER.fetch(connection, one, (kind, now, limit))
    timers = [Timer(run_id, TimerKind(kind), key, due_at) for run_id, kind, key, due_at in found]
    return sorted(timers, key=lambda timer: (timer.due_at, timer.run_id, timer.kind, timer.key))[:limit]


def next_due(connection: sqlite3.Connection, kinds: Sequence[TimerKind]) -> float | None:
    """When the earliest timer of these kinds is due."""
    dues = [
        connection.execute("SELECT min(due_at) FROM timers WHERE kind = ?", (kind,)).fetchone()[0] for kind in kinds
    ]
    return min((float(due) for due in dues if due is not None), default=None)


def list_audit(connection: sqlite3.Connection, filters: AuditFilter, page: Page) -> list[AuditEvent]:
    """A page of audit events."""
    chosen, values = pages.audit_page(filters, page)
    rows = AUDIT.fetch(
        connection,
        f"SELECT {', '.join(AUDIT.names)} FROM audit_events WHERE position IN ({chosen})"
        f" {audit_sort(page).sql} LIMIT -1",
        values,
    )
    return [audit_event(row) for row in rows]


def swap_document(connection: sqlite3.Connection, kind: str, name: str, text: str | None) -> str | None:
    """Sets a document, or removes it with None; what was there before. Inside a transaction of the writer."""
    previous = one_text(connection, "SELECT text FROM documents WHERE kind = ? AND name = ?", kind, name)
    if text is None:
        connection.execute("DELETE FROM documents WHERE kind = ? AND name = ?", (kind, name))
    else:
        connection.execute("INSERT OR REPLACE INTO documents (kind, name, text) VALUES (?, ?, ?)", (kind, name, text))
    return previous


def change_document(
    connection: sqlite3.Connection, kind: str, name: str, before: str | None, after: str | None
) -> bool:
    """Sets a document, or removes it with None, where it still reads `before`. Inside a transaction of the writer."""
    if one_text(connection, "SELECT text FROM documents WHERE kind = ? AND name = ?", kind, name) != before:
        return False
    swap_document(connection, kind, name, after)
    return True


def list_documents(connection: sqlite3.Connection, kind: str) -> dict[str, str]:
    """Documents of a kind by name."""
    return dict(connection.execute("SELECT name, text FROM documents WHERE kind = ? ORDER BY name", (kind,)).fetchall())
