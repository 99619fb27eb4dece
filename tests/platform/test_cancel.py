import asyncio
from pathlib import Path

import pytest

from kneo_serv.errors import NotFoundError
from kneo_serv.model import event as ev
from kneo_serv.model.ids import RunId
from kneo_serv.model.task import HumanResponse
from kneo_serv.platform.platform import Platform
from tests.platform.functions import GATES, calls
from tests.platform.worlds import PATIENCE, audit, begun, kinds, opened, person, plan, run, step, task_of, until


def test_nothing_begins_after_a_cancel_and_the_late_word_of_a_function_is_noted(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path, grace_seconds=5.0) as platform:
            run_id = await begun(platform, plan(step("gated"), step("exclaim")), "cancel me")
            record = await platform.cancel(run_id, actor="mia")
            assert (record.status, record.error_type, record.lease_owner) == ("cancelled", "cancelled", None)
            GATES["cancel me"].passable.set()
        async with opened(tmp_path) as platform:
            record = await platform.record(run_id)
            assert (record.status, record.output_text) == ("cancelled", None)
            assert calls("exclaim", run_id) == 0
            assert (await kinds(platform, run_id))[-2:] == ["run_cancelled", "late_outcome"]
            last = (await platform.events(run_id))[-1].event
            assert isinstance(last, ev.LateOutcome)
            assert (last.outcome, last.output_text) == ("step_completed", "cancel me passed")

    asyncio.run(story())


def test_a_function_that_outlives_the_grace_is_abandoned_and_counted(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path, grace_seconds=0.01) as platform:
            run_id = await begun(platform, plan(step("gated"), step("exclaim")), "outlive")
            await platform.cancel(run_id)
            await until(lambda: _abandoned(platform, 1))
            GATES["outlive"].passable.set()
            await until(lambda: _abandoned(platform, 0))
            assert (await kinds(platform, run_id))[-1] == "run_cancelled"
            assert calls("exclaim", run_id) == 0

    asyncio.run(story())


async def _abandoned(platform: Platform, number: int) -> bool:
    return platform.abandoned_calls == number


def test_an_async_step_is_cancelled_with_its_run(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            run_id = await begun(platform, plan(step("gated_async"), step("exclaim")), "cancel async")
            await platform.cancel(run_id)
            assert await asyncio.to_thread(GATES["cancel async"].cancelled.wait, 5)
            assert calls("exclaim", run_id) == 0

    asyncio.run(story())


def test_what_comes_after_the_cancel_is_noted_and_changes_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            run_id = await begun(platform, plan(step("stubborn"), step("exclaim")), "stubborn")
            await platform.cancel(run_id)
        async with opened(tmp_path) as platform:
            assert (await kinds(platform, run_id))[-2:] == ["run_cancelled", "late_outcome"]
            record = await platform.record(run_id)
            assert (record.status, record.output_text) == ("cancelled", None)
            assert calls("exclaim", run_id) == 0

    asyncio.run(story())


def test_cancelling_twice_leaves_one_event_and_one_line_of_audit(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            record = await run(platform, plan(person(), step("exclaim")))
            task = await task_of(platform, record.id)
            for _ in range(3):
                assert (await platform.cancel(record.id)).status == "cancelled"
            assert (await kinds(platform, record.id)).count("run_cancelled") == 1
            assert (await audit(platform, record.id)).count("run.cancelled") == 1
            assert await platform.store.list_tasks(run_id=record.id) == []
            with pytest.raises(NotFoundError):
                await platform.answer(task.continuation_id, HumanResponse(task.request.id, "approved"))

    asyncio.run(story())


def test_a_completed_run_stays_completed(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            record = await run(platform, plan(step("upper")))
            assert (await platform.cancel(record.id)).status == "completed"
            assert "run.cancelled" not in await audit(platform, record.id)

    asyncio.run(story())


def test_a_cancel_from_another_process_reaches_the_attempt_in_flight(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform, opened(tmp_path) as other:
            run_id = await begun(platform, plan(step("gated_async"), step("exclaim")), "cancel from afar")
            waiting = asyncio.create_task(platform.run_to_rest(run_id, patience=PATIENCE))
            assert (await other.cancel(run_id)).status == "cancelled"
            assert await asyncio.to_thread(GATES["cancel from afar"].cancelled.wait, 5)
            assert (await waiting).status == "cancelled"
            assert calls("exclaim", run_id) == 0

    asyncio.run(story())


def test_an_unknown_run_cannot_be_cancelled(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            with pytest.raises(NotFoundError):
                await platform.cancel(RunId("run_nothing"))

    asyncio.run(story())
