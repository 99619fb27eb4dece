"""Creating and appending: all or nothing, under the named conditions."""
# ruff: noqa: S101 - these are tests

import asyncio
import hashlib
import json
from dataclasses import replace

from kneo_serv.errors import StoreError
from kneo_serv.model.ids import ContinuationId, PlanHash
from kneo_serv.model.page import AuditFilter, RunFilter
from kneo_serv.model.run import Phase, RunStatus
from kneo_serv.model.task import TaskStatus
from kneo_serv.store.contract import (
    Appended,
    Refusal,
    Refused,
    Snapshot,
    Store,
    TaskClosing,
    Timer,
    TimerKind,
)
from kneo_serv.testing.store_suite.case import case, refusal
from kneo_serv.testing.store_suite.samples import (
    ANNA,
    BERT,
    START,
    append,
    audit,
    claimed,
    ended,
    event,
    new_run,
    record,
    run_id,
    running,
    task,
)


@case
async def a_created_run_reads_back_as_it_was_given(store: Store) -> None:
    """Every column survives, times to the last digit and texts in every script."""
    given = record(
        "a",
        input_text="grüße \U0001f600 'quoted' \"twice\" \\ back",
        public_input_text="***",
        output_text="out",
        public_output_text="o**",
        created_at=1_723_456_789.1234567,
        agent_name="agent",
        workflow_name="flow",
        workflow_kind="sequential",
        current_step_id="s1",
        current_step_index=0,
        current_node_id="n1",
        continuation_id="cont_1",
        session_id="session",
        parent_run_id=run_id("parent"),
        tags=("one", "two"),
        environment="test",
        error_type="Oops",
        error_message="said so",
        deadline_at=START + 0.1,
        started_at=START + 0.2,
        completed_at=START + 0.3,
        metadata={"spec": "a.yaml", "deep": {"list": [1, 2.5, None, True]}, "large": 2**70},
        input_tokens=3,
        output_tokens=4,
        cached_tokens=2,
        requests=5,
        cost_usd=0.123456789,
        tenant="north",
    )
    await store.create(replace(new_run("a"), record=given))
    assert await store.get_run(run_id("a")) == given
    assert await store.get_plan(PlanHash("plan")) == '{"flows":{}}'
    assert await store.get_plan(PlanHash("other")) is None
    assert await store.get_run(run_id("b")) is None


@case
async def events_read_back_as_they_were_given(store: Store) -> None:
    """Payload, public form and time are kept exactly; `after` and `limit` cut."""
    rows = (
        event(1, payload='{"text":"\\u0000 \\" \\\\ é"}', public='{"text":"***"}', at=1_723_456_789.1234567),
        event(2, payload='{"n":1.0e3,"keep":  "blanks"}'),
        event(3),
    )
    await store.create(replace(new_run("a"), events=rows))
    assert tuple(await store.events(run_id("a"))) == rows
    assert tuple(await store.events(run_id("a"), after=1)) == rows[1:]
    assert tuple(await store.events(run_id("a"), after=1, limit=1)) == rows[1:2]
    assert tuple(await store.events(run_id("b"))) == ()


@case
async def an_id_is_given_once(store: Store) -> None:
    """A second run with the same id is refused, and nothing of it is written."""
    await store.create(new_run("a"))
    twin = replace(
        new_run("a", plan_hash=PlanHash("twin"), input_text="twin"), audit=(audit("twin"),), events=(event(1, "twin"),)
    )
    assert run_id("a") in await refusal(StoreError, store.create(twin))
    assert (await store.events(run_id("a")))[0].kind == "run_created"
    assert await store.get_plan(PlanHash("twin")) is None
    assert await store.count_audit(AuditFilter()) == 0
    assert await store.count_runs(RunFilter()) == 1


@case
async def of_concurrent_creations_with_one_id_one_wins(store: Store) -> None:
    """Also when they are written together."""
    results = await asyncio.gather(*(store.create(new_run("a")) for _ in range(8)), return_exceptions=True)
    assert results.count(False) == 1
    assert sum(isinstance(result, StoreError) for result in results) == 7


@case
async def an_append_writes_everything_that_it_implies(store: Store) -> None:
    """Events, projection, tasks, timers, audit and snapshot come together."""
    await store.create(new_run("a"))
    projection = running(
        status=RunStatus.BLOCKED,
        phase=Phase.WAITING_HUMAN,
        current_step_id="review",
        current_step_index=1,
        current_node_id="n",
        continuation_id="cont_t",
        started_at=START + 1,
        input_tokens=7,
        output_tokens=8,
        cached_tokens=6,
        requests=2,
        cost_usd=1.1,
        output_text="half",
        public_output_text="h***",
    )
    done = await store.append(
        append(
            "a",
            1,
            projection,
            events=(event(2), event(3)),
            opened=(task("t", "a"),),
            timers=(Timer(run_id("a"), TimerKind.HUMAN_DEADLINE, "cont_t", START + 5),),
            audit=(audit("x", run_id=run_id("a"), metadata={"k": [1]}),),
            snapshot='{"seq":3}',
        )
    )
    assert done == Appended(seq=3)
    assert [row.seq for row in await store.events(run_id("a"))] == [1, 2, 3]
    assert await store.get_run(run_id("a")) == record(
        "a",
        seq=3,
        **{name: getattr(projection, name) for name in projection.__dataclass_fields__},
    )
    assert await store.get_task(ContinuationId("cont_t")) == task("t", "a")
    assert [timer.key for timer in await store.due_timers(kinds=tuple(TimerKind))] == ["cont_t"]
    assert await store.list_audit(AuditFilter()) == [audit("x", run_id=run_id("a"), metadata={"k": [1]})]
    assert await store.snapshot(run_id("a")) == Snapshot(3, '{"seq":3}')


@case
async def a_refused_append_writes_nothing(store: Store) -> None:
    """Not one row of it, whatever it would have brought."""
    await store.create(new_run("a"))
    before = await store.get_run(run_id("a"))
    refused = await store.append(
        append(
            "a",
            0,
            ended(output_text="out"),
            opened=(task("t", "a"),),
            timers=(Timer(run_id("a"), TimerKind.RETRY, "k", START),),
            audit=(audit("x"),),
            snapshot="{}",
        )
    )
    assert refused == Refused(Refusal.SEQUENCE, seq=1, status=RunStatus.CREATED)
    assert await store.get_run(run_id("a")) == before
    assert len(await store.events(run_id("a"))) == 1
    assert await store.get_task(ContinuationId("cont_t")) is None
    assert await store.next_due() is None
    assert await store.count_audit(AuditFilter()) == 0
    assert await store.snapshot(run_id("a")) is None


@case
async def the_first_refusal_in_order_is_named(store: Store) -> None:
    """Missing, fence, ended, sequence, task."""
    closed = (TaskClosing(ContinuationId("cont_none"), TaskStatus.ANSWERED, START),)
    wrong = append("a", 7, closed=closed, fence=9, owner=BERT)
    assert await store.append(wrong) == Refused(Refusal.MISSING)
    await store.create(new_run("a"))
    fence = await claimed(store, "a")
    assert await store.append(wrong) == Refused(Refusal.FENCE, 1, RunStatus.CREATED)
    await store.append(append("a", 1, ended()))
    assert await store.append(wrong) == Refused(Refusal.FENCE, 2, RunStatus.COMPLETED)
    assert await store.append(replace(wrong, fence=None)) == Refused(Refusal.ENDED, 2, RunStatus.COMPLETED)
    await store.create(new_run("b"))
    fence = await claimed(store, "b")
    other = append("b", 7, closed=closed, fence=fence, owner=ANNA)
    assert await store.append(other) == Refused(Refusal.SEQUENCE, 1, RunStatus.CREATED)
    at_last = replace(other, expected_seq=1, events=(event(2),))
    assert await store.append(at_last) == Refused(Refusal.TASK, 1, RunStatus.CREATED)


@case
async def only_a_failed_run_is_revived(store: Store) -> None:
    """`revive` opens a failed run again and no other terminal one."""
    for status in RunStatus:
        if not status.is_terminal:
            continue
        await store.create(new_run(status))
        await store.append(append(status, 1, ended(status)))
        assert await store.append(append(status, 2)) == Refused(Refusal.ENDED, 2, status)
        revived = await store.append(append(status, 2, revive=True))
        if status is RunStatus.FAILED:
            assert revived == Appended(3)
            (claim,) = await store.claim(ANNA, lease_seconds=60, run_id=run_id(status))
            assert claim.run_id == run_id(status)
        else:
            assert revived == Refused(Refusal.ENDED, 2, status)


@case
async def of_concurrent_appends_of_one_run_exactly_one_wins(store: Store) -> None:
    """The others are told that something came in between."""
    await store.create(new_run("a"))
    results = await asyncio.gather(*(store.append(append("a", 1, audit=(audit(str(n)),))) for n in range(20)))
    assert results.count(Appended(2)) == 1
    assert sum(result == Refused(Refusal.SEQUENCE, 2, RunStatus.RUNNING) for result in results) == 19
    assert len(await store.events(run_id("a"))) == 2
    assert await store.count_audit(AuditFilter()) == 1


@case
async def appends_of_many_runs_do_not_mix(store: Store) -> None:
    """Each of many concurrent callers finds its own journal without a gap."""
    names = [str(number) for number in range(30)]

    async def live(name: str) -> None:
        await store.create(new_run(name))
        for seq in range(1, 6):
            done = await store.append(append(name, seq, events=(event(seq + 1, payload=f'"{name}-{seq}"'),)))
            assert done == Appended(seq + 1)

    await asyncio.gather(*map(live, names))
    for name in names:
        rows = await store.events(run_id(name))
        assert [row.payload for row in rows[1:]] == [f'"{name}-{seq}"' for seq in range(1, 6)]
        assert [row.seq for row in rows] == [1, 2, 3, 4, 5, 6]


@case
async def a_faulty_append_harms_no_neighbour(store: Store) -> None:
    """One that breaks a rule of the database raises StoreError; those written with it succeed."""
    await store.create(new_run("a"))
    await store.append(append("a", 1, opened=(task("t", "a"),)))
    for number in range(5):
        await store.create(new_run(f"n{number}"))
    again = append("a", 2, opened=(task("t", "a"),))
    results = await asyncio.gather(
        store.append(again), *(store.append(append(f"n{number}", 1)) for number in range(5)), return_exceptions=True
    )
    assert isinstance(results[0], StoreError)
    assert results[1:] == [Appended(2)] * 5
    assert len(await store.events(run_id("a"))) == 2


@case
async def numbers_without_a_gap_are_demanded(store: Store) -> None:
    """Events that do not follow the sequence are a mistake of the caller."""
    await store.create(new_run("a"))
    for wrong in (append("a", 1, events=(event(3),)), append("a", 1, events=(event(2), event(2)))):
        assert run_id("a") in await refusal(StoreError, store.append(wrong))
    assert len(await store.events(run_id("a"))) == 1


@case
async def an_append_without_events_changes_the_projection_alone(store: Store) -> None:
    """Its sequence stays."""
    await store.create(new_run("a"))
    assert await store.append(append("a", 1, events=())) == Appended(1)
    (head,) = await store.heads([run_id("a")])
    assert (head.seq, head.status) == (1, RunStatus.RUNNING)


@case
async def an_output_stays_until_another_is_given(store: Store) -> None:
    """`output_text` None leaves what is there; the other columns are set."""
    await store.create(new_run("a"))
    await store.append(append("a", 1, running(output_text="o", public_output_text="*", current_step_id="s")))
    await store.append(append("a", 2, running()))
    kept = await store.get_run(run_id("a"))
    assert kept is not None
    assert (kept.output_text, kept.public_output_text, kept.current_step_id) == ("o", "*", None)


@case
async def a_newer_snapshot_replaces_the_older(store: Store) -> None:
    """Only the newest is kept."""
    await store.create(new_run("a"))
    await store.append(append("a", 1, snapshot="1"))
    await store.append(append("a", 2, snapshot="2"))
    await store.append(append("a", 3))
    assert await store.snapshot(run_id("a")) == Snapshot(3, "2")


@case
async def heads_tell_where_runs_stand(store: Store) -> None:
    """Unknown ids are left out."""
    await store.create(new_run("a"))
    await store.create(new_run("b", phase=Phase.WAITING_TIMER))
    fence = await claimed(store, "a")
    found = {head.run_id: head for head in await store.heads([run_id("b"), run_id("x"), run_id("a")])}
    assert set(found) == {run_id("a"), run_id("b")}
    assert (found[run_id("a")].fence, found[run_id("a")].phase) == (fence, Phase.LEASED)
    assert (found[run_id("b")].fence, found[run_id("b")].phase) == (0, Phase.WAITING_TIMER)


@case
async def the_feed_gives_every_event_once_in_order(store: Store) -> None:
    """A reader that follows while others write misses nothing."""
    seen: list[tuple[str, int]] = []
    positions: list[int] = []
    total = 12 * 6

    async def live(name: str) -> None:
        await store.create(new_run(name))
        for seq in range(1, 6):
            await store.append(append(name, seq))

    async def follow() -> None:
        while len(seen) < total:
            for item in await store.feed(after=positions[-1] if positions else 0, limit=7):
                seen.append((item.run_id, item.row.seq))
                positions.append(item.position)

    await asyncio.wait_for(asyncio.gather(follow(), *(live(str(number)) for number in range(12))), timeout=60)
    assert len(set(seen)) == total
    assert positions == sorted(set(positions))
    for number in range(12):
        assert [seq for run, seq in seen if run == run_id(str(number))] == [1, 2, 3, 4, 5, 6]


@case
async def changes_are_noticed(store: Store) -> None:
    """The number stands still while nothing is written."""
    first = await store.changes()
    assert await store.changes() == first


@case
async def large_texts_come_back_as_they_were_written(store: Store) -> None:
    """Whatever a store makes of them: events, their public forms, snapshots, also through the feed."""
    large = (
        json.dumps({"text": "the same words again and again ☕ " * 2_000}, ensure_ascii=False),
        json.dumps({"text": hashlib.shake_256(b"seed").hexdigest(20_000)}),
        json.dumps({"text": "z1:" * 5_000, "nul": "\0"}),
        json.dumps("z1:"),
    )
    await store.create(new_run("a"))
    rows = tuple(event(place, payload=text, public=large[0]) for place, text in enumerate(large, start=2))
    state = json.dumps({"state": "kept " * 10_000})
    await store.append(append("a", 1, events=rows, snapshot=state))
    assert tuple(await store.events(run_id("a"), after=1)) == rows
    assert tuple(item.row for item in await store.feed(after=1)) == rows
    snapshot = await store.snapshot(run_id("a"))
    assert snapshot is not None
    assert snapshot.state == state
