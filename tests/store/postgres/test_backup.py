"""A backup of a busy database is of one moment, and what is restored goes on."""

import asyncio
import subprocess
from pathlib import Path

from kneo_serv.model.page import Page, RunFilter
from kneo_serv.store.contract import Appended
from kneo_serv.store.postgres import PostgresStore
from kneo_serv.testing.store_suite.samples import append, new_run, run_id
from tests.store.postgres.cluster import Cluster, binaries


def test_a_dump_taken_under_load_restores_to_whole_journals(
    postgres: Cluster, postgres_url: str, tmp_path: Path
) -> None:
    programs, file = binaries("wheel"), tmp_path / "kneo.dump"
    restored = postgres.new_database()

    async def back_up() -> None:
        store = PostgresStore(postgres_url)
        await store.open()
        stopped = asyncio.Event()

        async def live(name: str) -> None:
            await store.create(new_run(name, tenant="north"))
            seq = 1
            while not stopped.is_set():
                await store.append(append(name, seq))
                seq += 1

        async def dump() -> None:
            while await store.last_position() < 100:
                await store.now()
            command = [str(programs / "pg_dump"), "-Fc", "-f", str(file), postgres_url]
            await asyncio.to_thread(subprocess.run, command, check=True)
            stopped.set()

        await asyncio.gather(dump(), *(live(str(number)) for number in range(6)))
        await store.close()

    async def look() -> None:
        store = PostgresStore(restored)
        await store.open()
        runs = await store.list_runs(RunFilter(), Page())
        assert await store.count_runs(RunFilter(tenant="north")) == len(runs) == 6
        items = list(await store.feed(limit=100_000))
        for run in runs:
            assert [row.seq for row in await store.events(run.id)] == list(range(1, run.seq + 1))
            assert [item.row.seq for item in items if item.run_id == run.id] == list(range(1, run.seq + 1))
        last = await store.last_position()
        (head,) = await store.heads([run_id("1")])
        assert await store.append(append("1", head.seq)) == Appended(head.seq + 1)
        (item,) = await store.feed(after=last)
        assert (item.run_id, item.row.seq) == (run_id("1"), head.seq + 1)
        await store.close()

    asyncio.run(back_up())
    subprocess.run([programs / "pg_restore", "--clean", "--if-exists", "-d", restored, file], check=True)
    asyncio.run(look())
    postgres.drop_database(restored)
