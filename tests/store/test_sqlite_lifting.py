"""A file of an earlier version goes on as if it had been made by this one."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

from kneo_serv.model.ids import Owner
from kneo_serv.model.page import NO_TENANT, AuditFilter, Page, RunFilter
from kneo_serv.model.run import RunStatus
from kneo_serv.platform.doctor import check_journals
from kneo_serv.store.sqlite import SQLiteStore
from kneo_serv.store.sqlite.schema import SCHEMA_VERSION, applied_version
from kneo_serv.testing.store_suite.samples import new_run

VERSION_2 = Path(__file__).with_name("version_2.sql")
"""Written by the program that had two migrations: two agents and a person (waiting), an agent (completed), a fork of
the first one (waiting), one that is queued, and one that was cancelled."""


def lifted(folder: Path) -> SQLiteStore:
    path = folder / "runs.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_2.read_text())
        assert applied_version(connection) == 2
    return SQLiteStore(path)


def test_an_earlier_file_is_lifted_with_all_its_runs(tmp_path: Path) -> None:
    async def look() -> None:
        store = lifted(tmp_path)
        await store.open()
        assert (await store.health()).schema_version == SCHEMA_VERSION
        # What the tables say follows from the journals, the new columns included.
        assert await check_journals(store) == []
        runs = await store.list_runs(RunFilter(), Page(sort="created_at", descending=False))
        used = [(run.input_tokens, run.cached_tokens, run.requests, run.cost_usd) for run in runs]
        once, twice, nothing = (11, 5, 1, 0.000123), (22, 10, 2, 0.000246), (0, 0, 0, 0.0)
        # A fork counts what it used itself.
        assert used == [twice, once, once, nothing, nothing]
        assert {run.tenant for run in runs} == {None}
        gauges = await store.gauges()
        assert (gauges.runs[RunStatus.BLOCKED], gauges.queued, gauges.open_tasks) == (2, 1, 2)
        assert len(await store.list_tasks(tenant=NO_TENANT, page=Page(sort="expires_at"))) == 2
        assert await store.count_audit(AuditFilter(tenant=NO_TENANT)) == await store.count_audit(AuditFilter()) > 0
        assert await store.last_position() == (await store.feed())[-1].position
        await store.close()

    asyncio.run(look())


def test_a_lifted_file_takes_new_runs_beside_the_old_ones(tmp_path: Path) -> None:
    async def go_on() -> None:
        store = lifted(tmp_path)
        await store.open()
        await store.create(new_run("new", tenant="north", session_id="s"))
        assert await store.count_runs(RunFilter()) == 6
        assert await store.count_runs(RunFilter(tenant="north")) == 1
        # Neither waits for the other: the session of the old ones is nobody's, and what it has before waits for people.
        claims = await store.claim(Owner("otherhost:boot:1:1"), lease_seconds=60, limit=9, in_turn=True)
        assert len(claims) == 2
        await store.close()
        again = SQLiteStore(tmp_path / "runs.sqlite")
        await again.open()
        assert await again.count_runs(RunFilter(tenant=NO_TENANT)) == 5
        await again.close()

    asyncio.run(go_on())


def test_a_damaged_history_does_not_keep_a_file_from_being_lifted(tmp_path: Path) -> None:
    async def look() -> None:
        store = lifted(tmp_path)
        with closing(sqlite3.connect(store.path)) as connection:
            connection.execute("UPDATE run_events SET payload = '{' WHERE kind = 'model_turn_completed'")
            connection.commit()
        await store.open()
        assert {run.requests for run in await store.list_runs(RunFilter(), Page())} == {0}
        await store.close()

    asyncio.run(look())
