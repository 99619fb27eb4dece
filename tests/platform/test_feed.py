"""Following all runs: every event once and in order, for many followers at the cost of one."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from kneo_serv.errors import InvalidRequestError, PlatformClosedError, StoreError
from kneo_serv.model.run import RunStatus
from kneo_serv.platform.feed import Feed, FeedFilter
from kneo_serv.platform.platform import Platform
from kneo_serv.platform.views import LightEvent, trace_events
from kneo_serv.platform.watch import Watch
from kneo_serv.store.contract import FeedItem
from kneo_serv.store.sqlite import SQLiteStore
from tests.platform.worlds import PATIENCE, answer, manager, opened, person, plan, run, spec, step, until

WHOLE = plan(step("upper"), step("exclaim"))
ASKED = plan(step("upper"), person())


async def told(platform: Platform, count: int, **how: Any) -> list[LightEvent]:
    """The first events of a feed."""
    found: list[LightEvent] = []
    async with asyncio.timeout(PATIENCE), aclosing(platform.feed(**how)) as events:
        async for event in events:
            found.append(event)
            if len(found) == count:
                break
    return found


async def history(platform: Platform) -> list[LightEvent]:
    """Everything that is told of what there is."""
    found: list[LightEvent] = []
    newest = await platform.store.last_position()
    async with asyncio.timeout(PATIENCE), aclosing(platform.feed_stretches(FeedFilter(), after=0)) as stretches:
        async for stretch in stretches:
            found += stretch.events
            if stretch.position >= newest:
                return found
    raise AssertionError("the feed has ended")


def names(events: Sequence[LightEvent]) -> list[tuple[str, str]]:
    return [(event.run_id, event.type) for event in events]


def test_the_events_of_all_runs_come_in_the_order_of_their_positions_with_the_names_of_the_trace(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            records = [await run(platform, WHOLE, text) for text in ("tea", "milk")]
            events = await history(platform)
            assert [event.position for event in events] == sorted({event.position for event in events})
            for record in records:
                rows, _ = trace_events(record, await platform.events(record.id))
                its = [event.to_dict() for event in events if event.run_id == record.id]
                assert [(row["type"], row["event_id"], row["sequence"], row["step_id"]) for row in its] == [
                    (row["type"], row["event_id"], row["sequence"], row["step_id"]) for row in rows
                ]
                assert {row["status"] for row in its} == {"completed"}

    asyncio.run(story())


def test_who_follows_from_now_on_is_told_of_nothing_older(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            await run(platform, WHOLE)
            position = await platform.feed_position(None)
            later = await run(platform, WHOLE)
            (first, *_) = await told(platform, 3, after=position)
            assert (first.run_id, first.type) == (later.id, "workflow_started")

    asyncio.run(story())


def test_who_goes_on_from_any_position_misses_nothing_and_hears_nothing_twice(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            await run(platform, WHOLE)
            events = await history(platform)
        async with opened(tmp_path) as platform:
            await run(platform, WHOLE)
            whole = await history(platform)
            assert names(whole[: len(events)]) == names(events)
            for place in range(len(whole) - 1):
                rest = await told(platform, len(whole) - place - 1, after=whole[place].position)
                assert names(rest) == names(whole[place + 1 :])

    asyncio.run(story())


def test_what_two_platforms_write_at_once_is_told_by_both_once_and_in_one_order(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as here, opened(tmp_path) as there:
            followed = [asyncio.create_task(told(one, 8 * 6, after=0)) for one in (here, there)]
            await asyncio.gather(*(run(one, WHOLE, f"{n}") for n in range(4) for one in (here, there)))
            seen = await asyncio.gather(*followed)
            assert names(seen[0]) == names(seen[1]) == names(await history(here))

    asyncio.run(story())


def test_only_what_was_asked_for_is_told(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            asked, whole = await run(platform, ASKED), await run(platform, WHOLE, session_id="s1")
            for chosen, told_of in (
                (FeedFilter(run_ids=frozenset({asked.id})), {asked.id}),
                (FeedFilter(statuses=frozenset({"paused"})), {asked.id}),
                (FeedFilter(statuses=frozenset({"blocked"})), {asked.id}),
                (FeedFilter(statuses=frozenset({"completed"})), {whole.id}),
                (FeedFilter(workflow_names=frozenset({"flow"})), {asked.id, whole.id}),
                (FeedFilter(session_ids=frozenset({"s1"})), {whole.id}),
                (FeedFilter(types=frozenset({"human_intervention_requested"})), {asked.id}),
                (FeedFilter(agent_names=frozenset({"stranger"})), set()),
            ):
                stretches = platform.feed_stretches(chosen, after=0)
                stretch = await anext(stretches)
                await stretches.aclose()
                assert {event.run_id for event in stretch.events} == told_of, chosen
                assert stretch.position == await platform.store.last_position(), "also what was passed over is behind"

    asyncio.run(story())


def test_the_feed_of_a_tenant_tells_of_no_other_be_it_old_or_new(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            ours, theirs = [], []
            ours.append((await run(platform, WHOLE, tenant="north")).id)
            theirs.append((await run(platform, WHOLE, tenant="south")).id)
            following = asyncio.create_task(told(platform, 12, after=0, chosen=FeedFilter(tenant="north")))
            without = asyncio.create_task(told(platform, 6, after=0, chosen=FeedFilter(tenant="")))
            nobodys = (await run(platform, WHOLE)).id
            theirs.append((await run(platform, WHOLE, tenant="south")).id)
            ours.append((await run(platform, WHOLE, tenant="north")).id)
            assert {event.run_id for event in await following} == set(ours)
            assert {event.run_id for event in await without} == {nobodys}

    asyncio.run(story())


class Counted(SQLiteStore):
    """A store that counts what a feed asks of it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.asked = 0

    async def feed(self, *, after: int = 0, limit: int = 500, tenant: str | None = None) -> Sequence[FeedItem]:
        self.asked += 1
        return await super().feed(after=after, limit=limit, tenant=tenant)


def test_many_idle_followers_cost_the_store_what_one_costs(tmp_path: Path) -> None:
    async def story() -> None:
        store = Counted(tmp_path / "runs.sqlite")
        async with opened(tmp_path, store=store) as platform:
            await run(platform, WHOLE)
            followers = [asyncio.create_task(told(platform, 6)) for _ in range(100)]

            async def settled() -> bool:
                before = store.asked
                # Changes are looked for every 10 ms here: some ten times.
                await asyncio.sleep(0.1)
                return store.asked == before

            await until(settled)
            assert store.asked <= 3
            before = store.asked
            await run(platform, WHOLE)
            heard = await asyncio.gather(*followers)
            assert all(names(events) == names(heard[0]) for events in heard)
            assert store.asked - before < 20

    asyncio.run(story())


def test_who_falls_behind_reads_from_the_store_and_loses_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            watch = Watch(platform.store, interval=0.01)
            feed = Feed(platform.store, watch, kept=5)
            await run(platform, WHOLE, "first")
            slow = feed.follow(FeedFilter(), after=await feed.begin(0))
            seen = list((await anext(slow)).events)
            for n in range(5):
                await run(platform, WHOLE, f"{n}")
            expected = await history(platform)
            async with asyncio.timeout(PATIENCE):
                while len(seen) < len(expected):
                    seen += (await anext(slow)).events
            assert names(seen) == names(expected)
            assert len(feed._recent) <= 5
            await slow.aclose()
            await feed.close()
            await watch.close()

    asyncio.run(story())


def test_when_the_last_follower_has_gone_nobody_asks_the_store_any_more(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            await run(platform, WHOLE)
            await told(platform, 6, after=0)

            async def idle() -> bool:
                task = platform._watch._task
                return platform._feed._reader is None and (task is None or task.done())

            await until(idle)
            assert not platform._feed._recent

    asyncio.run(story())


class Moody(SQLiteStore):
    """A store that can be made to fail."""

    fault: Exception | None = None

    async def feed(self, *, after: int = 0, limit: int = 500, tenant: str | None = None) -> Sequence[FeedItem]:
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
        return await super().feed(after=after, limit=limit, tenant=tenant)


def test_a_store_that_fails_for_a_moment_costs_nobody_an_event(tmp_path: Path) -> None:
    async def story() -> None:
        store = Moody(tmp_path / "runs.sqlite")
        async with opened(tmp_path, store=store) as platform:
            following = asyncio.create_task(told(platform, 6))
            await until(_followed(platform))
            store.fault = StoreError("the database is locked")
            await run(platform, WHOLE)
            assert [event.type for event in await following][-1] == "workflow_completed"

    asyncio.run(story())


def test_a_fault_that_nobody_expected_reaches_every_follower_and_not_the_next_one(tmp_path: Path) -> None:
    async def story() -> None:
        store = Moody(tmp_path / "runs.sqlite")
        async with opened(tmp_path, store=store) as platform:
            following = [asyncio.create_task(told(platform, 6)) for _ in range(3)]
            await until(_followed(platform))
            store.fault = ZeroDivisionError()
            await run(platform, WHOLE)
            faults = await asyncio.gather(*following, return_exceptions=True)
            assert [type(fault) for fault in faults] == [ZeroDivisionError] * 3
            assert len(await told(platform, 6, after=0)) == 6

    asyncio.run(story())


def _followed(platform: Platform) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return platform._feed._head is not None

    return holds


def test_an_event_that_this_version_cannot_read_does_not_hold_up_the_others(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path, sound=False) as platform:
            record = await run(platform, WHOLE)
            with sqlite3.connect(tmp_path / "runs.sqlite") as db:
                db.execute("UPDATE run_events SET kind = 'from_the_future' WHERE seq = 3")
            events = await history(platform)
            assert "from_the_future" in [event.type for event in events]
            assert events[-1].type == "workflow_completed"
            assert {event.run_id for event in events} == {record.id}

    asyncio.run(story())


def test_the_status_is_that_of_the_run_when_it_is_told(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            record = await run(platform, ASKED)
            assert {event.status for event in await history(platform)} == {RunStatus.BLOCKED}
            await answer(platform, record.id)
            (asked,) = [event for event in await history(platform) if event.type == "human_intervention_requested"]
            assert asked.status is RunStatus.COMPLETED
            assert asked.continuation_id is not None

    asyncio.run(story())


def test_the_end_of_the_platform_ends_a_feed_with_an_error_that_says_how_far_it_came(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            await run(platform, WHOLE)
            newest = await platform.store.last_position()
            stretches = platform.feed_stretches(FeedFilter(), after=0)
            await anext(stretches)
            following = asyncio.ensure_future(anext(stretches))
            await asyncio.sleep(0)
        with pytest.raises(PlatformClosedError, match=f"up to position {newest}"):
            await following

    asyncio.run(story())


def test_a_position_that_is_none_is_refused_and_one_that_is_ahead_means_now(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            await run(platform, WHOLE)
            with pytest.raises(InvalidRequestError, match="position"):
                await platform.feed_position(-1)
            newest = await platform.store.last_position()
            assert await platform.feed_position(10**12) == await platform.feed_position(None) == newest

    asyncio.run(story())


def test_scripts_follow_all_runs_too(tmp_path: Path) -> None:
    made, flow = manager(tmp_path), spec(step("upper"), step("exclaim"))
    first = made.run_from_spec(spec=flow, input_text="tea", target="workflow")
    feed = made.feed(after=0)
    assert [next(feed).run_id for _ in range(6)] == [first.run_id] * 6
    later = made.run_from_spec(spec=flow, input_text="tea", target="workflow")
    assert [next(feed).run_id for _ in range(6)] == [later.run_id] * 6
    with pytest.raises(InvalidRequestError):
        next(made.feed(after=-1))
    made.shutdown()
    with pytest.raises(PlatformClosedError):
        next(feed)
