import asyncio
from pathlib import Path

import pytest

from kneo_serv.errors import RunStateConflictError
from kneo_serv.model.page import Page, RunFilter
from kneo_serv.model.run import Phase
from kneo_serv.platform.platform import Platform
from kneo_serv.store.contract import TimerKind
from tests.platform.functions import FAILURES, GATES, calls
from tests.platform.worlds import PATIENCE, audit, begun, kinds, opened, person, plan, run, step, until


def test_a_short_backoff_is_waited_for_and_the_attempt_repeated(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            FAILURES["short"] = 2
            flow = plan(step("moody", max_retries=2, backoff_seconds=0.01), step("exclaim"))
            record = await run(platform, flow, "short")
            assert (record.status, record.output_text) == ("completed", "short at last!")
            assert calls("moody", record.id) == 3
            assert await platform.due(TimerKind.RETRY, now=1e12, limit=10) == []

    asyncio.run(story())


def test_a_long_backoff_holds_no_lease_and_whoever_comes_by_goes_on(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path, short_wait_seconds=0.0) as platform, opened(tmp_path) as other:
            FAILURES["long"] = 1
            flow = plan(step("moody", max_retries=1, backoff_seconds=0.05))
            started = asyncio.create_task(run(platform, flow, "long"))
            await until(lambda: _waits_for_timer(platform))
            (record,) = await platform.store.list_runs(RunFilter(), Page())
            assert (record.status, record.lease_owner) == ("running", None)
            other.start_worker()
            record = await started
            assert (record.status, record.output_text) == ("completed", "long at last")
            assert calls("moody", record.id) == 2

    asyncio.run(story())


async def _waits_for_timer(platform: Platform) -> bool:
    return any(record.phase is Phase.WAITING_TIMER for record in await platform.store.list_runs(RunFilter(), Page()))


def test_retries_fire_by_themselves_where_deadlines_are_left_to_the_prunes(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path, short_wait_seconds=0.0, timekeeper=False) as platform:
            FAILURES["no timekeeper"] = 1
            platform.start_worker()
            flow = plan(step("moody", max_retries=1, backoff_seconds=0.01))
            record = await run(platform, flow, "no timekeeper")
            assert record.status == "completed"

    asyncio.run(story())


@pytest.mark.parametrize(
    ("more", "status", "output"),
    [
        ({}, "failed", None),
        ({"on_error": "continue"}, "completed", "never!"),
        ({"on_error": "fallback", "fallback_ref": "exclaim"}, "completed", "never!!"),
    ],
)
def test_a_step_without_attempts_left_does_what_its_policy_says(
    tmp_path: Path, more: dict[str, str], status: str, output: str | None
) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            FAILURES["never"] = 100
            flow = plan(step("moody", max_retries=1, backoff_seconds=0.001, **more), step("exclaim"))
            record = await run(platform, flow, "never")
            assert (record.status, record.output_text) == (status, output)
            assert calls("moody", record.id) == 2

    asyncio.run(story())


def test_a_step_over_its_time_limit_fails_and_is_not_repeated(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            flow = plan(step("gated", timeout_seconds=0.02, max_retries=3, backoff_seconds=0.001))
            record = await run(platform, flow, "too slow")
            assert (record.status, record.error_type) == ("failed", "StepTimeoutError")
            assert "0.02 s" in (record.error_message or "")
            assert calls("gated", record.id) == 1
            assert platform.abandoned_calls == 1
            GATES["too slow"].passable.set()

    asyncio.run(story())


def test_a_time_out_of_the_functions_own_is_retried_like_any_failure(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            flow = plan(step("slow_service", max_retries=1, backoff_seconds=0.001, timeout_seconds=5))
            record = await run(platform, flow)
            assert (record.status, record.output_text) == ("completed", "tea answered")

    asyncio.run(story())


def test_a_continued_run_repeats_no_finished_step(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            FAILURES["TWICE"] = 1
            record = await run(platform, plan(step("upper"), step("moody"), step("exclaim")), "twice")
            assert (record.status, record.error_type) == ("failed", "RuntimeError")
            await platform.continue_run(record.id, actor="mia")
            record = await platform.run_to_rest(record.id, patience=PATIENCE)
            assert (record.status, record.output_text, record.error_type) == ("completed", "TWICE at last!", None)
            assert (calls("upper", record.id), calls("moody", record.id)) == (1, 2)
            assert (await audit(platform, record.id)).count("run.continued") == 1

    asyncio.run(story())


def test_a_run_that_failed_in_its_first_step_continues_from_there(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            FAILURES["first"] = 1
            record = await run(platform, plan(step("moody"), step("exclaim")), "first")
            assert record.status == "failed"
            await platform.continue_run(record.id)
            record = await platform.run_to_rest(record.id, patience=PATIENCE)
            assert record.output_text == "first at last!"

    asyncio.run(story())


def test_a_failed_run_whose_sibling_asked_a_person_asks_anew_when_continued(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            FAILURES["siblings"] = 1
            record = await run(platform, plan(step("moody"), person(), order="concurrent"), "siblings")
            assert record.status == "failed"
            assert await platform.store.list_tasks(run_id=record.id) == []
            await platform.continue_run(record.id)
            record = await platform.run_to_rest(record.id, patience=PATIENCE)
            assert record.status == "blocked"
            assert len(await platform.store.list_tasks(run_id=record.id)) == 1

    asyncio.run(story())


def test_only_failed_parked_and_orphaned_runs_are_continued(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            done = await run(platform, plan(step("upper")))
            waiting = await run(platform, plan(person()))
            busy = await begun(platform, plan(step("gated_async")), "busy")
            cancelled = await run(platform, plan(person()))
            await platform.cancel(cancelled.id)
            for run_id in (done.id, waiting.id, busy, cancelled.id):
                before = await kinds(platform, run_id)
                with pytest.raises(RunStateConflictError):
                    await platform.continue_run(run_id)
                assert await kinds(platform, run_id) == before
            await platform.cancel(busy)

    asyncio.run(story())


def test_of_many_that_continue_a_run_at_once_one_leg_comes(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform, opened(tmp_path) as other:
            FAILURES["at once"] = 1
            record = await run(platform, plan(step("moody"), step("gated_async")), "at once")
            sides = (platform, other) * 4
            tries = await asyncio.gather(*(side.continue_run(record.id) for side in sides), return_exceptions=True)
            assert any(one is None for one in tries)
            assert all(one is None or isinstance(one, RunStateConflictError) for one in tries)
            GATES["at once at last"].passable.set()
            ends = await asyncio.gather(*(side.run_to_rest(record.id, patience=PATIENCE) for side in sides))
            assert {end.status for end in ends} == {"completed"}
            assert calls("gated_async", record.id) == 1

    asyncio.run(story())
