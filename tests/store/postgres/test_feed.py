"""The feed of the PostgreSQL store: never an event that comes in behind the reader's back."""

import asyncio

import psycopg

from kneo_serv.store.contract import FeedItem, NewRun
from kneo_serv.store.postgres import PostgresStore
from kneo_serv.store.postgres.requests import WRITE, addition, batch_text, creation
from kneo_serv.testing.store_suite.samples import append, new_run, run_id
from tests.store.postgres.cluster import Cluster


def _create(connection: psycopg.Connection, new: NewRun) -> None:
    connection.execute(WRITE, (batch_text([creation(new)], again=False),))


def _names(items: list[FeedItem]) -> list[str]:
    return [item.run_id for item in items]


def test_an_event_that_commits_late_is_not_passed_over(postgres_url: str) -> None:
    async def prove() -> None:
        store = PostgresStore(postgres_url)
        await store.open()
        await store.create(new_run("0"))
        with psycopg.connect(postgres_url) as late, psycopg.connect(postgres_url) as later:
            _create(late, new_run("late"))
            await store.create(new_run("a"))
            first = list(await store.feed())
            assert _names(first) == [run_id("0")]
            assert await store.last_position() == first[-1].position
            _create(later, new_run("later"))
            await store.create(new_run("b"))
            late.commit()
            second = list(await store.feed(after=first[-1].position))
            assert _names(second) == [run_id("late"), run_id("a")]
            later.rollback()
            third = list(await store.feed(after=second[-1].position))
            assert _names(third) == [run_id("b")]
            positions = [item.position for item in (*first, *second, *third)]
            assert positions == sorted(positions)
        await store.close()

    asyncio.run(prove())


def test_a_stranger_with_an_open_transaction_holds_up_no_feed(postgres: Cluster, postgres_url: str) -> None:
    async def prove() -> None:
        store = PostgresStore(postgres_url)
        await store.open()
        with psycopg.connect(postgres_url) as stranger, psycopg.connect(postgres.url("postgres")) as elsewhere:
            for connection in (stranger, elsewhere):
                connection.execute("CREATE TABLE theirs (a int)")
                connection.execute("SELECT pg_advisory_xact_lock(1)")
            await store.create(new_run("a"))
            assert _names(list(await store.feed())) == [run_id("a")]
        await store.close()

    asyncio.run(prove())


def test_followers_see_every_event_once_while_transactions_stay_open_at_random(postgres_url: str) -> None:
    async def prove() -> None:
        stores = [PostgresStore(postgres_url) for _ in range(3)]
        for store in stores:
            await store.open()
        total = 8 * 5
        seen: dict[int, list[tuple[str, int]]] = {0: [], 1: []}

        async def follow(number: int) -> None:
            after = 0
            while len(seen[number]) < total:
                for item in await stores[number].feed(after=after, limit=3):
                    assert item.position > after
                    after = item.position
                    seen[number].append((item.run_id, item.row.seq))

        async def live(number: int) -> None:
            async with await psycopg.AsyncConnection.connect(postgres_url) as connection:
                await stores[2].create(new_run(str(number)))
                for seq in range(1, 5):
                    text = batch_text([addition(append(str(number), seq))], again=False)
                    await connection.execute(WRITE, (text,))
                    # Open for as long as others take for some of theirs.
                    for _ in range(number % 4):
                        await stores[2].now()
                    await connection.commit()

        await asyncio.wait_for(asyncio.gather(follow(0), follow(1), *(live(n) for n in range(8))), 60)
        for found in seen.values():
            assert len(set(found)) == total
            for number in range(8):
                assert [seq for run, seq in found if run == run_id(str(number))] == [1, 2, 3, 4, 5]
        for store in stores:
            await store.close()

    asyncio.run(prove())


def test_changes_are_noticed_across_stores(postgres_url: str) -> None:
    async def prove() -> None:
        one, other = PostgresStore(postgres_url), PostgresStore(postgres_url)
        await one.open()
        await other.open()
        before = await one.changes()
        await other.create(new_run("a"))
        after = await one.changes()
        assert after != before
        await other.claim(one.new_owner(), lease_seconds=30)
        assert await one.changes() != after
        await one.close()
        await other.close()

    asyncio.run(prove())
