import asyncio
import sqlite3
from pathlib import Path

import pytest

from kneo_serv.platform.doctor import check_journals
from kneo_serv.platform.platform import Platform, Submission
from tests.platform.functions import GATES
from tests.platform.worlds import begun, opened, person, plan, run, step


async def every_posture(platform: Platform) -> None:
    """A run of each sort: ended, waiting, at work, queued, cancelled, failed."""
    await run(platform, plan(step("large"), step("large", id="again"), step("exclaim")))
    await run(platform, plan(step("upper"), person(timeout_seconds=60)), timeout_seconds=60)
    await begun(platform, plan(step("gated_async"), person()), "doctor")
    await platform.start(Submission(plan(step("upper")), "queued"))
    cancelled = await run(platform, plan(person()))
    await platform.cancel(cancelled.id)
    await run(platform, plan(step("leaking")))


def test_a_store_in_use_is_in_order(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            await every_posture(platform)
            assert await check_journals(platform.store) == []
            GATES["doctor"].passable.set()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("harm", "code"),
    [
        ("DELETE FROM run_events WHERE seq = 2", "gap"),
        ("UPDATE runs SET seq = seq + 1", "gap"),
        ("UPDATE runs SET status = 'completed', phase = 'ended'", "task_of_ended_run"),
        ("UPDATE runs SET current_step_id = 'elsewhere'", "projection"),
        ("UPDATE runs SET cost_usd = 0.001", "projection"),
        ("UPDATE runs SET requests = 1", "projection"),
        ("UPDATE runs SET cached_tokens = 1", "projection"),
        ("UPDATE human_tasks SET status = 'answered'", "tasks"),
        ("DELETE FROM timers WHERE kind = 'human_deadline'", "timers"),
        ("INSERT INTO timers (run_id, kind, key, due_at) SELECT id, 'retry', '', 1 FROM runs", "timers"),
        ("UPDATE runs SET lease_owner = 'somebody', lease_expires_at = 9e9", "lease"),
        ("UPDATE run_events SET payload = '{}' WHERE seq = 2", "unreadable"),
        ("UPDATE snapshots SET seq = seq - 1", "snapshot"),
        ("DELETE FROM plans", "plan"),
    ],
)
def test_whatever_was_harmed_is_found_and_named(tmp_path: Path, harm: str, code: str) -> None:
    async def story() -> None:
        async with opened(tmp_path, sound=False) as platform:
            record = await run(platform, plan(step("large"), person(timeout_seconds=60)))
            with sqlite3.connect(tmp_path / "runs.sqlite") as database:
                database.execute(harm)
            database.close()
            findings = await check_journals(platform.store)
            assert {finding.run_id for finding in findings} == {record.id}
            assert code in {finding.code for finding in findings}
            assert await check_journals(platform.store, limit=0) == []

    asyncio.run(story())
