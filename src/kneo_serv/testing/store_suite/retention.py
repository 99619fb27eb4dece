"""Pruning: only what is over, only what is old."""
# ruff: noqa: S101 - these are tests

import asyncio
from dataclasses import replace

from kneo_serv.model.idempotency import IdempotencyKey
from kneo_serv.model.ids import ContinuationId, PlanHash
from kneo_serv.model.page import AuditFilter, RunFilter
from kneo_serv.model.run import RunStatus
from kneo_serv.model.task import TaskStatus
from kneo_serv.store.contract import Appended, Pruned, RetentionCut, Store, TaskClosing
from kneo_serv.testing.store_suite.case import case
from kneo_serv.testing.store_suite.samples import START, append, audit, ended, event, new_run, run_id, task

_ENDED = (RunStatus.COMPLETED, RunStatus.FAILED)
_ALL = tuple(RunStatus)
_LATER = START + 1_000


async def _fill(store: Store) -> None:
    """Runs that live, ended long ago, ended of late, and were cancelled long ago; each with an answered task."""
    for name in ("live", "old", "new", "gone"):
        await store.create(new_run(name, plan_hash=PlanHash(f"plan-{name}")))
        await store.append(append(name, 1, opened=(task(name, name),), audit=(audit(name, run_id=run_id(name)),)))
        answer = TaskClosing(ContinuationId(f"cont_{name}"), TaskStatus.ANSWERED, START + 5)
        await store.append(append(name, 2, closed=(answer,), snapshot="{}"))
    await store.append(append("old", 3, ended()))
    await store.append(append("new", 3, ended(updated_at=_LATER, completed_at=_LATER)))
    await store.append(append("gone", 3, ended(RunStatus.CANCELLED)))


@case
async def a_cut_that_names_nothing_removes_nothing(store: Store) -> None:
    """None keeps all of that sort; without a status no run goes."""
    await _fill(store)
    assert await store.prune(RetentionCut()) == Pruned()
    assert await store.prune(RetentionCut(runs_before=_LATER * 2)) == Pruned()
    assert await store.count_runs(RunFilter()) == 4


@case
async def old_ended_runs_go_with_all_that_is_theirs(store: Store) -> None:
    """But not their audit; younger ones and other statuses stay."""
    await _fill(store)
    cut = RetentionCut(runs_before=START + 100, run_statuses=_ENDED)
    assert await store.prune(cut, dry_run=True) == Pruned(runs=1, events=4, tasks=1)
    assert await store.count_runs(RunFilter()) == 4
    assert await store.prune(cut) == Pruned(runs=1, events=4, tasks=1)
    assert await store.get_run(run_id("old")) is None
    assert list(await store.events(run_id("old"))) == []
    assert await store.snapshot(run_id("old")) is None
    assert await store.get_task(ContinuationId("cont_old")) is None
    assert await store.get_plan(PlanHash("plan-old")) is None
    assert await store.count_audit(AuditFilter(run_id=run_id("old"))) == 1
    for name in ("live", "new", "gone"):
        assert await store.get_run(run_id(name)) is not None
        assert await store.get_plan(PlanHash(f"plan-{name}")) is not None
    assert await store.count_runs(RunFilter()) == 3
    assert await store.count_runs(RunFilter(status=("completed",))) == 1


@case
async def a_living_run_is_never_touched(store: Store) -> None:
    """Not its events, tasks or audit, however old and whatever the cut names."""
    await _fill(store)
    everything = RetentionCut(
        runs_before=_LATER * 2,
        run_statuses=_ALL,
        events_before=_LATER * 2,
        tasks_before=_LATER * 2,
        audit_before=_LATER * 2,
        keys_before=0.0,
    )
    foreseen = await store.prune(everything, dry_run=True)
    pruned = await store.prune(everything)
    assert pruned == foreseen
    assert (pruned.runs, pruned.audit) == (3, 3)
    assert await store.count_runs(RunFilter()) == 1
    assert len(await store.events(run_id("live"))) == 3
    assert await store.get_task(ContinuationId("cont_live")) is not None
    assert [found.run_id for found in await store.list_audit(AuditFilter())] == [run_id("live")]
    assert await store.get_plan(PlanHash("plan-live")) is not None


@case
async def events_tasks_and_audit_go_by_themselves(store: Store) -> None:
    """Of what has ended; the runs stay."""
    await _fill(store)
    cut = RetentionCut(events_before=START + 100, tasks_before=START + 100, audit_before=START + 100)
    assert await store.prune(cut, dry_run=True) == Pruned(events=8, tasks=3, audit=3)
    assert await store.prune(cut) == Pruned(events=8, tasks=3, audit=3)
    assert await store.count_runs(RunFilter()) == 4
    assert list(await store.events(run_id("old"))) == []
    assert len(await store.events(run_id("new"))) == 4
    assert len(await store.events(run_id("live"))) == 3
    assert await store.prune(cut) == Pruned()


@case
async def a_position_is_never_given_twice(store: Store) -> None:
    """A feed that stood at the newest event sees what follows, though that event was pruned."""
    await store.create(new_run("old"))
    await store.append(append("old", 1, ended()))
    newest = max(item.position for item in await store.feed())
    for name in ("a", "b"):
        assert (await store.prune(RetentionCut(runs_before=_LATER, run_statuses=_ENDED))).events == 2
        assert list(await store.feed()) == []
        await store.create(new_run(name))
        await store.append(append(name, 1, ended()))
        followed = await store.feed(after=newest)
        assert [(item.run_id, item.row.seq) for item in followed] == [(run_id(name), 1), (run_id(name), 2)]
        newest = max(item.position for item in followed)


@case
async def keys_go_with_their_runs_or_by_their_age(store: Store) -> None:
    """An old key may be used anew."""
    for name in ("live", "old"):
        key = IdempotencyKey("runs:create", "anna", name, "digest")
        await store.create(replace(new_run(name), key=key))
    await store.append(append("old", 1, ended()))
    pruned = await store.prune(RetentionCut(runs_before=START + 100, run_statuses=_ENDED))
    assert (pruned.runs, pruned.keys) == (1, 1)
    assert await store.get_key("runs:create", "anna", "old") is None
    kept = await store.get_key("runs:create", "anna", "live")
    assert kept is not None
    assert await store.prune(RetentionCut(keys_before=kept.created_at)) == Pruned()
    assert await store.prune(RetentionCut(keys_before=kept.created_at + 1)) == Pruned(keys=1)
    again = IdempotencyKey("runs:create", "anna", "live", "another")
    assert await store.append(append("live", 1, key=again)) == Appended(2)


@case
async def much_that_is_old_goes_in_many_bounded_transactions(store: Store) -> None:
    """All of it, also of runs with many events."""
    for number in range(250):
        await store.create(new_run(f"r{number}"))
        many = tuple(event(seq) for seq in range(2, 32))
        await store.append(append(f"r{number}", 1, ended(), events=many, audit=(audit(f"r{number}"),)))
    await store.create(new_run("live"))
    cut = RetentionCut(runs_before=START + 100, run_statuses=(RunStatus.COMPLETED,), audit_before=START + 100)
    events = RetentionCut(events_before=START + 100)
    foreseen = await store.prune(events, dry_run=True)
    assert foreseen == Pruned(events=250 * 31)
    assert await store.prune(events) == foreseen
    assert await store.prune(events) == Pruned()
    assert await store.prune(cut) == Pruned(runs=250, audit=250)
    assert await store.count_runs(RunFilter()) == 1


@case
async def a_run_that_has_ended_is_deleted_by_itself(store: Store) -> None:
    """With all that is its own but its audit; a living one never."""
    await _fill(store)
    deleted = audit("deleted", event_type="run.deleted", run_id=run_id("old"))
    assert await store.delete_run(run_id("old"), audit=(deleted,))
    assert await store.get_run(run_id("old")) is None
    assert list(await store.events(run_id("old"))) == []
    assert await store.get_task(ContinuationId("cont_old")) is None
    assert await store.count_audit(AuditFilter(run_id=run_id("old"))) == 2
    for name in ("live", "old"):
        refused = audit(f"not-{name}", event_type="run.deleted", run_id=run_id(name))
        assert not await store.delete_run(run_id(name), audit=(refused,))
    assert await store.count_audit(AuditFilter(event_type="run.deleted")) == 1
    assert await store.count_runs(RunFilter()) == 3


@case
async def a_duty_is_one_callers_turn_at_a_time(store: Store) -> None:
    """Of many who ask at once one gets it, and nobody before the time is over."""
    asked = await asyncio.gather(*(store.claim_duty("retention", every=3600) for _ in range(8)))
    assert sorted(asked) == [False] * 7 + [True]
    assert not await store.claim_duty("retention", every=3600)
    assert await store.claim_duty("another", every=3600)
    assert await store.claim_duty("retention", every=0)
