"""Migrations of PostgreSQL: once, by whomever, and never over somebody else's tables."""

import asyncio
import logging
import subprocess
import sys

import psycopg
import pytest

from kneo_serv.errors import InvalidRequestError, StoreError, StoreSchemaError
from kneo_serv.store.postgres import PostgresStore
from kneo_serv.store.postgres.schema import MIGRATIONS, SCHEMA_VERSION
from kneo_serv.testing.store_suite.samples import new_run, run_id
from tests.store.postgres.cluster import Cluster

_OPEN = """
import asyncio, logging, sys
from kneo_serv.store.postgres import PostgresStore

logging.basicConfig(level=logging.INFO, stream=sys.stdout)

async def main():
    store = PostgresStore(sys.argv[1])
    await store.open()
    print("version", (await store.health()).schema_version)
    await store.close()

asyncio.run(main())
"""


def _open(url: str) -> None:
    async def prove() -> None:
        store = PostgresStore(url)
        try:
            await store.open()
        finally:
            await store.close()

    asyncio.run(prove())


def _tables(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    return {name for (name,) in rows}


def test_of_processes_that_start_at_once_one_makes_the_schema(postgres: Cluster) -> None:
    url = postgres.new_database()
    processes = [
        subprocess.Popen([sys.executable, "-c", _OPEN, url], stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    told = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    assert all(f"version {SCHEMA_VERSION}" in text for text in told)
    assert sum(text.count("Applied migration") for text in told) == len(MIGRATIONS)
    postgres.drop_database(url)


def test_each_migration_is_logged_in_one_line_without_a_password(
    postgres: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    url = postgres.new_database()
    with caplog.at_level(logging.INFO, "kneo_serv.store"):
        _open(url.replace("kneo@", "kneo:hunter2@"))
        _open(url)
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(" to ")[0] for line in lines] == [
        f"Applied migration {migration.version} ({migration.name})" for migration in MIGRATIONS
    ]
    assert "hunter2" not in caplog.text
    postgres.drop_database(url)


def test_a_newer_schema_is_left_alone(postgres: Cluster, postgres_url: str) -> None:
    postgres.execute(
        f"INSERT INTO kneo_migrations VALUES ({SCHEMA_VERSION + 1}, 'later', 0)", postgres_url.rpartition("/")[2]
    )
    with pytest.raises(StoreSchemaError, match="which a newer kneo-serv made"):
        _open(postgres_url)


@pytest.mark.parametrize(
    ("table", "told"), [("schema_migrations", "kneo-serv 1.x"), ("runs", "has a table runs that another program made")]
)
def test_tables_of_another_program_are_left_alone(postgres: Cluster, table: str, told: str) -> None:
    url = postgres.new_database()
    postgres.execute(f"CREATE TABLE {table} (a int)", url.rpartition("/")[2])
    with pytest.raises(StoreSchemaError, match=told):
        _open(url)
    assert _tables(url) == {table}
    postgres.drop_database(url)


def test_a_schema_of_its_own_lies_beside_tables_of_others(postgres: Cluster) -> None:
    url = postgres.new_database()
    for statement in ("CREATE TABLE runs (a int)", "CREATE SCHEMA kneo"):
        postgres.execute(statement, url.rpartition("/")[2])
    own = f"{url}?options=-csearch_path%3Dkneo"

    async def prove() -> None:
        store = PostgresStore(own)
        await store.open()
        await store.create(new_run("a"))
        assert [item.run_id for item in await store.feed()] == [run_id("a")]
        await store.close()

    asyncio.run(prove())
    assert _tables(url) == {"runs"}
    postgres.drop_database(url)


def test_a_database_that_cannot_keep_every_text_is_refused(postgres: Cluster) -> None:
    url = postgres.new_database(encoding="LATIN1")
    with pytest.raises(StoreError, match="encoding LATIN1"):
        _open(url)
    postgres.drop_database(url)


def test_a_database_whose_transactions_would_not_see_each_other_is_refused(postgres: Cluster) -> None:
    url = postgres.new_database()
    name = url.rpartition("/")[2]
    postgres.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'")
    with pytest.raises(StoreError, match="default_transaction_isolation"):
        _open(url)
    postgres.drop_database(url)


def test_a_user_without_rights_is_told_so(postgres: Cluster) -> None:
    url = postgres.new_database()
    name = url.rpartition("/")[2]
    postgres.execute("DROP ROLE IF EXISTS guest")
    postgres.execute("CREATE ROLE guest LOGIN")
    postgres.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC", name)
    with pytest.raises(StoreError, match=r"This user may not do that .*docs/postgres\.md"):
        _open(url.replace("kneo@", "guest@"))
    postgres.drop_database(url)
    with pytest.raises(StoreError, match="There is no database"):
        _open(url)


@pytest.mark.parametrize("url", ["postgresql://kneo:hunter2@[::1/db", "postgresql://kneo:hunter2@db/kneo?sslmoed=off"])
def test_an_address_that_cannot_be_read_is_never_quoted(url: str) -> None:
    with pytest.raises(InvalidRequestError, match="cannot be read") as caught:
        PostgresStore(url)
    assert "hunter2" not in f"{caught.value}{caught.value.__cause__}"


def test_the_pool_has_bounds() -> None:
    for size in (1, 201):
        with pytest.raises(InvalidRequestError, match="Use 2 to 200"):
            PostgresStore("postgresql://localhost/kneo", pool_size=size)
