"""A database of an earlier version goes on as if it had been made by this one, and so do the processes of then."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from kneo_serv.model.ids import Owner
from kneo_serv.model.page import NO_TENANT, Page, RunFilter
from kneo_serv.model.run import RunStatus
from kneo_serv.platform.doctor import check_journals
from kneo_serv.store.contract import RetentionCut
from kneo_serv.store.lanes import lane_name
from kneo_serv.store.postgres import PostgresStore
from kneo_serv.store.postgres.requests import batch_text, creation
from kneo_serv.store.postgres.schema import MIGRATIONS, SCHEMA_VERSION
from kneo_serv.testing.store_suite.samples import append, ended, new_run, run_id
from tests.store.postgres.cluster import Cluster

VERSION_1 = Path(__file__).with_name("version_1.sql")
"""Dumped of the program that had one migration: a workflow that is over, one that failed (tenant north), one that waits
for a person (tenant north), one that a person has answered, and one that is queued."""
VERSION_2 = Path(__file__).with_name("version_2.sql")
"""Dumped of the program that had two migrations: a run that waits for a worker (tenant north), one whose worker is lost
and one that is over (both tenant south), a schedule, and a duty that was claimed."""
ODD = 'Zoë "2"\t\x01\\/\x7f'
"""The name of a tenant with all that JSON writes in more than one way."""

# Without what a version of PostgreSQL words in its own way, and without the record of the migrations themselves.
_DESCRIBE = """
    SELECT 'column', relname::text || '.' || attname, format_type(atttypid, atttypmod) || ' ' || attnotnull
            || coalesce(' ' || collname, '') || coalesce(' ' || pg_get_expr(adbin, adrelid), '')
            || ' ' || attidentity::text
        FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        LEFT JOIN pg_collation ON pg_collation.oid = attcollation
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
    UNION ALL
    SELECT 'relation', relname::text, relkind::text || ' ' || coalesce(reloptions::text, '')
        FROM pg_class WHERE relnamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL
    SELECT 'constraint', conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace AND contype <> 'n'
    UNION ALL
    SELECT 'trigger', tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL
    SELECT 'function', proname, pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
"""

_WAITING = """
    SELECT 1 FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def _described(url: str) -> set[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return set(connection.execute(_DESCRIBE.encode()).fetchall())


@contextmanager
def _restored(postgres: Cluster, dump: Path) -> Iterator[str]:
    url = postgres.new_database()
    with psycopg.connect(url) as connection:
        connection.execute(dump.read_bytes())
    yield url
    postgres.drop_database(url)


@pytest.fixture
def version_1(postgres: Cluster) -> Iterator[str]:
    """Address of a database as version 1 left it."""
    with _restored(postgres, VERSION_1) as url:
        yield url


@pytest.fixture
def version_2(postgres: Cluster) -> Iterator[str]:
    """Address of a database as version 2 left it."""
    with _restored(postgres, VERSION_2) as url:
        yield url


@pytest.fixture(params=["version_1", "version_2"])
def earlier(request: pytest.FixtureRequest) -> str:
    """Address of a database as an earlier version left it."""
    return str(request.getfixturevalue(request.param))


def _version(url: str) -> int:
    with psycopg.connect(url) as connection:
        ((version,),) = connection.execute("SELECT max(version) FROM kneo_migrations").fetchall()
    return int(version)


def _lanes(url: str) -> dict[str, tuple[str, int]]:
    with psycopg.connect(url) as connection:
        return {run: (lane, order) for run, lane, order in connection.execute("SELECT id, lane, priority FROM runs")}


async def _opened(url: str) -> PostgresStore:
    store = PostgresStore(url)
    await store.open()
    return store


def test_migrations_that_were_released_make_what_they_made_then(postgres: Cluster, earlier: str) -> None:
    url = postgres.new_database()
    with psycopg.connect(url) as connection:
        connection.execute(
            "CREATE TABLE kneo_migrations"
            " (version bigint PRIMARY KEY, name text NOT NULL, applied_at double precision NOT NULL)"
        )
        for migration in MIGRATIONS[: _version(earlier)]:
            for statement in migration.statements:
                connection.execute(statement.encode())
    assert _described(url) == _described(earlier)
    postgres.drop_database(url)


def test_a_lifted_schema_is_that_of_a_new_database(postgres_url: str, earlier: str) -> None:
    async def lift() -> None:
        store = await _opened(earlier)
        assert (await store.health()).schema_version == SCHEMA_VERSION
        await store.close()

    asyncio.run(lift())
    assert _described(earlier) == _described(postgres_url)


def test_a_lifted_database_goes_on_with_all_its_runs(version_1: str) -> None:
    async def go_on() -> None:
        store = await _opened(version_1)
        assert await check_journals(store) == []
        gauges = await store.gauges()
        found = {status: number for status, number in gauges.runs.items() if number}
        assert found == {RunStatus.COMPLETED: 2, RunStatus.FAILED: 1, RunStatus.BLOCKED: 1, RunStatus.RUNNING: 1}
        assert (gauges.queued, gauges.open_tasks) == (1, 1)
        assert await store.next_due() is not None
        assert await store.last_position() == (await store.feed())[-1].position
        assert await store.create(new_run("new", tenant="north")) is False
        assert await store.count_runs(RunFilter(tenant="north")) == 3
        over = RetentionCut(runs_before=(await store.now()) + 1, run_statuses=tuple(RunStatus))
        assert (await store.prune(over)).runs == 3
        left = await store.list_runs(RunFilter(tenant=NO_TENANT), Page())
        assert [run.status for run in left] == [RunStatus.RUNNING]
        await store.close()

    asyncio.run(go_on())


def test_functions_of_earlier_versions_stay_for_the_processes_that_call_them(postgres_url: str, earlier: str) -> None:
    def functions(url: str) -> set[tuple[Any, ...]]:
        return {row for row in _described(url) if row[0] == "function"}

    assert functions(earlier) <= functions(postgres_url)


def test_a_process_that_was_there_before_a_migration_works_on(earlier: str) -> None:
    async def work_on() -> None:
        with psycopg.connect(earlier, autocommit=True) as former:
            # Its statements are prepared on the schema of then.
            for _ in range(8):
                former.execute("SELECT min(due_at) FROM timers")
            store = await _opened(earlier)
            await store.create(new_run("a"))
            await store.append(append("a", 1, ended()))
            assert former.execute("SELECT min(due_at) FROM timers").fetchone() is not None
            (status,) = former.execute("SELECT status FROM runs WHERE id = %s", (run_id("a"),)).fetchone() or ("",)
            assert status == "completed"
            await store.close()

    asyncio.run(work_on())


def test_a_migration_and_who_writes_meanwhile_never_wait_for_each_other(version_1: str) -> None:
    async def meet() -> None:
        with psycopg.connect(version_1) as former:
            # What the writing function does with an append: first the row of the run, and the rest after it.
            (run,) = former.execute("SELECT id FROM runs ORDER BY id LIMIT 1 FOR UPDATE").fetchone() or ("",)
            opening = asyncio.create_task(_opened(version_1))
            async with asyncio.timeout(60), await psycopg.AsyncConnection.connect(version_1, autocommit=True) as watch:
                while not await (await watch.execute(_WAITING)).fetchall():
                    pass
            former.execute("INSERT INTO timers (run_id, kind, key, due_at) VALUES (%s, 'retry', 'x', 5)", (run,))
            former.commit()
        store = await opening
        assert (await store.health()).schema_version == SCHEMA_VERSION
        await store.close()

    asyncio.run(meet())


def test_runs_of_before_there_were_lanes_stand_in_that_of_their_tenant(version_2: str) -> None:
    with psycopg.connect(version_2) as connection:
        connection.execute("UPDATE runs SET tenant = %s WHERE tenant = 'north'", (ODD,))

    async def go_on() -> None:
        store = await _opened(version_2)
        south = (lane_name("default", "south", ()), 0)
        assert _lanes(version_2) == {
            run_id("waits"): (lane_name("default", ODD, ()), 0),
            run_id("leased"): south,
            run_id("over"): south,
        }
        assert await store.waiting(tenant=ODD, at_most=9) == 1
        claims = await store.claim(Owner("here:boot:1:1"), lease_seconds=60, limit=9)
        assert {(claim.run_id, claim.takeover) for claim in claims} == {
            (run_id("waits"), False),
            (run_id("leased"), True),
        }
        assert [found.name for found in await store.due_schedules()] == ["nightly"]
        await store.close()

    asyncio.run(go_on())


def test_a_run_that_a_process_without_lanes_makes_stands_in_that_of_its_tenant(version_2: str) -> None:
    async def go_on() -> None:
        store = await _opened(version_2)
        await store.create(new_run("urgent", tenant=ODD, queue="urgent", priority=7))
        with psycopg.connect(version_2) as former:
            # The function of then does not read the last two items, which a process of then does not give.
            for name, tenant, owner in (("theirs", ODD, None), ("atwork", ODD, "x"), ("nobodys", None, None)):
                new = new_run(name, tenant=tenant, lease_owner=owner)
                former.execute("SELECT kneo_write_1(%s::jsonb)", (batch_text([creation(new)], again=False),))
        lanes = _lanes(version_2)
        assert lanes[run_id("urgent")] == (lane_name("urgent", ODD, ()), 7)
        assert lanes[run_id("theirs")] == lanes[run_id("atwork")] == (lane_name("default", ODD, ()), 0)
        assert lanes[run_id("nobodys")] == (lane_name("default", None, ()), 0)
        assert await store.waiting(tenant=ODD, queue="default", at_most=9) == 1
        await store.close()

    asyncio.run(go_on())
