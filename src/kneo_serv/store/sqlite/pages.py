"""Pages of lists: queries for the ids on a page that read about as many rows as the page has.

SQLite takes every condition for a selective one, and sorting half a table is dearer than passing over the other half.
So each query names the index that it goes by.
"""
# ruff: noqa: S608 - statements are put together from fixed parts; values travel as parameters

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from kneo_serv.model.page import AuditFilter, Page, RunFilter
from kneo_serv.model.run import RunStatus
from kneo_serv.model.task import TaskStatus
from kneo_serv.store.filters import (
    Condition,
    Sort,
    audit_conditions,
    audit_sort,
    run_conditions,
    run_sort,
    statuses,
    where,
)

type Query = tuple[str, list[Any]]
"""A statement and its parameters."""

MANY = 2_000
"""So many rows are found by one index and sorted; beyond that, an index in the order of the list is followed."""

_FINDERS = {
    "session_id": "runs_by_session",
    "agent_name": "runs_by_agent",
    "workflow_name": "runs_by_workflow",
    "error_type": "runs_with_error",
    "created_at": "runs_by_created_at",
}
"""Columns of `runs` by whose conditions few rows may be found, the most selective first; and their indexes."""


def run_page(connection: sqlite3.Connection, filters: RunFilter, page: Page) -> Query:
    """A query for the ids of runs on a page, in order.

    Raises:
        InvalidRequestError: runs are not sorted so, or the cursor belongs to another sort.
    """
    sort = run_sort(page)
    conditions = run_conditions(filters)
    behind = sort.behind(page)
    end, bounds = f"{sort.sql} LIMIT ? OFFSET ?", [page.limit, page.offset]
    index = _finder(connection, filters, conditions, sort)
    if index is None and sort.column == "updated_at":
        query, values = _by_status(filters, [*conditions, *behind])
        return f"SELECT id FROM ({query} {end})", [*values, *bounds]
    text, values = where([*conditions, *behind])
    if index is None and sort.column == "created_at":
        index = "runs_by_tenant" if filters.tenant else "runs_by_created_at"
    return f"SELECT id FROM {_runs(filters, index)} {text} {end}", [*values, *bounds]


def _by_status(filters: RunFilter, conditions: Sequence[Condition]) -> Query:
    # Each status has its own stretch of the index, sorted already: SQLite merges them without sorting the table.
    runs = _runs(filters, "runs_by_tenant_status" if filters.tenant else "runs_by_status")
    text, values = where([condition for condition in conditions if condition.column != "status"])
    more = text.replace("WHERE", "AND", 1)
    wanted = statuses(filters) or list(RunStatus)
    parts = [f"SELECT id, updated_at FROM {runs} WHERE status = ? {more}" for _ in wanted]
    return " UNION ALL ".join(parts), [value for status in wanted for value in (status, *values)]


def _finder(
    connection: sqlite3.Connection, filters: RunFilter, conditions: Sequence[Condition], sort: Sort
) -> str | None:
    """The index that leaves few rows to be looked at and sorted; None where no one does."""
    for column, index in _FINDERS.items():
        wanted = [condition for condition in conditions if condition.column == column]
        if not wanted or (column == "error_type" and not filters.has_error):
            continue
        if _at_most(connection, _runs(RunFilter(), index), wanted, MANY + 1) <= MANY:
            return index
    # In the order of `updated_at` each status is a stretch of an index anyway.
    if filters.status and sort.column != "updated_at" and _counted(connection, filters) <= MANY:
        return "runs_by_tenant_status" if filters.tenant else "runs_by_status"
    return None


def _runs(filters: RunFilter, index: str | None = None) -> str:
    """What to select from."""
    hint = "" if index is None else f" INDEXED BY {index}"
    return f"runs{hint} LEFT JOIN run_outputs ON run_outputs.run_id = runs.id" if filters.q else f"runs{hint}"


def count_runs(connection: sqlite3.Connection, filters: RunFilter, at_most: int | None) -> int:
    """How many runs pass; at most one more than `at_most`."""
    if filters.is_counted:
        counted = _counted(connection, filters)
        return counted if at_most is None else min(counted, at_most + 1)
    return _at_most(connection, _runs(filters), run_conditions(filters), _bound(at_most))


def _counted(connection: sqlite3.Connection, filters: RunFilter) -> int:
    """How many runs have one of the statuses (and the tenant): as it was kept while they came and went."""
    kept = RunFilter(status=filters.status, tenant=filters.tenant or None)
    conditions = run_conditions(kept)
    text, values = where(conditions)
    table = "run_counts" if kept.tenant is None else "tenant_run_counts"
    (count,) = connection.execute(f"SELECT coalesce(sum(runs), 0) FROM {table} {text}", values).fetchone()
    return int(count)


def task_page(conditions: Sequence[Condition], sort: Sort, page: Page) -> Query:
    """A query for the ids of human tasks on a page, in order."""
    end = f"{sort.direction}, continuation_id {sort.direction} LIMIT ? OFFSET ?"
    source = f"human_tasks {_task_index(conditions, sort.column)}"
    if not sort.missing:
        text, values = where([*conditions, *sort.behind(page)])
        query = f"SELECT continuation_id FROM {source} {text} ORDER BY {sort.column} {end}"
        return query, [*values, page.limit, page.offset]
    # Two stretches of one index: those with a value, and behind them those without.
    reach = page.limit + page.offset if page.limit >= 0 else page.limit
    parts, given = [], []
    present = Condition("expires_at", "expires_at IS NOT NULL")
    absent = Condition("expires_at", "expires_at IS NULL")
    if page.after is None or page.after.value is not None:
        behind = Sort(sort.column, sort.descending, sort.id).behind(page)
        parts.append((0, [*conditions, present, *behind], "expires_at"))
        parts.append((1, [*conditions, absent], "NULL"))
    else:
        parts.append((1, [*conditions, *sort.behind(page)], "NULL"))
    texts = []
    for place, wanted, moment in parts:
        text, values = where(wanted)
        order = f"{moment} {sort.direction}, " if moment != "NULL" else ""
        texts.append(
            f"SELECT * FROM (SELECT continuation_id, {place} AS place, {moment} AS moment FROM {source} {text}"
            f" ORDER BY {order}continuation_id {sort.direction} LIMIT ?)"
        )
        given += [*values, reach]
    query = f"SELECT continuation_id FROM ({' UNION ALL '.join(texts)}) ORDER BY place, moment {end}"
    return query, [*given, page.limit, page.offset]


def count_tasks(connection: sqlite3.Connection, conditions: Sequence[Condition], at_most: int | None) -> int:
    """How many human tasks pass; at most one more than `at_most`."""
    source = f"human_tasks {_task_index(conditions, 'expires_at')}"
    return _at_most(connection, source, conditions, _bound(at_most))


def _task_index(conditions: Iterable[Condition], sort: str) -> str:
    """The index of `human_tasks` to go by; nothing where SQLite may choose."""
    by_column = {condition.column: condition for condition in conditions}
    if "run_id" in by_column:
        return "INDEXED BY human_tasks_by_run"
    status = by_column.get("status")
    tenant = by_column.get("tenant")
    if status is None:
        return "INDEXED BY human_tasks_by_age" if sort == "created_at" else ""
    if status.text != f"status = '{TaskStatus.OPEN.value}'":
        return "INDEXED BY human_tasks_by_status" if sort == "created_at" else ""
    if tenant is not None and tenant.values:
        return f"INDEXED BY human_tasks_{'open' if sort == 'created_at' else 'due'}_by_tenant"
    return f"INDEXED BY human_tasks_{'by_status' if sort == 'created_at' else 'open'}"


def audit_page(filters: AuditFilter, page: Page) -> Query:
    """A query for the positions of audit events on a page, in order.

    Raises:
        InvalidRequestError: audit events are not sorted so.
    """
    sort = audit_sort(page)
    behind = []
    if page.after is not None:
        # The place of an event that retention has removed is not known: it is passed over with those of its moment.
        end = 0 if sort.descending else 2**63 - 1
        text = (
            f"(created_at, position) {'<' if sort.descending else '>'}"
            f" (?, coalesce((SELECT position FROM audit_events WHERE id = ?), {end}))"
        )
        behind.append(Condition("created_at", text, (page.after.value, page.after.id)))
    text, values = where([*audit_conditions(filters), *behind])
    query = f"SELECT position FROM {_audit_events(filters)} {text} {sort.sql} LIMIT ? OFFSET ?"
    return query, [*values, page.limit, page.offset]


def count_audit(connection: sqlite3.Connection, filters: AuditFilter, at_most: int | None) -> int:
    """How many audit events pass; at most one more than `at_most`."""
    return _at_most(connection, _audit_events(filters), audit_conditions(filters), _bound(at_most))


def _audit_events(filters: AuditFilter) -> str:
    if filters.run_id is not None:
        index = "run"
    elif filters.tenant:
        # What a tenant's list costs does not depend on how much others have.
        index = "tenant"
    else:
        index = "age" if filters.event_type is None else "type"
    return f"audit_events INDEXED BY audit_events_by_{index}"


def _at_most(connection: sqlite3.Connection, table: str, conditions: Sequence[Condition], limit: int) -> int:
    text, values = where(conditions)
    query = f"SELECT count(*) FROM (SELECT 1 FROM {table} {text} LIMIT ?)"
    (count,) = connection.execute(query, [*values, limit]).fetchone()
    return int(count)


def _bound(at_most: int | None) -> int:
    return -1 if at_most is None else at_most + 1
