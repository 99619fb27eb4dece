"""Lists go by an index and sort nothing, so that a page costs the same however much there is."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kneo_serv.model.page import AuditFilter, Cursor, Page, RunFilter
from kneo_serv.model.run import RunStatus
from kneo_serv.model.task import TaskStatus
from kneo_serv.store.filters import task_conditions, task_sort
from kneo_serv.store.sqlite import SQLiteStore, pages
from kneo_serv.store.sqlite.gauges import gauges
from kneo_serv.store.sqlite.queries import FEED_SPAN
from kneo_serv.store.sqlite.schema import migrate
from kneo_serv.testing.store_suite.samples import new_run, run_id

RUNS = 10_000
AFTER = Cursor(5_000.0, "run_5000")
SORTED = "USE TEMP B-TREE FOR ORDER BY"


@pytest.fixture(scope="module")
def full() -> Iterator[sqlite3.Connection]:
    """A database with many runs of two tenants, and as many open tasks and audit events."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        fill(connection, RUNS)
        yield connection


def fill(connection: sqlite3.Connection, runs: int) -> None:
    migrate(connection, Path("memory"))
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
    status = "CASE i % 10 WHEN 0 THEN 'failed' WHEN 1 THEN 'blocked' ELSE 'completed' END"
    tenant = "CASE i % 2 WHEN 0 THEN 'north' END"
    connection.execute(
        f"{numbers} INSERT INTO runs (id, status, phase, seq, updated_at, fence, takeovers, input_tokens,"
        " output_tokens, created_at, plan_hash, target, session_id, workflow_name, tenant, error_type)"
        f" SELECT 'run_' || i, {status}, 'ended', 1, i, 0, 0, 0, 0, i, 'p', 'workflow', 's' || (i / 3), 'flow',"
        f" {tenant}, CASE i % 100 WHEN 0 THEN 'Oops' END FROM n",
        (runs,),
    )
    connection.execute(
        f"{numbers} INSERT INTO human_tasks (continuation_id, run_id, key, step_id, request, input_text, created_at,"
        " status, expires_at, escalated_at, tenant) SELECT 'cont_' || i, 'run_' || i, 'k', 's', '{}', 't', i, 'open',"
        f" CASE i % 2 WHEN 0 THEN i + 60 END, CASE i % 5 WHEN 0 THEN i END, {tenant} FROM n",
        (runs,),
    )
    connection.execute(
        f"{numbers} INSERT INTO audit_events (id, event_type, created_at, run_id, metadata, tenant)"
        f" SELECT 'aud_' || i, CASE i % 2 WHEN 0 THEN 'run.created' ELSE 'other' END, i, 'run_' || i, '{{}}', {tenant}"
        " FROM n",
        (runs,),
    )


def plan(connection: sqlite3.Connection, query: pages.Query) -> str:
    text, values = query
    rows = connection.execute(f"EXPLAIN QUERY PLAN {text}", values).fetchall()
    return "\n".join(row[3] for row in rows)


TENANT = RunFilter(tenant="north")


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("after", [None, AFTER])
@pytest.mark.parametrize(
    ("filters", "sort", "index"),
    [
        (RunFilter(), "updated_at", "runs_by_status"),
        (RunFilter(), "created_at", "runs_by_created_at"),
        (RunFilter(status=("completed", "paused")), "updated_at", "runs_by_status"),
        (RunFilter(status=("completed",)), "created_at", "runs_by_created_at"),
        (RunFilter(workflow_name="flow"), "updated_at", "runs_by_status"),
        (RunFilter(workflow_kind="graph", has_error=False), "updated_at", "runs_by_status"),
        (RunFilter(has_error=True), "updated_at", "runs_with_error"),
        (RunFilter(session_id="s7"), "created_at", "runs_by_session"),
        (TENANT, "updated_at", "runs_by_tenant_status"),
        (TENANT, "created_at", "runs_by_tenant"),
        (RunFilter(tenant="north", status=("completed",)), "updated_at", "runs_by_tenant_status"),
        (RunFilter(tenant="north", status=("completed",), workflow_name="flow"), "created_at", "runs_by_tenant"),
    ],
)
def test_a_list_of_runs_follows_an_index(
    full: sqlite3.Connection, filters: RunFilter, sort: str, index: str, after: Cursor | None, descending: bool
) -> None:
    page = Page(sort=sort, descending=descending, after=after)
    query = pages.run_page(full, filters, page)
    told = plan(full, query)
    assert index in told, told
    assert "SCAN runs\n" not in f"{told}\n", told
    if filters.session_id is None:
        assert SORTED not in told, told
    if after is not None and index != "runs_by_session":
        assert f"({sort},id){'<' if descending else '>'}(?,?)" in told, told


def tasks(**wanted: Any) -> Callable[[Page], pages.Query]:
    given = {"run_id": None, "status": TaskStatus.OPEN, "workflow_kind": None, "escalated": None, "tenant": None}
    conditions = task_conditions(**{**given, **wanted})
    return lambda page: pages.task_page(conditions, task_sort(page), page)


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("after", [None, Cursor(5_000.0, "cont_5000"), Cursor(None, "cont_5000")])
@pytest.mark.parametrize("escalated", [None, True, False])
@pytest.mark.parametrize(
    ("tenant", "sort", "index"),
    [
        (None, "created_at", "human_tasks_by_status"),
        (None, "expires_at", "human_tasks_open"),
        ("north", "created_at", "human_tasks_open_by_tenant"),
        ("north", "expires_at", "human_tasks_due_by_tenant"),
    ],
)
def test_a_list_of_open_tasks_follows_an_index(
    full: sqlite3.Connection,
    tenant: str | None,
    sort: str,
    index: str,
    escalated: bool | None,
    after: Cursor | None,
    descending: bool,
) -> None:
    if after is not None and after.value is None and sort == "created_at":
        return
    page = Page(sort=sort, descending=descending, after=after)
    told = plan(full, tasks(escalated=escalated, tenant=tenant)(page))
    assert index in told, told
    # The two stretches are put side by side; what is sorted then is a page or two of ids.
    assert told.count(SORTED) <= (1 if sort == "expires_at" else 0), told


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("after", [None, Cursor(5_000.0, "aud_5000")])
@pytest.mark.parametrize(
    ("filters", "index"),
    [
        (AuditFilter(), "audit_events_by_age"),
        (AuditFilter(created_after=7.0), "audit_events_by_age"),
        (AuditFilter(event_type="run.created"), "audit_events_by_type"),
        (AuditFilter(tenant="north"), "audit_events_by_tenant"),
        (AuditFilter(tenant="north", event_type="run.created"), "audit_events_by_tenant"),
    ],
)
def test_a_list_of_audit_events_follows_an_index(
    full: sqlite3.Connection, filters: AuditFilter, index: str, after: Cursor | None, descending: bool
) -> None:
    told = plan(full, pages.audit_page(filters, Page(descending=descending, after=after)))
    assert SORTED not in told, told
    assert index in told, told


def steps_of(connection: sqlite3.Connection, work: Callable[[], object]) -> int:
    """Instructions that SQLite needs, in hundreds: unlike seconds, they are the same on every machine."""
    count = 0

    def step() -> int:
        nonlocal count
        count += 1
        return 0

    connection.set_progress_handler(step, 100)
    work()
    connection.set_progress_handler(None, 100)
    return max(count, 1)


def run_query(filters: RunFilter, page: Page) -> Callable[[sqlite3.Connection], object]:
    def run(connection: sqlite3.Connection) -> object:
        return connection.execute(*pages.run_page(connection, filters, page)).fetchall()

    return run


def task_query(page: Page, **wanted: Any) -> Callable[[sqlite3.Connection], object]:
    return lambda connection: connection.execute(*tasks(**wanted)(page)).fetchall()


def audit_query(filters: AuditFilter, page: Page) -> Callable[[sqlite3.Connection], object]:
    return lambda connection: connection.execute(*pages.audit_page(filters, page)).fetchall()


QUESTIONS: dict[str, Callable[[sqlite3.Connection], object]] = {
    "runs": run_query(RunFilter(), Page(limit=20)),
    "runs by age": run_query(RunFilter(), Page(limit=20, sort="created_at")),
    "runs by status": run_query(RunFilter(status=("completed",)), Page(limit=20)),
    "runs of a tenant": run_query(TENANT, Page(limit=20)),
    "runs of a session": run_query(RunFilter(session_id="s7"), Page(limit=20)),
    "tasks": task_query(Page(limit=20)),
    "tasks by deadline": task_query(Page(limit=20, sort="expires_at"), escalated=False),
    "tasks of a tenant": task_query(Page(limit=20, sort="expires_at"), tenant="north"),
    "audit": audit_query(AuditFilter(), Page(limit=20)),
    "audit of a tenant": audit_query(AuditFilter(tenant="north"), Page(limit=20)),
    "counts": lambda connection: pages.count_runs(connection, RunFilter(status=("failed",)), None),
    "counts of a tenant": lambda connection: pages.count_runs(connection, TENANT, None),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_page_of_ten_thousand_costs_as_much_as_one_of_a_hundred(full: sqlite3.Connection, name: str) -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as small:
        fill(small, 100)
        few = steps_of(small, lambda: QUESTIONS[name](small))
    many = steps_of(full, lambda: QUESTIONS[name](full))
    assert many <= 2 * few + 2, (few, many)


@pytest.mark.parametrize("sort", ["created_at", "updated_at"])
def test_a_deep_page_costs_as_much_as_the_first(full: sqlite3.Connection, sort: str) -> None:
    first = run_query(RunFilter(), Page(limit=20, sort=sort))
    deep = run_query(RunFilter(), Page(limit=20, sort=sort, after=Cursor(40.0, "run_40")))
    assert steps_of(full, lambda: deep(full)) <= 2 * steps_of(full, lambda: first(full)) + 2


def test_gauges_do_not_count_what_is_over(full: sqlite3.Connection) -> None:
    assert sum(gauges(full).runs.values()) == RUNS
    full.execute("UPDATE human_tasks SET status = 'answered' WHERE continuation_id <> 'cont_7'")
    told = gauges(full)
    assert (told.open_tasks, told.oldest_open_task_at, told.queued) == (1, 7.0, 0)
    assert told.runs[RunStatus.FAILED] == RUNS // 10
    assert steps_of(full, lambda: gauges(full)) < 20
    full.execute("UPDATE human_tasks SET status = 'open'")


def test_a_tenants_feed_passes_over_what_is_of_others(tmp_path: Path) -> None:
    async def look() -> None:
        store = SQLiteStore(tmp_path / "runs.sqlite")
        await store.open()
        await store.create(new_run("others"))
        with closing(sqlite3.connect(store.path)) as connection:
            connection.execute(
                "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
                " INSERT INTO run_events (run_id, seq, kind, at, payload) SELECT ?, i, 'k', i, '{}' FROM n",
                (FEED_SPAN * 3, run_id("others")),
            )
            connection.commit()
        for name in ("one", "two", "three"):
            await store.create(new_run(name, tenant="north"))
        found = await store.feed(tenant="north", limit=2)
        assert [item.run_id for item in found] == [run_id("one"), run_id("two")]
        rest = await store.feed(tenant="north", after=found[-1].position)
        assert [item.run_id for item in rest] == [run_id("three")]
        assert await store.feed(tenant="south") == []
        assert len(await store.feed(tenant="", limit=FEED_SPAN * 4)) == FEED_SPAN * 3
        await store.close()

    asyncio.run(look())
