"""Schedules: one change at a time, each with its run and its audit or not at all."""
# ruff: noqa: S101 - these are tests

import asyncio
import math
from dataclasses import replace
from typing import Any

from kneo_serv.errors import StoreError
from kneo_serv.model.idempotency import IdempotencyKey
from kneo_serv.model.page import NO_TENANT, AuditFilter, RunFilter
from kneo_serv.model.schedule import CatchUp, Outcome, Overlap, Schedule
from kneo_serv.store.contract import KeyTaken, ScheduleChange, Store
from kneo_serv.testing.store_suite.case import case, refusal
from kneo_serv.testing.store_suite.samples import START, audit, new_run, run_id


def schedule(name: str = "nightly", **changes: Any) -> Schedule:
    """A schedule that is due at START + 60."""
    plain = Schedule(
        name=name,
        created_at=START,
        updated_at=START,
        spec={"version": "v1"},
        cron="0 3 * * *",
        next_due_at=START + 60,
        look_at=START + 60,
    )
    return replace(plain, **changes)


def change(after: Schedule, **more: Any) -> ScheduleChange:
    """What brings a schedule to this revision."""
    return ScheduleChange(after.name, after.tenant, after.revision - 1, after, **more)


@case
async def a_schedule_is_kept_as_it_was_given(store: Store) -> None:
    """Every field of it, until it is removed."""
    full = schedule(
        created_by="anna",
        input_text="tea ☕",
        spec=None,
        spec_path="specs/a.yaml",
        overlays=("b.yaml",),
        environment="prod",
        target="agent",
        session_id="s",
        tags=("x", "y"),
        metadata={"deep": {"list": [1, None, True]}},
        timeout_seconds=1.5,
        timezone="Europe/Berlin",
        overlap=Overlap.QUEUE,
        catch_up=CatchUp.ALL,
        jitter_seconds=3.25,
        last_due_at=START - 1,
        last_fired_at=START + 0.123457,
        last_run_id=run_id("a"),
        last_outcome=Outcome.FAILED,
        last_error="no",
        missed=3,
        runs=4,
    )
    assert await store.change_schedule(change(full))
    assert await store.get_schedule("nightly", tenant=None) == full
    once = schedule("once", cron=None, at=START + 5.000001, paused=True, next_due_at=None, look_at=None)
    assert await store.change_schedule(change(once))
    assert list(await store.list_schedules()) == [full, once]
    assert await store.change_schedule(ScheduleChange("nightly", None, 1, None))
    assert await store.get_schedule("nightly", tenant=None) is None
    assert not await store.change_schedule(ScheduleChange("nightly", None, 1, None))


@case
async def a_change_holds_only_from_the_revision_that_it_names(store: Store) -> None:
    """Of many that were made of one revision, one."""
    assert await store.change_schedule(change(schedule()))
    assert not await store.change_schedule(change(schedule(input_text="another")))
    moved = [
        change(schedule(revision=2, runs=1), run=new_run(str(number)), audit=(audit(str(number)),))
        for number in range(8)
    ]
    done = await asyncio.gather(*(store.change_schedule(one) for one in moved))
    assert sorted(done) == [False] * 7 + [True]
    assert await store.count_runs(RunFilter()) == 1
    assert await store.count_audit(AuditFilter()) == 1
    assert await store.change_schedule(change(schedule(revision=3)))


@case
async def a_schedule_stays_where_it_is_when_its_run_cannot_be_taken_in(store: Store) -> None:
    """Its audit is not written either."""
    key = IdempotencyKey("schedules:trigger", "anna", "k", "digest")
    await store.create(replace(new_run("taken"), key=key))
    await store.change_schedule(change(schedule()))
    again = change(schedule(revision=2), run=new_run("taken"), audit=(audit("a"),))
    await refusal(StoreError, store.change_schedule(again))
    keyed = change(schedule(revision=2), run=replace(new_run("b"), key=key), audit=(audit("b"),))
    stands_for = None
    try:
        await store.change_schedule(keyed)
    except KeyTaken as taken:
        stands_for = taken.record.run_id
    assert stands_for == run_id("taken")
    assert await store.get_schedule("nightly", tenant=None) == schedule()
    assert await store.count_audit(AuditFilter()) == 0
    assert await store.count_runs(RunFilter()) == 1


@case
async def a_scheduled_run_is_a_run_like_any_other(store: Store) -> None:
    """With its events, and the audit of the change has its tenant."""
    await store.change_schedule(change(schedule(tenant="north")))
    moved = change(
        schedule(tenant="north", revision=2),
        run=new_run("a", tenant="north"),
        audit=(audit("a", run_id=run_id("a")), audit("b", tenant="north")),
    )
    assert await store.change_schedule(moved)
    assert len(await store.events(run_id("a"))) == 1
    assert list(await store.runnable()) == [run_id("a")]
    assert [event.tenant for event in await store.list_audit(AuditFilter())] == ["north", "north"]


@case
async def names_are_those_of_a_tenant(store: Store) -> None:
    """Who has none has names of its own."""
    for tenant in (None, "north", "south"):
        assert await store.change_schedule(change(schedule(tenant=tenant)))
    assert await store.change_schedule(change(schedule("a", tenant="south")))
    found = await store.get_schedule("nightly", tenant="north")
    assert found is not None
    assert found.tenant == "north"
    names = [(one.name, one.tenant) for one in await store.list_schedules()]
    assert names == [("a", "south"), ("nightly", None), ("nightly", "north"), ("nightly", "south")]
    assert [one.tenant for one in await store.list_schedules(tenant=NO_TENANT)] == [None]
    assert [one.name for one in await store.list_schedules(tenant="south")] == ["a", "nightly"]
    assert [one.name for one in await store.list_schedules(tenant="south", limit=1)] == ["a"]


@case
async def schedules_come_due_in_the_order_of_their_moments(store: Store) -> None:
    """Those without a moment never."""
    for place, name in enumerate(("c", "a", "b")):
        await store.change_schedule(change(schedule(name, look_at=START + place)))
    await store.change_schedule(change(schedule("paused", look_at=None)))
    assert [one.name for one in await store.due_schedules(now=START - 1)] == []
    assert [one.name for one in await store.due_schedules(now=START + 1)] == ["c", "a"]
    assert [one.name for one in await store.due_schedules(now=START + 9, limit=2)] == ["c", "a"]
    assert [one.name for one in await store.due_schedules()] == ["c", "a", "b"]
    assert [one.name for one in await store.due_schedules(now=math.inf, limit=1)] == ["c"]
