import asyncio
from pathlib import Path

from kneo_serv.model.ids import RunId
from kneo_serv.model.page import AuditFilter
from kneo_serv.model.run import Phase
from kneo_serv.platform.platform import Platform, Submission
from kneo_serv.store.contract import TimerKind
from tests.platform.functions import GATES, calls
from tests.platform.worlds import PATIENCE, address_of, begun, kinds, opened, person, plan, run, step, tamper, until


async def lose_worker(platform: Platform) -> None:
    """What a crash leaves behind: the legs are gone, and nobody gave their leases back."""
    workers = platform._workers
    await workers._keeper.close()
    workers._give_back = lambda claim: asyncio.sleep(0)  # type: ignore[method-assign]
    for task in list(workers._drives):
        task.cancel()
    await asyncio.gather(*workers._drives, return_exceptions=True)


def test_another_worker_takes_over_when_the_lease_has_run_out(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path, lease_seconds=0.2) as lost, opened(tmp_path, lease_seconds=0.2) as rescuer:
            run_id = await begun(lost, plan(step("upper"), step("gated_async"), step("exclaim")), "TAKE OVER")
            await lose_worker(lost)
            GATES["TAKE OVER"].passable.set()
            rescuer.start_worker()
            record = await rescuer.run_to_rest(run_id, patience=PATIENCE)
            assert (record.status, record.output_text, record.fence) == ("completed", "TAKE OVER passed!", 2)
            assert (calls("upper", run_id), calls("gated_async", run_id), calls("exclaim", run_id)) == (1, 2, 1)
            assert (await kinds(rescuer, run_id)).count("leg_started") == 2

    asyncio.run(story())


def test_a_worker_that_lost_its_lease_writes_nothing_more(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path, lease_seconds=0.2) as stale, opened(tmp_path) as rescuer:
            run_id = await begun(stale, plan(step("gated"), step("exclaim")), "stale")
            await stale._workers._keeper.close()  # its heartbeat hangs, and it does not know
            await until(lambda: _free(rescuer, run_id))
            rescuer.start_worker()
            await until(lambda: _fenced(rescuer, run_id, 2))
            before = await kinds(stale, run_id)
            GATES["stale"].passable.set()
            record = await rescuer.run_to_rest(run_id, patience=PATIENCE)
            assert record.status == "completed"
            assert calls("exclaim", run_id) == 1
            events = await rescuer.events(run_id)
            assert [each.event.KIND for each in events][: len(before)] == before
            # The function that stood at the gate in the stale process ended as well, and its word counts for nothing.
            assert calls("gated", run_id) == 2
            assert [each.event.KIND for each in events].count("step_completed") == 2

    asyncio.run(story())


async def _free(platform: Platform, run_id: RunId) -> bool:
    return run_id in await platform.store.runnable()


async def _fenced(platform: Platform, run_id: RunId, fence: int) -> bool:
    return (await platform.record(run_id)).fence == fence


def test_a_run_that_loses_worker_after_worker_without_progress_is_a_dead_letter(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path, lease_seconds=0.01, max_takeovers=2) as rescuer:
            record = await rescuer.start(Submission(plan(step("upper")), "dead letter"))
            for _ in range(3):
                owner = rescuer.store.new_owner()
                await rescuer.store.claim(owner, lease_seconds=0.001, run_id=record.id)
                await until(lambda: _free(rescuer, record.id))
            rescuer.start_worker()
            record = await rescuer.run_to_rest(record.id, patience=PATIENCE)
            assert (record.status, record.error_type) == ("failed", "dead_letter")
            assert calls("upper", record.id) == 0
            (event,) = await rescuer.store.list_audit(AuditFilter("run.dead_lettered"))
            assert (event.metadata["attempts"], event.metadata["limit"]) == (3, 2)

    asyncio.run(story())


def test_progress_forgets_earlier_takeovers(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            record = await platform.start(Submission(plan(step("upper"), person()), "progress"))
            for _ in range(2):
                await platform.store.claim(platform.store.new_owner(), lease_seconds=0.001, run_id=record.id)
                await until(lambda: _free(platform, record.id))
            platform.start_worker()
            record = await platform.run_to_rest(record.id, patience=PATIENCE)
            assert (record.status, record.takeovers) == ("blocked", 0)

    asyncio.run(story())


def test_a_run_with_an_unreadable_history_is_put_aside_and_others_go_on(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            broken = await run(
                platform, plan(person(timeout_seconds=60), step("exclaim")), "broken", timeout_seconds=60
            )
            _write_strange_event(tmp_path, broken.id, broken.seq + 1)
            platform.start_worker()
            healthy = await platform.start(Submission(plan(step("upper")), "healthy"))
            parked = await platform.run_to_rest(broken.id, patience=PATIENCE)
            assert parked.phase is Phase.PARKED
            assert "from_the_future" in (parked.fault or "")
            result = await platform.result(broken.id)
            assert result.error is not None
            assert result.error.type == "run_parked"
            assert (await platform.run_to_rest(healthy.id, patience=PATIENCE)).output_text == "HEALTHY"
            # Its timers do nothing, and keep nobody else's from firing.
            now = await platform.store.now() + 1000
            for timer in await platform.store.due_timers(kinds=tuple(TimerKind), now=now):
                assert await platform.fire(timer, now=now) is False
            _forget_strange_event(tmp_path, broken.id)
            await platform.continue_run(broken.id)
            revived = await platform.run_to_rest(broken.id, patience=PATIENCE)
            assert (revived.phase, revived.fault) == (Phase.WAITING_HUMAN, None)

    asyncio.run(story())


def _write_strange_event(folder: Path, run_id: str, seq: int) -> None:
    more, value = (", write_id", ", 0") if address_of(folder) else ("", "")
    tamper(
        folder,
        f"INSERT INTO run_events (run_id, seq, kind, at, payload{more})"
        f" VALUES (?, ?, 'from_the_future', 1.0, '{{}}'{value})",
        run_id,
        seq,
    )
    tamper(folder, "UPDATE runs SET seq = ?, phase = 'runnable', status = 'running' WHERE id = ?", seq, run_id)


def _forget_strange_event(folder: Path, run_id: str) -> None:
    tamper(folder, "DELETE FROM run_events WHERE run_id = ? AND kind = 'from_the_future'", run_id)
    tamper(folder, "UPDATE runs SET seq = seq - 1 WHERE id = ?", run_id)
