import asyncio
from pathlib import Path

from kneo_serv.model.run import Phase
from kneo_serv.platform.platform import Platform, Submission
from tests.platform.functions import GATES, calls
from tests.platform.worlds import PATIENCE, begun, opened, plan, step, until


def test_a_drain_finishes_the_step_in_hand_and_hands_the_rest_back(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as rescuer:
            async with opened(tmp_path, sound=False) as leaving:
                run_id = await begun(leaving, plan(step("gated"), step("exclaim")), "drain")
                closing = asyncio.create_task(leaving.close(timeout=5))
                GATES["drain"].passable.set()
                assert await closing
            record = await rescuer.record(run_id)
            assert (record.phase, record.lease_owner, record.takeovers) == (Phase.RUNNABLE, None, 0)
            assert calls("exclaim", run_id) == 0
            rescuer.start_worker()
            record = await rescuer.run_to_rest(run_id, patience=PATIENCE)
            assert (record.status, record.output_text, record.takeovers) == ("completed", "drain passed!", 0)
            assert (calls("gated", run_id), calls("exclaim", run_id)) == (1, 1)

    asyncio.run(story())


def test_a_drain_that_runs_out_of_time_gives_the_lease_back_all_the_same(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as rescuer:
            async with opened(tmp_path, sound=False) as leaving:
                run_id = await begun(leaving, plan(step("gated_async"), step("exclaim")), "hurry")
                assert not await leaving.close(timeout=0.01)
            record = await rescuer.record(run_id)
            assert (record.phase, record.lease_owner) == (Phase.RUNNABLE, None)
            GATES["hurry"].passable.set()
            record = await rescuer.run_to_rest(run_id, patience=PATIENCE)
            assert (record.status, record.takeovers) == ("completed", 0)
            assert calls("gated_async", run_id) == 2

    asyncio.run(story())


def test_a_step_that_ends_while_it_is_left_is_not_done_again(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as rescuer:
            async with opened(tmp_path, sound=False) as leaving:
                run_id = await begun(leaving, plan(step("stubborn"), step("exclaim")), "left")
                assert not await leaving.close(timeout=0.01)
            record = await rescuer.run_to_rest(run_id, patience=PATIENCE)
            assert record.output_text == "left done all the same!"
            assert calls("stubborn", run_id) == 1

    asyncio.run(story())


def test_a_draining_platform_claims_nothing_again(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as rescuer:
            async with opened(tmp_path, sound=False) as leaving:
                leaving.start_worker()
                run_id = await begun(leaving, plan(step("gated"), step("exclaim")), "draining")
                waiting = asyncio.create_task(leaving.run_to_rest(run_id, patience=PATIENCE))
                queued = await rescuer.start(Submission(plan(step("upper")), "queued"))
                closing = asyncio.create_task(leaving.close(timeout=5))
                await until(lambda: _stopping(leaving))
                GATES["draining"].passable.set()
                await closing
                assert (await asyncio.gather(waiting, return_exceptions=True))[0] is not None
            assert (await rescuer.record(queued.id)).lease_owner is None
            assert (await rescuer.record(run_id)).lease_owner is None
            assert calls("exclaim", run_id) == 0

    asyncio.run(story())


async def _stopping(platform: Platform) -> bool:
    return platform._workers.stopping
