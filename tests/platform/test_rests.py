"""How a run stood at its first rest is computed from its journal, whatever has happened since."""

import asyncio
from pathlib import Path

import pytest

from kneo_serv.errors import NotFoundError
from kneo_serv.model.idempotency import IdempotencyKey
from kneo_serv.model.ids import RunId
from kneo_serv.model.run import RunRecord, RunResult
from kneo_serv.model.task import HumanResponse, HumanTask
from kneo_serv.platform.answers import result_at
from kneo_serv.platform.platform import Platform, Submission
from kneo_serv.store.contract import RetentionCut
from tests.platform.functions import FAILURES
from tests.platform.worlds import PATIENCE, opened, person, plan, run, step

type Seen = tuple[RunRecord, HumanTask | None, RunResult]


async def seen(platform: Platform, run_id: RunId) -> Seen:
    """How the run stands now."""
    tasks = await platform.store.list_tasks(run_id=run_id)
    return await platform.record(run_id), tasks[0] if tasks else None, await platform.result(run_id)


async def assert_stood(platform: Platform, from_seq: int, then: Seen) -> None:
    record, task, result = then
    rest = await platform.first_rest(record.id, from_seq)
    assert rest is not None
    assert rest.record == record
    assert rest.task == task
    assert result_at(rest) == result
    assert rest.events[-1].seq == record.seq


def test_every_rest_of_a_run_can_be_told_when_all_is_over(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            people = [person(), {**person(), "id": "again"}]
            record = await run(platform, plan(step("upper"), people[0], step("exclaim"), people[1], step("leaking")))
            rests, begins = [await seen(platform, record.id)], [1]
            while record.status == "blocked":
                (task,) = await platform.store.list_tasks(run_id=record.id)
                key = IdempotencyKey("human:resume", "anna", task.continuation_id, "body")
                await platform.answer(
                    task.continuation_id,
                    HumanResponse(task.request.id, "approved", "my key sk-abcdefghijklmnop1234"),
                    key=key,
                )
                bound = await platform.store.get_key(key.scope, key.principal, key.key)
                assert bound is not None
                begins.append(bound.from_seq)
                record = await platform.run_to_rest(record.id, patience=PATIENCE)
                rests.append(await seen(platform, record.id))
            assert len(rests) == 3
            for begin, then in zip(begins, rests, strict=True):
                await assert_stood(platform, begin, then)

    asyncio.run(story())


def test_a_rest_is_one_of_all_branches(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            branches = [person(), {**person(), "id": "second"}, step("upper")]
            record = await run(platform, plan(*branches, order="concurrent"))
            rests, begins = [await seen(platform, record.id)], [1]
            assert len(await platform.store.list_tasks(run_id=record.id)) == 2
            while record.status == "blocked":
                task = (await platform.store.list_tasks(run_id=record.id))[-1]
                begins.append(record.seq + 1)
                await platform.answer(task.continuation_id, HumanResponse(task.request.id, "approved"))
                record = await platform.run_to_rest(record.id, patience=PATIENCE)
                rests.append(await seen(platform, record.id))
            assert [then[0].status for then in rests] == ["blocked", "blocked", "completed"]
            for begin, then in zip(begins, rests, strict=True):
                await assert_stood(platform, begin, then)

    asyncio.run(story())


def test_a_failure_is_told_though_the_run_was_continued(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            record = await platform.start(Submission(plan(step("moody")), "rested badly"))
            FAILURES["rested badly"] = 1
            await platform.run_to_rest(record.id, patience=PATIENCE)
            failed = await seen(platform, record.id)
            await platform.continue_run(record.id)
            record = await platform.run_to_rest(record.id, patience=PATIENCE)
            assert (failed[0].status, record.status) == ("failed", "completed")
            await assert_stood(platform, 1, failed)
            await assert_stood(platform, failed[0].seq + 1, await seen(platform, record.id))

    asyncio.run(story())


def test_a_run_that_has_not_rested_tells_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            record = await platform.start(Submission(plan(step("upper")), "tea"))
            assert await platform.first_rest(record.id, 1) is None
            await platform.cancel(record.id)
            await assert_stood(platform, 1, await seen(platform, record.id))
            assert await platform.first_rest(record.id, 99) is None
            with pytest.raises(NotFoundError):
                await platform.first_rest(RunId("run_unknown"), 1)

    asyncio.run(story())


def test_of_a_run_whose_history_is_gone_the_end_is_left(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            record = await run(platform, plan(step("upper")))
            await platform.store.prune(RetentionCut(events_before=record.updated_at + 1))
            rest = await platform.first_rest(record.id, 1)
            assert rest is not None
            assert (rest.record, rest.task, rest.events) == (record, None, ())

    asyncio.run(story())
