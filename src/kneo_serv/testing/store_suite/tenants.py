"""Tenants: what belongs to one is not seen by another."""
# ruff: noqa: S101 - these are tests

import asyncio
from collections.abc import Sequence

from kneo_serv.errors import SessionBusyError
from kneo_serv.model.ids import ContinuationId
from kneo_serv.model.page import NO_TENANT, AuditFilter, Page, RunFilter
from kneo_serv.model.run import RunStatus, SessionConcurrency
from kneo_serv.store.contract import RetentionCut, Store
from kneo_serv.testing.store_suite.case import case
from kneo_serv.testing.store_suite.samples import BERT, START, append, audit, ended, new_run, run_id, running, task

TENANTS = ("north", "south", None)


async def _fill(store: Store) -> None:
    """Two runs for each tenant and two for none, each with a task and an audit event."""
    for number, name in enumerate("abcdef"):
        await store.create(new_run(name, tenant=TENANTS[number % 3], created_at=START + number, session_id="s"))
        opened = (task(name, name, created_at=START + number, tenant="forged"),)
        line = (audit(name, run_id=run_id(name), created_at=START + number, tenant="forged"),)
        await store.append(append(name, 1, running(updated_at=START + number), opened=opened, audit=line))


def _expected(tenant: str | None) -> list[str]:
    owner = None if tenant == NO_TENANT else tenant
    return [run_id(name) for number, name in enumerate("abcdef") if tenant is None or TENANTS[number % 3] == owner]


@case
async def every_list_is_confined_to_a_tenant(store: Store) -> None:
    """Runs, human tasks, audit and events, and their numbers; with nothing named, all are shown."""
    await _fill(store)
    for tenant in ("north", "south", NO_TENANT, None, "nobody"):
        wanted = [] if tenant == "nobody" else _expected(tenant)
        for sort in ("created_at", "updated_at", "started_at", "status"):
            for status in ((), ("running",), ("running", "failed")):
                filters = RunFilter(tenant=tenant, status=status)
                found = await store.list_runs(filters, Page(sort=sort, descending=False))
                assert sorted(run.id for run in found) == wanted
                assert await store.count_runs(filters) == len(wanted)
        assert await store.count_runs(RunFilter(tenant=tenant, status=("failed",))) == 0
        assert await store.count_runs(RunFilter(tenant=tenant, session_id="s")) == len(wanted)
        assert len(await store.list_runs(RunFilter(tenant=tenant, session_id="s"), Page())) == len(wanted)
        for sort in ("created_at", "expires_at"):
            tasks = await store.list_tasks(tenant=tenant, page=Page(sort=sort))
            assert sorted(one.run_id for one in tasks) == wanted
        assert [one.run_id for one in await store.list_tasks(tenant=tenant, status=None)] == wanted
        assert await store.count_tasks(tenant=tenant) == len(wanted)
        events = await store.list_audit(AuditFilter(tenant=tenant), Page(descending=False))
        assert [one.run_id for one in events] == wanted
        assert await store.count_audit(AuditFilter(tenant=tenant, event_type="run.created")) == len(wanted)
        feed = await store.feed(tenant=tenant)
        assert sorted({item.run_id for item in feed}) == wanted
        assert len(feed) == 2 * len(wanted)


@case
async def what_a_run_brings_with_it_has_the_tenant_of_the_run(store: Store) -> None:
    """Whatever was given; each says whose it is."""
    await _fill(store)
    for number, name in enumerate("abc"):
        found = await store.get_run(run_id(name))
        asked = await store.get_task(ContinuationId(f"cont_{name}"))
        (line,) = await store.list_audit(AuditFilter(run_id=run_id(name)))
        assert found is not None
        assert asked is not None
        assert (found.tenant, asked.tenant, line.tenant) == (TENANTS[number],) * 3
    assert await store.list_audit(AuditFilter(run_id=run_id("b"), tenant="north")) == []
    assert await store.list_tasks(run_id=run_id("b"), tenant="north") == []


@case
async def an_audit_event_without_a_run_has_a_tenant_of_its_own(store: Store) -> None:
    """One that names a run has that of the run, also when it is written apart."""
    await _fill(store)
    await store.add_audit(
        [
            audit("own", tenant="north"),
            audit("none"),
            audit("theirs", run_id=run_id("b"), tenant="north"),
            audit("gone", run_id="run_unknown", tenant="north"),
        ]
    )
    told = {str(found.id): found.tenant for found in await store.list_audit(AuditFilter())}
    assert told["aud_own"] == "north"
    assert told["aud_none"] is None
    assert told["aud_theirs"] == "south"
    assert told["aud_gone"] == "north"


@case
async def the_counts_of_a_tenant_follow_its_runs(store: Store) -> None:
    """When they end, and when they are removed."""
    await _fill(store)
    await store.append(append("a", 2, ended(RunStatus.FAILED)))
    north = RunFilter(tenant="north")
    assert await store.count_runs(RunFilter(tenant="north", status=("failed",))) == 1
    assert await store.count_runs(RunFilter(tenant="north", status=("running",))) == 1
    assert await store.count_runs(RunFilter(tenant="south", status=("running",))) == 2
    await store.prune(RetentionCut(runs_before=START + 1_000, run_statuses=(RunStatus.FAILED,)))
    assert await store.count_runs(north) == 1
    assert await store.count_runs(RunFilter()) == 5


@case
async def two_tenants_may_use_one_session_id(store: Store) -> None:
    """Their runs do not wait for each other, nor refuse each other; those without a tenant are among themselves."""
    for number, tenant in enumerate(TENANTS):
        for turn in "12":
            moment = START + number + (10 if turn == "2" else 0)
            await store.create(new_run(f"{number}{turn}", session_id="s", tenant=tenant, created_at=moment))

    async def in_turn() -> Sequence[str]:
        claims = await store.claim(BERT, lease_seconds=60, limit=10, in_turn=True)
        return [claim.run_id for claim in claims]

    assert await store.claim(BERT, lease_seconds=60, run_id=run_id("12"), in_turn=True) == []
    assert await in_turn() == [run_id("01"), run_id("11"), run_id("21")]
    assert await in_turn() == []
    await store.append(append("11", 1, ended()))
    assert await in_turn() == [run_id("12")]
    reject = SessionConcurrency.REJECT
    await store.create(new_run("x", session_id="s", tenant="east", sessions=reject))
    for tenant in ("east", None):
        twin = new_run(f"y{tenant}", session_id="s", tenant=tenant, sessions=reject)
        (refused,) = await asyncio.gather(store.create(twin), return_exceptions=True)
        assert isinstance(refused, SessionBusyError)


@case
async def a_tenant_reads_its_feed_without_a_gap(store: Store) -> None:
    """However much of others lies between, page by page, while others write."""
    seen: list[tuple[str, int]] = []

    async def live(name: str, tenant: str | None) -> None:
        await store.create(new_run(name, tenant=tenant))
        for seq in range(1, 6):
            await store.append(append(name, seq))

    async def follow() -> None:
        after = 0
        while len(seen) < 4 * 6:
            newest = await store.last_position()
            items = await store.feed(after=after, limit=5, tenant="north")
            seen.extend((item.run_id, item.row.seq) for item in items)
            after = max(after, newest, *(item.position for item in items)) if len(items) < 5 else items[-1].position

    lives = [live(f"n{number}", "north") for number in range(4)]
    lives += [live(f"s{number}", "south" if number % 2 else None) for number in range(12)]
    await asyncio.wait_for(asyncio.gather(follow(), *lives), timeout=60)
    assert len(set(seen)) == len(seen) == 4 * 6
    for number in range(4):
        assert [seq for run, seq in seen if run == run_id(f"n{number}")] == [1, 2, 3, 4, 5, 6]
