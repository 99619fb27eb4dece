"""What lies on the disk: modes, settings, foreign and newer databases, full disks."""

import asyncio
import logging
import os
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from kneo_serv.errors import InvalidRequestError, StoreError, StoreSchemaError
from kneo_serv.model.page import Page, RunFilter
from kneo_serv.model.run import RunStatus
from kneo_serv.store.contract import Appended, EventRow
from kneo_serv.store.sqlite import SQLiteStore
from kneo_serv.store.sqlite.schema import MIGRATIONS
from kneo_serv.testing.store_suite.samples import START, append, new_run, run_id, running

pytestmark = pytest.mark.filterwarnings("error")


def use(store: SQLiteStore, work: Callable[[SQLiteStore], Awaitable[None]]) -> None:
    async def run() -> None:
        await store.open()
        try:
            await work(store)
        finally:
            await store.close()

    asyncio.run(run())


async def nothing(store: SQLiteStore) -> None:
    await store.health()


def test_every_append_is_synced_by_default(tmp_path: Path) -> None:
    async def look(store: SQLiteStore) -> None:
        facts = (await store.health()).facts
        assert (facts["synchronous"], facts["journal_mode"]) == ("FULL", "wal")

    use(SQLiteStore(tmp_path / "runs.sqlite"), look)


def test_a_weaker_level_is_shown_as_what_it_is(tmp_path: Path) -> None:
    async def look(store: SQLiteStore) -> None:
        assert (await store.health()).facts["synchronous"] == "NORMAL"

    use(SQLiteStore(tmp_path / "runs.sqlite", synchronous="normal"), look)
    with pytest.raises(InvalidRequestError, match="FULL"):
        SQLiteStore(tmp_path / "runs.sqlite", synchronous="sometimes")


def test_only_the_owner_may_read_the_files(tmp_path: Path) -> None:
    async def look(store: SQLiteStore) -> None:
        await store.create(new_run("a"))
        modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "a" / ".kneo").iterdir()}
        assert modes == dict.fromkeys(("runs.sqlite", "runs.sqlite-wal", "runs.sqlite-shm"), 0o600)

    before = os.umask(0o022)
    try:
        use(SQLiteStore(tmp_path / "a" / ".kneo" / "runs.sqlite"), look)
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "a" / ".kneo").stat().st_mode & 0o777 == 0o700


def test_runs_are_there_after_opening_again(tmp_path: Path) -> None:
    async def fill(store: SQLiteStore) -> None:
        await store.create(new_run("a"))

    async def look(store: SQLiteStore) -> None:
        assert [run.id for run in await store.list_runs(RunFilter(), Page())] == [run_id("a")]

    use(SQLiteStore(tmp_path / "runs.sqlite"), fill)
    use(SQLiteStore(tmp_path / "runs.sqlite"), look)


def test_each_migration_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "kneo_serv.store"):
        use(SQLiteStore(tmp_path / "runs.sqlite"), nothing)
        use(SQLiteStore(tmp_path / "runs.sqlite"), nothing)
    assert [record.message for record in caplog.records] == [
        f"Applied migration {number} ({name}) to {tmp_path / 'runs.sqlite'}"
        for number, name in ((one.version, one.name) for one in MIGRATIONS)
    ]


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("CREATE TABLE schema_migrations (version TEXT)", "other implementation"),
        ("CREATE TABLE songs (title TEXT)", "songs"),
        ("CREATE TABLE kneo_migrations AS SELECT 99 AS version", "newer"),
    ],
)
@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_a_database_that_is_not_ours_is_left_untouched(statement: str, said: str, mode: str, tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute(statement)
        connection.commit()
    before = path.read_bytes()
    with pytest.raises(StoreSchemaError, match=said) as caught:
        use(SQLiteStore(path), nothing)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_left_untouched(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    path.write_text("Dear diary, " * 100)
    with pytest.raises(StoreSchemaError, match="no SQLite database"):
        use(SQLiteStore(path), nothing)
    assert path.read_text() == "Dear diary, " * 100


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is no file"):
        use(SQLiteStore(tmp_path), nothing)


def test_a_place_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be made"):
        use(SQLiteStore(tmp_path / "file" / "runs.sqlite"), nothing)


def test_a_lock_that_never_ends_is_named(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"

    async def collide(store: SQLiteStore) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="locked") as caught:
                await store.create(new_run("a"))
            assert str(path) in str(caught.value)
            other.execute("ROLLBACK")
        await store.create(new_run("a"))

    use(SQLiteStore(path, busy_timeout=0.05), collide)


def test_a_store_that_is_not_open_says_so(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "runs.sqlite")
    with pytest.raises(StoreError, match="not open"):
        asyncio.run(store.create(new_run("a")))
    with pytest.raises(StoreError, match="not open"):
        asyncio.run(store.get_run(run_id("a")))
    use(store, nothing)
    with pytest.raises(StoreError, match="closed"):
        asyncio.run(store.create(new_run("a")))


FILL_A_SMALL_DISK = """
import asyncio, resource, signal, sys
from kneo_serv.errors import StoreError
from kneo_serv.store.contract import Appended, EventRow
from kneo_serv.store.sqlite import SQLiteStore
from kneo_serv.store.sqlite.schema import MIGRATIONS
from kneo_serv.testing.store_suite.samples import append, event, new_run, run_id

async def main(path):
    store = SQLiteStore(path)
    await store.open()
    await store.create(new_run("a"))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, unlimited[1]))
    seq = 1
    try:
        while True:
            await store.append(append("a", seq, events=(event(seq + 1, payload="x" * 100_000),)))
            seq += 1
    except StoreError as error:
        print(error)
    (head,) = await store.heads([run_id("a")])
    assert head.seq == seq == len(await store.events(run_id("a"))), (head, seq)
    resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert await store.append(append("a", seq)) == Appended(seq + 1)
    await store.close()

asyncio.run(main(sys.argv[1]))
"""


def test_a_full_disk_is_named_and_what_was_acknowledged_stays(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    done = subprocess.run([sys.executable, "-c", FILL_A_SMALL_DISK, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert str(path) in done.stdout
    assert "disk" in done.stdout


def test_texts_that_no_database_keeps_are_mended(tmp_path: Path) -> None:
    async def look(store: SQLiteStore) -> None:
        await store.create(new_run("a", input_text="a\0b\ud800c \\u0000", metadata={"k": "\ud800"}))
        done = await store.append(append("a", 1, running(status=RunStatus.RUNNING, output_text="x\0y")))
        assert done == Appended(2)
        found = await store.get_run(run_id("a"))
        assert found is not None
        assert (found.input_text, found.output_text) == ("a\ufffdb\ufffdc \\u0000", "x\ufffdy")

    use(SQLiteStore(tmp_path / "runs.sqlite"), look)


def test_a_log_that_grew_is_moved_into_the_database(tmp_path: Path) -> None:
    """However busy the writer is, the write-ahead log does not grow without end."""

    async def write(store: SQLiteStore) -> None:
        await store.create(new_run("a"))
        for seq in range(1, 60):
            await store.append(append("a", seq, events=(EventRow(seq + 1, "k", 1.0, "x" * 2_000_000),)))
        assert (await store.health()).facts["wal_bytes"] < 100_000_000

    use(SQLiteStore(tmp_path / "runs.sqlite"), write)


def test_a_frequent_status_is_listed_in_the_same_order(tmp_path: Path) -> None:
    async def look(store: SQLiteStore) -> None:
        await asyncio.gather(*(store.create(new_run(f"{n:04d}", created_at=START + n)) for n in range(2100)))
        page = Page(limit=3, sort="created_at")
        for filters in (RunFilter(status=("created",)), RunFilter(status=("created", "paused"), has_error=False)):
            found = await store.list_runs(filters, page)
            assert [run.id for run in found] == [run_id("2099"), run_id("2098"), run_id("2097")]

    use(SQLiteStore(tmp_path / "runs.sqlite"), look)
