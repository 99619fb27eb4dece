import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from kneo_serv.engine import evolve
from kneo_serv.errors import QueueFullError
from kneo_serv.model import event as ev
from kneo_serv.model.codec import decode
from kneo_serv.model.page import AuditFilter, Page, RunFilter
from kneo_serv.model.plan import Plan
from kneo_serv.model.run import Run
from kneo_serv.platform.journal import private
from kneo_serv.platform.platform import Submission
from tests.platform.functions import GATES
from tests.platform.worlds import PATIENCE, answer, audit, kinds, opened, person, plan, run, step

SECRET = "write to mia@example.com with password=hunter2"


def test_a_snapshot_of_a_long_run_folds_to_the_same_as_its_whole_history(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            flow = plan(*(step("large", id=f"s{number}") for number in range(4)), person(), step("exclaim"))
            record = await run(platform, flow)
            snapshot = await platform.store.snapshot(record.id)
            assert snapshot is not None
            assert 1 < snapshot.seq <= record.seq
            rows = await platform.store.events(record.id)
            kept_plan = decode(Plan, json.loads(await platform.store.get_plan(record.plan_hash) or ""))
            whole, short = Run(record.id), decode(Run, json.loads(snapshot.state))
            for row in rows:
                whole = evolve(kept_plan, whole, private(row))
            for row in rows[snapshot.seq :]:
                short = evolve(kept_plan, short, private(row))
            assert short == whole
            done = await answer(platform, record.id)
            assert done.output_text == "tea" + "x" * 280_000 + "!"

    asyncio.run(story())


def test_small_runs_have_no_snapshot(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            record = await run(platform, plan(step("upper")))
            assert await platform.store.snapshot(record.id) is None

    asyncio.run(story())


def test_views_hold_no_secret_and_the_caller_gets_the_real_text(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            record = await run(platform, plan(person(request_type="review"), step("exclaim")), SECRET)
            await answer(platform, record.id)
            result = await platform.result(record.id)
            assert result.output_text == f"{SECRET}!"
            shown = json.dumps(
                [
                    await platform.run_view(record.id),
                    [ev.event_payload(each.event) for each in await platform.events(record.id)],
                    [event.metadata for event in await platform.store.list_audit(AuditFilter())],
                ],
                default=str,
            )
            assert "mia@example.com" not in shown
            assert "hunter2" not in shown
            assert "[REDACTED_EMAIL]" in shown

    asyncio.run(story())


def test_the_message_of_a_failed_step_holds_no_secret(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            record = await run(platform, plan(step("leaking")))
            result = await platform.result(record.id)
            assert result.error is not None
            assert "hunter2" not in result.error.message
            assert "password" in result.error.message

    asyncio.run(story())


def test_the_audit_tells_of_the_creation_and_the_decision_but_not_what_was_said(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            flow = plan(person(request_type="review"), step("exclaim"))
            record = await run(
                platform, flow, actor="mia", session_id="s1", metadata={"caller_metadata": {"ticket": 7}}
            )
            await answer(platform, record.id, "edited", "the very private words")
            assert await audit(platform, record.id) == ["run.created", "run.rested", "human.decision", "run.rested"]
            (created,) = await platform.store.list_audit(AuditFilter("run.created"))
            assert (created.actor, created.run_id) == ("mia", record.id)
            assert created.metadata["target"] == "workflow"
            assert created.metadata["inline_spec"] is True
            assert created.metadata["metadata"] == {"ticket": 7}
            (decided,) = await platform.store.list_audit(AuditFilter("human.decision"))
            assert decided.metadata["decision"] == "edited"
            assert decided.metadata["has_content"] is True
            assert decided.metadata["status"] == "running"
            assert decided.continuation_id is not None
            assert "private words" not in json.dumps([dict(decided.metadata), dict(created.metadata)])

    asyncio.run(story())


def test_a_run_whose_first_step_fails_has_its_creation_in_the_audit(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            record = await run(platform, plan(step("leaking")))
            assert (await audit(platform, record.id))[0] == "run.created"

    asyncio.run(story())


def test_a_listener_that_fails_hurts_nobody_but_itself(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            seen: list[str] = []

            def broken(events: Sequence[ev.Recorded]) -> None:
                raise BrokenPipeError("nobody reads any more")

            def sound(events: Sequence[ev.Recorded]) -> None:
                seen.extend(each.event.KIND for each in events)

            record = await platform.start(Submission(plan(step("upper")), "tea"), hold=True)
            platform.listen(record.id, broken)
            stop = platform.listen(record.id, sound)
            record = await platform.run_to_rest(record.id, patience=PATIENCE)
            stop()
            assert record.status == "completed"
            assert seen == (await kinds(platform, record.id))[1:]

    asyncio.run(story())


def test_patience_ends_and_the_run_goes_on(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            record = await platform.start(Submission(plan(step("gated")), "patience"), hold=True)
            record = await platform.run_to_rest(record.id, patience=0.01)
            assert record.status == "running"
            GATES["patience"].passable.set()
            assert (await platform.run_to_rest(record.id, patience=PATIENCE)).status == "completed"

    asyncio.run(story())


def test_a_full_queue_takes_nothing_in_and_stores_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path, max_queue_depth=2) as platform:
            for _ in range(2):
                await platform.start(Submission(plan(step("upper")), "tea"))
            with pytest.raises(QueueFullError) as refused:
                await platform.start(Submission(plan(step("upper")), "tea"))
            assert refused.value.limit == 2
            assert len(await platform.store.list_runs(RunFilter(), Page())) == 2
            assert len(await platform.store.list_audit(AuditFilter())) == 2

    asyncio.run(story())
