"""What the PostgreSQL store asks for is found by indexes, whatever the number of runs."""

import asyncio
from dataclasses import replace

import psycopg
import pytest

from kneo_serv.model.page import AuditFilter, Page, RunFilter
from kneo_serv.model.run import Phase, RunStatus
from kneo_serv.model.task import TaskStatus
from kneo_serv.store.filters import task_conditions
from kneo_serv.store.postgres import PostgresStore, pages, queries, retention
from kneo_serv.store.postgres.gauges import fold_counts
from kneo_serv.testing.store_suite.samples import START, append, audit, new_run, task

_RUNS = 4_000
_STATUSES = (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.BLOCKED, RunStatus.RUNNING)


def _queries() -> dict[str, pages.Query]:
    page = Page(limit=20)
    open_tasks = task_conditions(None, TaskStatus.OPEN, None, None, None)
    return {
        "runs": pages.run_page(RunFilter(), page, texts=True),
        "deep": pages.run_page(RunFilter(), replace(page, offset=200), texts=False),
        "by creation": pages.run_page(RunFilter(), replace(page, sort="created_at"), texts=True),
        "of a status": pages.run_page(RunFilter(status=("failed",)), page, texts=True),
        "of a session": pages.run_page(RunFilter(session_id="s7"), page, texts=True),
        "of a tenant": pages.run_page(RunFilter(tenant="north"), page, texts=True),
        "tasks": pages.task_page(open_tasks, page),
        "tasks by deadline": pages.task_page(open_tasks, replace(page, sort="expires_at")),
        "audit": pages.audit_page(AuditFilter(), page),
    }


def test_every_page_goes_by_an_index(postgres_url: str) -> None:
    async def fill() -> None:
        store = PostgresStore(postgres_url)
        await store.open()
        await asyncio.gather(
            *(
                store.create(
                    new_run(
                        str(number),
                        created_at=START + number,
                        updated_at=START + number,
                        session_id=f"s{number % 500}",
                        tenant="north" if number % 50 == 0 else None,
                        status=_STATUSES[number % 4],
                        phase=Phase.WAITING_HUMAN,
                    )
                )
                for number in range(_RUNS)
            )
        )
        for first in range(0, _RUNS, 500):
            rows = tuple(task(f"{number}", "3", created_at=START + number) for number in range(first, first + 500))
            lines = tuple(audit(f"{number}", created_at=START + number) for number in range(first, first + 500))
            await store.append(append("3", 1 + first // 500, opened=rows, audit=lines))
        await store.close()

    asyncio.run(fill())
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("ANALYZE")
        for name, (text, values) in _queries().items():
            query = f"EXPLAIN {text.replace('%', '%%').replace('?', '%s')}"
            plan = "\n".join(row[0] for row in connection.execute(query.encode(), values, prepare=False))
            # Texts of so few runs may well be read whole.
            for table in ("runs", "human_tasks", "audit_events"):
                assert f"Seq Scan on {table} " not in plan, (name, plan)


def test_what_is_old_and_what_is_due_is_found_by_an_index(postgres_url: str) -> None:
    moments = {"before": START, "tasks": START, "audit": START, "keys": START, "moment": START, "at": 0.0, "run": ""}
    values = {**moments, "statuses": ["failed"], "status": "failed", "kinds": ["retry"], "limit": 100}
    asked = {
        "runs": retention._OLD_RUNS,
        "journals": retention._OLD_JOURNALS,
        "keys": retention._OLD_KEYS,
        "timers": queries._DUE,
        "schedules": "SELECT record FROM schedules WHERE look_at <= %(moment)s ORDER BY look_at, tenant, name LIMIT 9",
    }
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        # With no rows to count by, the planner is asked for what it could do.
        connection.execute("SET enable_seqscan TO off")
        for name, text in asked.items():
            plan = "\n".join(row[0] for row in connection.execute(f"EXPLAIN {text}".encode(), values))
            assert "Seq Scan" not in plan, (name, plan)
            if name in ("runs", "journals"):
                assert "runs_by_status" in plan, (name, plan)
                assert "updated_at <" in plan.partition("Index Cond")[2].partition("\n")[0], (name, plan)
            if name == "timers":
                assert "timers_by_kind" in plan, (name, plan)
                assert "due_at <" in plan.partition("timers_by_kind")[2].partition("Index Cond")[2], (name, plan)


@pytest.mark.parametrize("count", [1, 300])
def test_counts_of_runs_stay_exact_while_they_are_added_up(postgres_url: str, count: int) -> None:
    async def prove() -> None:
        stores = [PostgresStore(postgres_url) for _ in range(2)]
        for store in stores:
            await store.open()

        async def live(number: int) -> None:
            store = stores[number % 2]
            await store.create(new_run(str(number), tenant="north" if number % 2 else None))
            await store.append(append(str(number), 1))

        await asyncio.gather(*(live(number) for number in range(count)))
        await asyncio.gather(*(fold_counts(store._connections) for store in stores * 4))
        assert await stores[0].count_runs(RunFilter()) == count
        assert await stores[1].count_runs(RunFilter(status=("running",))) == count
        assert await stores[1].count_runs(RunFilter(status=("created",))) == 0
        assert await stores[0].count_runs(RunFilter(tenant="north")) == count // 2
        with psycopg.connect(postgres_url) as connection:
            (rows,) = connection.execute("SELECT count(*) FROM run_counts").fetchone() or (0,)
        assert rows <= 2
        for store in stores:
            await store.close()

    asyncio.run(prove())
