import asyncio
from pathlib import Path
from typing import Any

import pytest

from kneo_serv.errors import KneoError
from kneo_serv.model.ids import RunId
from kneo_serv.model.page import AuditFilter
from kneo_serv.model.run import RunRecord
from kneo_serv.model.task import HumanResponse
from kneo_serv.platform.platform import Platform
from kneo_serv.store.contract import TimerKind
from tests.platform.functions import GATES, calls
from tests.platform.worlds import PATIENCE, answer, audit, begun, kinds, opened, person, plan, run, step, task_of, until

LATER = 10_000.0
"""Seconds after which every deadline in here has passed."""


async def overdue(platform: Platform, *sides: Platform) -> list[bool]:
    """Fires from all sides what is due later; which of them found something to do."""
    now = await platform.store.now() + LATER
    timers = await platform.due(TimerKind.HUMAN_DEADLINE, now=now, limit=10)
    return list(await asyncio.gather(*(side.fire(timer, now=now) for timer in timers for side in (platform, *sides))))


async def asked(platform: Platform, **human: Any) -> RunRecord:
    return await run(platform, plan(person(timeout_seconds=60, **human), step("exclaim")))


def test_a_deadline_that_fails_expires_the_run_exactly_once(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform, opened(tmp_path) as other:
            record = await asked(platform)
            task = await task_of(platform, record.id)
            assert sorted(await overdue(platform, other)) == [False, True]
            record = await platform.record(record.id)
            assert (record.status, record.error_type) == ("expired", "human_task_expired")
            assert "60 seconds" in (record.error_message or "")
            (event,) = await platform.store.list_audit(AuditFilter("human.expired"))
            assert event.continuation_id == task.continuation_id
            assert event.metadata["timeout_seconds"] == 60
            assert event.metadata["on_timeout"] == "fail"
            assert event.metadata["expires_at"] == task.expires_at
            assert event.metadata["expired_at"] > 0
            assert await overdue(platform) == []
            assert calls("exclaim", record.id) == 0

    asyncio.run(story())


@pytest.mark.parametrize(
    ("human", "output"),
    [({}, "tea!"), ({"request_type": "selection", "options": ["a", "b"], "default_option": "b"}, "b!")],
)
def test_a_deadline_that_continues_takes_the_run_past_its_person_exactly_once(
    tmp_path: Path, human: dict[str, Any], output: str
) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform, opened(tmp_path) as other:
            record = await asked(platform, on_timeout="continue", assignee="mia", **human)
            assert sorted(await overdue(platform, other)) == [False, True]
            record = await platform.run_to_rest(record.id, patience=PATIENCE)
            assert (record.status, record.output_text) == ("completed", output)
            assert calls("exclaim", record.id) == 1
            assert (await audit(platform, record.id)).count("human.continued") == 1
            assert "human.decision" not in await audit(platform, record.id)

    asyncio.run(story())


def test_a_run_that_fails_after_its_deadline_continued_it_is_not_stranded(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            flow = plan(person(timeout_seconds=60, on_timeout="continue"), step("leaking"))
            record = await run(platform, flow)
            assert await overdue(platform) == [True]
            record = await platform.run_to_rest(record.id, patience=PATIENCE)
            assert record.status == "failed"
            (event,) = await platform.store.list_audit(AuditFilter("human.continue_failed"))
            assert event.continuation_id is not None
            assert event.metadata["error_type"] == "RuntimeError"
            assert "hunter2" not in event.metadata["error_message"]
            assert event.metadata["on_timeout"] == "continue"

    asyncio.run(story())


def test_a_deadline_that_escalates_marks_the_task_once_and_leaves_it_open(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform, opened(tmp_path) as other:
            record = await asked(platform, on_timeout="escalate", assignee="mia")
            assert sorted(await overdue(platform, other)) == [False, True]
            task = await task_of(platform, record.id)
            assert task.escalated_at is not None
            assert await overdue(platform) == []
            assert (await audit(platform, record.id)).count("human.escalated") == 1
            (told,) = await platform.store.list_audit(AuditFilter("human.escalated"))
            assert (told.metadata["assignee"], told.metadata["on_timeout"]) == ("mia", "escalate")
            assert (await answer(platform, record.id)).output_text == "tea!"

    asyncio.run(story())


def test_an_answer_and_its_deadline_have_one_winner(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform, opened(tmp_path) as other:
            for _ in range(8):
                record = await asked(platform)
                task = await task_of(platform, record.id)
                given = asyncio.create_task(_answered(other, task.continuation_id, task.request.id))
                (fired,) = await overdue(platform)
                assert fired is not await given
                record = await platform.run_to_rest(record.id, patience=PATIENCE)
                assert record.status == ("expired" if fired else "completed")
                assert calls("exclaim", record.id) == (0 if fired else 1)

    asyncio.run(story())


async def _answered(platform: Platform, continuation_id: Any, request_id: str) -> bool:
    try:
        await platform.answer(continuation_id, HumanResponse(request_id, "approved"))
    except KneoError:
        return False
    return True


def test_the_timekeeper_fires_human_deadlines_by_itself(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform, opened(tmp_path) as other:
            flow = plan(person(timeout_seconds=0.01, on_timeout="continue"), step("exclaim"))
            record = await run(platform, flow)
            platform.start_worker()
            other.start_worker()
            await until(lambda: _ended(platform, record.id))
            assert calls("exclaim", record.id) == 1
            assert (await kinds(platform, record.id)).count("human_expired") == 1

    asyncio.run(story())


async def _ended(platform: Platform, run_id: RunId) -> bool:
    return (await platform.record(run_id)).status.is_terminal


def test_a_run_that_executes_ends_at_its_deadline(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            flow = plan(step("gated_async"), step("exclaim"))
            run_id = await begun(platform, flow, "deadline while at work", timeout_seconds=0.05)
            record = await platform.run_to_rest(run_id, patience=PATIENCE)
            assert (record.status, record.error_type) == ("timed_out", "run_timed_out")
            assert await asyncio.to_thread(GATES["deadline while at work"].cancelled.wait, 5)
            assert calls("exclaim", run_id) == 0
            (event,) = await platform.store.list_audit(AuditFilter("run.timed_out"))
            assert event.metadata["status_at_timeout"] == "running"
            assert event.metadata["timeout_seconds"] == 0.05
            assert event.metadata["timed_out_at"] >= event.metadata["deadline_at"]

    asyncio.run(story())


def test_a_run_that_waits_for_a_person_ends_at_its_deadline(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform, opened(tmp_path) as other:
            record = await run(platform, plan(person(), step("exclaim")), timeout_seconds=60)
            now = await platform.store.now() + LATER
            (timer,) = await platform.due(TimerKind.RUN_DEADLINE, now=now, limit=10)
            fired = await asyncio.gather(platform.fire(timer), other.fire(timer))
            assert sorted(fired) == [False, True]
            record = await platform.record(record.id)
            assert record.status == "timed_out"
            assert await platform.store.list_tasks(run_id=record.id) == []
            (event,) = await platform.store.list_audit(AuditFilter("run.timed_out"))
            assert event.metadata["status_at_timeout"] == "blocked"

    asyncio.run(story())


def test_a_continued_run_keeps_its_deadline(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            flow = plan(step("leaking", id="a"), person())
            record = await run(platform, flow, timeout_seconds=60)
            assert record.status == "failed"
            await platform.continue_run(record.id)
            timers = await platform.due(TimerKind.RUN_DEADLINE, now=await platform.store.now() + LATER, limit=10)
            assert [timer.run_id for timer in timers] == [record.id]

    asyncio.run(story())
