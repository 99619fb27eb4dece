"""Pages of lists, and counts: statements that read about as many rows as they give.

Limits stand in the text of a statement, and these statements are never prepared: so the planner sees every value, and
chooses the index by what it knows of them.
"""
# ruff: noqa: S608 - statements are put together from fixed parts; values travel as parameters

from collections.abc import Sequence
from typing import Any

from kneo_serv.model.page import AuditFilter, Page, RunFilter
from kneo_serv.model.run import RunStatus
from kneo_serv.store.filters import (
    Condition,
    Sort,
    audit_conditions,
    audit_sort,
    run_conditions,
    run_sort,
    statuses,
    task_sort,
    where,
)
from kneo_serv.store.postgres.connections import Connections
from kneo_serv.store.postgres.rows import AUDIT, LIGHT_RUN, RUN, TASK

type Query = tuple[str, list[Any]]
"""A statement with question marks, and the values that stand for them."""

_OUTPUTS = "LEFT JOIN run_outputs ON run_outputs.run_id = runs.id"
_INPUTS = "JOIN run_inputs ON run_inputs.run_id = runs.id"
_LARGEST = 2**63 - 1


async def fetch(connections: Connections, query: Query) -> list[tuple[Any, ...]]:
    """Rows of a query."""
    text, values = query
    return await connections.read(text.replace("%", "%%").replace("?", "%s"), values, prepare=False)


def run_page(filters: RunFilter, page: Page, *, texts: bool) -> Query:
    """A query for a page of runs.

    Raises:
        InvalidRequestError: runs are not sorted so, or the cursor belongs to another sort.
    """
    sort = run_sort(page)
    chosen, values = _chosen_runs(filters, page, sort)
    # The page is cut from narrow rows; long texts are read only for what is on it.
    columns, source = (RUN, f"runs {_INPUTS} {_OUTPUTS}") if texts else (LIGHT_RUN, "runs")
    return f"SELECT {columns} FROM {source} WHERE runs.id IN ({chosen}) {_qualified(sort)}", values


def _chosen_runs(filters: RunFilter, page: Page, sort: Sort) -> Query:
    conditions = [*run_conditions(filters, like="ILIKE"), *sort.behind(page)]
    source = f"runs {_OUTPUTS}" if filters.q else "runs"
    end = f"{sort.sql} LIMIT {page.limit} OFFSET {page.offset}"
    if sort.column != "updated_at":
        text, values = where(conditions)
        return f"SELECT id FROM {source} {text} {end}", values
    # Each status has its own stretch of the index, sorted already.
    text, values = where([condition for condition in conditions if condition.column != "status"])
    more = text.replace("WHERE", "AND", 1)
    wanted = statuses(filters) or list(RunStatus)
    reach = f"{sort.sql} LIMIT {page.limit + page.offset}"
    stretches = [f"(SELECT id, updated_at FROM {source} WHERE status = ? {more} {reach})" for _ in wanted]
    given = [value for status in wanted for value in (status, *values)]
    return f"SELECT id FROM ({' UNION ALL '.join(stretches)}) AS stretches {end}", given


def _qualified(sort: Sort) -> str:
    return Sort(f"runs.{sort.column}", sort.descending, f"runs.{sort.id}", sort.missing).sql


async def count_runs(connections: Connections, filters: RunFilter, at_most: int | None) -> int:
    """How many runs pass; at most one more than `at_most`."""
    if filters.is_counted:
        # As it was kept while they came and went.
        of_whom = Condition("tenant", "tenant IS NULL") if filters.tenant is None else None
        kept = run_conditions(RunFilter(status=filters.status, tenant=filters.tenant))
        text, values = where([*kept, of_whom] if of_whom else kept)
        rows = await fetch(connections, (f"SELECT coalesce(sum(runs), 0)::bigint FROM run_counts {text}", values))
        counted = int(rows[0][0])
        return counted if at_most is None else min(counted, at_most + 1)
    source = f"runs {_OUTPUTS}" if filters.q else "runs"
    return await _at_most(connections, source, run_conditions(filters, like="ILIKE"), at_most)


def task_page(conditions: Sequence[Condition], page: Page | None) -> Query:
    """A query for a page of human tasks; for all of them without a page. Raises InvalidRequestError as `run_page`."""
    sort = task_sort(page or Page())
    limit = "" if page is None else f"LIMIT {page.limit} OFFSET {page.offset}"
    if not sort.missing or page is None:
        text, values = where([*conditions, *(sort.behind(page) if page else ())])
        return f"SELECT {TASK} FROM human_tasks {text} {sort.sql} {limit}", values
    # Two stretches of one index: those with a value, and behind them those without.
    reach = f"LIMIT {page.limit + page.offset}"
    end = f"{sort.direction}, continuation_id {sort.direction}"
    present = Condition(sort.column, f"{sort.column} IS NOT NULL")
    absent = Condition(sort.column, f"{sort.column} IS NULL")
    parts: list[tuple[int, list[Condition], str]] = []
    if page.after is None or page.after.value is not None:
        behind = Sort(sort.column, sort.descending, sort.id).behind(page)
        parts.append((0, [*conditions, present, *behind], f"{sort.column} {end}"))
        parts.append((1, [*conditions, absent], f"continuation_id {sort.direction}"))
    else:
        parts.append((1, [*conditions, *sort.behind(page)], f"continuation_id {sort.direction}"))
    texts, given = [], []
    for place, wanted, order in parts:
        text, values = where(wanted)
        texts.append(f"(SELECT {TASK}, {place} AS place FROM human_tasks {text} ORDER BY {order} {reach})")
        given += values
    stretches = " UNION ALL ".join(texts)
    return f"SELECT {TASK} FROM ({stretches}) AS stretches ORDER BY place, {sort.column} {end} {limit}", given


async def count_tasks(connections: Connections, conditions: Sequence[Condition], at_most: int | None) -> int:
    """How many human tasks pass; at most one more than `at_most`."""
    return await _at_most(connections, "human_tasks", conditions, at_most)


def audit_page(filters: AuditFilter, page: Page) -> Query:
    """A query for a page of audit events. Raises InvalidRequestError: audit events are not sorted so."""
    sort = audit_sort(page)
    behind = []
    if page.after is not None:
        # The place of an event that retention has removed is not known: it is passed over with those of its moment.
        end = 0 if sort.descending else _LARGEST
        text = (
            f"(created_at, position) {'<' if sort.descending else '>'}"
            f" (?, coalesce((SELECT position FROM audit_events WHERE id = ?), {end}))"
        )
        behind.append(Condition("created_at", text, (page.after.value, page.after.id)))
    text, values = where([*audit_conditions(filters), *behind])
    return f"SELECT {AUDIT} FROM audit_events {text} {sort.sql} LIMIT {page.limit} OFFSET {page.offset}", values


async def count_audit(connections: Connections, filters: AuditFilter, at_most: int | None) -> int:
    """How many audit events pass; at most one more than `at_most`."""
    return await _at_most(connections, "audit_events", audit_conditions(filters), at_most)


async def _at_most(connections: Connections, table: str, conditions: Sequence[Condition], at_most: int | None) -> int:
    text, values = where(conditions)
    limit = "" if at_most is None else f"LIMIT {at_most + 1}"
    rows = await fetch(connections, (f"SELECT count(*) FROM (SELECT 1 FROM {table} {text} {limit}) AS found", values))
    return int(rows[0][0])
