"""What the PostgreSQL store makes of lost answers, lost servers and locks in the wrong order."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import replace

import psycopg
import pytest

from kneo_serv.errors import StoreError
from kneo_serv.model.idempotency import IdempotencyKey
from kneo_serv.model.page import AuditFilter, RunFilter
from kneo_serv.model.run import RunStatus
from kneo_serv.model.task import TaskStatus
from kneo_serv.store.contract import Appended, Claim, Refusal, Refused, ScheduleChange, TaskClosing
from kneo_serv.store.postgres import PostgresStore
from kneo_serv.store.postgres.address import parse
from kneo_serv.store.postgres.connections import Connections
from kneo_serv.testing.store_suite.samples import ANNA, BERT, START, append, audit, ended, new_run, run_id, task
from kneo_serv.testing.store_suite.schedules import change, schedule
from tests.store.postgres.cluster import Cluster
from tests.store.postgres.proxy import Proxy, proxy


def _over_a_proxy(url: str, work: Callable[[PostgresStore, Proxy], Awaitable[None]]) -> None:
    async def prove() -> None:
        async with proxy(_port(url)) as between:
            store = PostgresStore(url.replace(f":{_port(url)}/", f":{between.port}/"))
            await store.open()
            await work(store, between)
            await store.close()

    asyncio.run(prove())


def _port(url: str) -> int:
    """Port of the server."""
    return int(parse(url).place.rpartition(":")[2].partition("/")[0])


def test_a_write_whose_answer_was_lost_is_found_and_never_doubled(postgres_url: str) -> None:
    async def work(store: PostgresStore, between: Proxy) -> None:
        between.lose_answers = 1
        key = IdempotencyKey("runs:create", "anna", "k", "digest")
        new = new_run("a", lease_owner=ANNA)
        assert await store.create(replace(new, key=key)) is True
        between.lose_answers = 1
        assert await store.append(append("a", 1, opened=(task("t", "a"),), audit=(audit("x"),))) == Appended(2)
        between.lose_answers = 1
        closing = TaskClosing(task("t", "a").continuation_id, TaskStatus.ANSWERED, START)
        assert await store.append(append("a", 2, closed=(closing,))) == Appended(3)
        between.lose_answers = 1
        assert await store.append(append("a", 3, events=())) == Appended(3)
        between.lose_answers = 1
        assert await store.append(append("a", 1)) == Refused(Refusal.SEQUENCE, 3, RunStatus.RUNNING)
        assert between.lost == 5
        assert [row.seq for row in await store.events(run_id("a"))] == [1, 2, 3]

    _over_a_proxy(postgres_url, work)


def test_a_lease_whose_answer_was_lost_is_known_to_its_owner(postgres_url: str) -> None:
    async def work(store: PostgresStore, between: Proxy) -> None:
        for name in "abc":
            await store.create(new_run(name))
        between.lose_answers = 1
        assert list(await store.claim(ANNA, lease_seconds=60, run_id=run_id("a"))) == [Claim(run_id("a"), 1)]
        between.lose_answers = 1
        assert list(await store.claim(ANNA, lease_seconds=60)) == [Claim(run_id("b"), 1)]
        between.lose_answers = 1
        assert await store.release(run_id("b"), owner=ANNA, fence=1)
        assert not await store.release(run_id("b"), owner=ANNA, fence=1)
        between.lose_answers = 1
        assert await store.park(run_id("a"), owner=ANNA, fence=1, fault="broken")
        between.lose_answers = 1
        await store.add_audit([audit("x")])
        assert between.lost == 5
        assert [claim.run_id for claim in await store.claim(BERT, lease_seconds=60, limit=9)] == [
            run_id("b"),
            run_id("c"),
        ]

    _over_a_proxy(postgres_url, work)


@pytest.mark.parametrize("let_pass", range(7))
def test_a_change_of_a_schedule_is_written_once_wherever_its_connection_is_lost(
    postgres_url: str, let_pass: int
) -> None:
    async def work(store: PostgresStore, between: Proxy) -> None:
        assert await store.change_schedule(change(schedule()))
        moved = change(schedule(revision=2, runs=1), run=new_run("a"), audit=(audit("x"),))
        between.let_pass, between.lose_answers = let_pass, 1
        assert await store.change_schedule(moved) is True
        assert between.lost == 1
        assert await store.change_schedule(moved) is False
        assert await store.count_runs(RunFilter()) == await store.count_audit(AuditFilter()) == 1
        # Without audit, what stands in its place tells it.
        between.let_pass, between.lose_answers = min(let_pass, 4), 1
        assert await store.change_schedule(ScheduleChange("nightly", None, 2, None)) is True
        assert between.lost == 2
        assert await store.get_schedule("nightly", tenant=None) is None

    _over_a_proxy(postgres_url, work)


def test_a_duty_and_a_deletion_whose_answer_was_lost_are_known_to_have_been_done(postgres_url: str) -> None:
    async def work(store: PostgresStore, between: Proxy) -> None:
        between.lose_answers = 1
        assert await store.claim_duty("retention", every=3600)
        assert not await store.claim_duty("retention", every=3600)
        for let_pass in range(16):
            name = f"{let_pass}"
            await store.create(new_run(name))
            await store.append(append(name, 1, ended()))
            between.let_pass, between.lose_answers = let_pass, 1
            assert await store.delete_run(run_id(name), audit=(audit(name),))
            between.let_pass = between.lose_answers = 0
        assert between.lost > 12
        assert await store.count_runs(RunFilter()) == 0
        assert await store.count_audit(AuditFilter()) == 16

    _over_a_proxy(postgres_url, work)


def test_reads_go_on_when_their_connections_were_cut(postgres_url: str) -> None:
    async def work(store: PostgresStore, between: Proxy) -> None:
        await store.create(new_run("a"))
        await asyncio.gather(*(store.now() for _ in range(5)))
        between.cut()
        found = await asyncio.gather(*(store.get_run(run_id("a")) for _ in range(5)))
        assert all(found)

    _over_a_proxy(postgres_url, work)


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_a_restart_in_the_midst_of_traffic_loses_nothing(
    postgres: Cluster, postgres_url: str, sign: signal.Signals
) -> None:
    async def prove() -> None:
        store = PostgresStore(postgres_url, patience=30)
        await store.open()
        acknowledged: dict[str, int] = {}
        stopped = asyncio.Event()

        async def live(name: str) -> None:
            await store.create(new_run(name))
            acknowledged[name] = 1
            while not stopped.is_set():
                done = await store.append(append(name, acknowledged[name]))
                assert done == Appended(acknowledged[name] + 1)
                acknowledged[name] += 1

        async def restart() -> None:
            for _ in range(2):
                before = sum(acknowledged.values())
                while sum(acknowledged.values()) < before + 40:
                    await store.now()
                await asyncio.to_thread(postgres.stop, sign)
                await asyncio.to_thread(postgres.start)
            before = sum(acknowledged.values())
            while sum(acknowledged.values()) < before + 40:
                await store.now()
            stopped.set()

        await asyncio.wait_for(asyncio.gather(restart(), *(live(str(number)) for number in range(8))), 120)
        for name, seq in acknowledged.items():
            assert [row.seq for row in await store.events(run_id(name))] == list(range(1, seq + 1))
        assert await store.count_runs(RunFilter()) == 8
        await store.close()

    asyncio.run(prove())


def test_a_server_that_is_away_is_an_error_in_words_without_the_password(postgres: Cluster, postgres_url: str) -> None:
    async def prove() -> None:
        secret = postgres_url.replace("kneo@", "kneo:hunter2@")
        store = PostgresStore(secret, patience=0.3)
        await store.open()
        await store.create(new_run("a"))
        await asyncio.to_thread(postgres.stop)
        for call in (store.now(), store.create(new_run("b")), store.append(append("a", 1)), store.health()):
            with pytest.raises(StoreError, match="cannot be reached") as caught:
                await call
            error: BaseException | None = caught.value
            while error is not None:
                assert "hunter2" not in f"{error} {error!r}"
                error = error.__cause__
        await asyncio.to_thread(postgres.start)
        assert await store.append(append("a", 1)) == Appended(2)
        assert await store.get_run(run_id("b")) is None
        assert "hunter2" not in str(await store.health())
        await store.close()

    asyncio.run(prove())


def test_a_batch_that_was_chosen_to_end_a_deadlock_is_written_again(postgres_url: str) -> None:
    async def prove() -> None:
        store = PostgresStore(postgres_url)
        await store.open()
        for name in "ab":
            await store.create(new_run(name))
        async with await psycopg.AsyncConnection.connect(postgres_url) as other:
            # So this one never looks for deadlocks itself.
            await other.execute("SET LOCAL deadlock_timeout = '1h'")
            await other.execute("SELECT 1 FROM runs WHERE id = %s FOR UPDATE", (run_id("b"),))
            writing = asyncio.gather(*(store.append(append(name, 1)) for name in "ab"))
            blocked = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as watch:
                # Nobody but the server knows, and it says so only when it is asked.
                while (await (await watch.execute(blocked)).fetchone() or (0,))[0] == 0:  # noqa: ASYNC110
                    await asyncio.sleep(0)
            await other.execute("SELECT 1 FROM runs WHERE id = %s FOR UPDATE", (run_id("a"),))
            await other.rollback()
        assert await asyncio.wait_for(writing, 30) == [Appended(2), Appended(2)]
        await store.close()

    asyncio.run(prove())


def test_when_all_connections_are_busy_the_setting_is_named(postgres_url: str) -> None:
    async def prove() -> None:
        pool = Connections(parse(postgres_url), size=2, reserved=1, prepared=True, patience=0.2)
        async with pool.one():
            with pytest.raises(StoreError, match="KNEO_SERV_DATABASE_POOL_SIZE"):
                await pool.read("SELECT 1")
            async with pool.one(writer=True) as link:
                assert await link.fetch("SELECT 2") == [(2,)]
        assert await pool.read("SELECT 3") == [(3,)]
        await pool.close()

    asyncio.run(prove())


def test_a_peer_that_falls_silent_is_taken_for_lost(postgres_url: str) -> None:
    async def prove() -> None:
        async with proxy(_port(postgres_url)) as between:
            address = parse(postgres_url.replace(f":{_port(postgres_url)}/", f":{between.port}/"))
            pool = Connections(address, size=3, reserved=1, prepared=True, patience=0.4, answer_within=0.2)
            assert await pool.read("SELECT 1") == [(1,)]
            async with pool.one() as link:
                between.silent = True
                with pytest.raises(psycopg.OperationalError):
                    await link.fetch("SELECT 2")
            between.silent = False
            assert await pool.read("SELECT 3") == [(3,)]
            await pool.close()

    asyncio.run(prove())


def test_behind_a_pooler_nothing_is_left_on_a_connection(postgres_url: str) -> None:
    async def prove() -> None:
        counts = {}
        for pooled in (False, True):
            store = PostgresStore(postgres_url, behind_pooler=pooled, pool_size=2)
            await store.open()
            for number in range(8):
                await store.create(new_run(f"{pooled:d}{number}"))
                await store.heads([run_id(str(number))])
            async with store._connections.one() as link:
                rows = await link.fetch("SELECT count(*) FROM pg_prepared_statements", prepare=False)
                counts[pooled] = rows[0][0]
                held = await link.fetch("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'", prepare=False)
                assert held == [(0,)]
            await store.close()
        assert counts[False] > 0
        assert counts[True] == 0

    asyncio.run(prove())


def test_a_read_only_database_says_so_and_is_read_on(postgres: Cluster, postgres_url: str) -> None:
    async def prove() -> None:
        store = PostgresStore(postgres_url)
        await store.open()
        await store.create(new_run("a"))
        name = postgres_url.rpartition("/")[2]
        postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        reader = PostgresStore(postgres_url)
        await reader.open()
        results = await asyncio.gather(
            *(reader.create(new_run(name)) for name in "bc"), reader.append(append("a", 1)), return_exceptions=True
        )
        assert all(isinstance(each, StoreError) and "cannot be written" in str(each) for each in results)
        assert await reader.get_run(run_id("a")) is not None
        postgres.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        await store.close()
        await reader.close()

    asyncio.run(prove())
