import asyncio
import time
from pathlib import Path

from kneo_serv.platform.platform import Platform, Submission
from tests.platform.worlds import opened, plan, step, until


def test_a_worker_hears_of_what_another_process_hands_in_long_before_it_would_look(tmp_path: Path) -> None:
    async def story() -> None:
        async with (
            opened(tmp_path, idle_poll_seconds=3600.0) as worker,
            opened(tmp_path, worker_concurrency=0) as door,
        ):
            worker.start_worker()
            for _ in range(3):
                began = time.monotonic()
                record = await door.start(Submission(plan(step("upper")), "tea"), hold=True)
                await until(lambda run_id=record.id: _ended(door, run_id))  # type: ignore[misc]
                assert time.monotonic() - began < 5

    asyncio.run(story())


async def _ended(platform: Platform, run_id: str) -> bool:
    return (await platform.record(run_id)).status.is_terminal  # type: ignore[arg-type]
