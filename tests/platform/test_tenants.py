"""What a tenant's run brings with it belongs to the tenant."""

import asyncio
from pathlib import Path

from kneo_serv.model.page import AuditFilter, RunFilter
from kneo_serv.platform.forking import ForkRequest
from tests.platform.worlds import PATIENCE, answer, opened, person, plan, run, step, task_of


def test_tasks_audit_and_events_of_a_run_belong_to_its_tenant(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            flow = plan(step("upper"), person())
            theirs = await run(platform, flow, tenant="south")
            ours = await run(platform, flow, tenant="north")
            assert (await task_of(platform, ours.id)).tenant == "north"
            assert [task.run_id for task in await platform.store.list_tasks(tenant="south")] == [theirs.id]
            await answer(platform, ours.id)
            north = await platform.store.list_audit(AuditFilter(tenant="north"))
            assert {event.run_id for event in north} == {ours.id}
            assert {event.event_type for event in north} == {"run.created", "run.rested", "human.decision"}
            assert {item.run_id for item in await platform.store.feed(tenant="north")} == {ours.id}

    asyncio.run(story())


def test_a_fork_belongs_to_the_tenant_of_its_parent(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            parent = await run(platform, plan(step("upper"), person()), tenant="north")
            child = (await platform.fork(parent.id, ForkRequest(), at_sequence=1, hold=True)).run_id
            record = await platform.run_to_rest(child, patience=PATIENCE)
            assert (record.tenant, (await task_of(platform, child)).tenant) == ("north", "north")
            assert await platform.store.count_runs(RunFilter(tenant="north")) == 2

    asyncio.run(story())


def test_an_audit_event_without_a_run_is_told_to_the_tenant_that_it_names(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            await platform.audit("access.refused", actor="key", metadata={"route": "/runs"}, tenant="north")
            await platform.audit("access.refused", actor="key", metadata={"route": "/runs"})
            (event,) = await platform.store.list_audit(AuditFilter(tenant="north"))
            assert (event.event_type, event.tenant) == ("access.refused", "north")

    asyncio.run(story())
