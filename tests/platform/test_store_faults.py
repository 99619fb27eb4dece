import asyncio
from pathlib import Path

import pytest

from kneo_serv.errors import StoreError
from kneo_serv.model.ids import Owner, RunId
from kneo_serv.platform.platform import Submission
from kneo_serv.store.contract import Append, Appended, Refused
from kneo_serv.store.sqlite import SQLiteStore
from tests.platform.functions import calls
from tests.platform.worlds import PATIENCE, opened, plan, run, step


class FullDisk(SQLiteStore):
    """A store whose disk is full for a while: so many appends under a lease, and then releases, cannot be written."""

    appends = 0
    releases = 0
    spared = 0

    async def append(self, append: Append) -> Appended | Refused:
        if append.fence is not None and self.spared > 0:
            self.spared -= 1
        elif append.fence is not None and self.appends > 0:
            self.appends -= 1
            raise StoreError("the disk is full")
        return await super().append(append)

    async def release(self, run_id: RunId, *, owner: Owner, fence: int) -> bool:
        if self.releases > 0:
            self.releases -= 1
            raise StoreError("the disk is full")
        return await super().release(run_id, owner=owner, fence=fence)


@pytest.mark.parametrize("spared", [0, 1, 2])
def test_a_run_goes_on_by_itself_once_the_disk_has_room_again(tmp_path: Path, spared: int) -> None:
    async def story() -> None:
        store = FullDisk(tmp_path / "runs.sqlite")
        store.spared, store.appends, store.releases = spared, 1, 3
        async with opened(tmp_path, store=store) as platform:
            record = await run(platform, plan(step("upper"), step("exclaim")))
            assert (record.status, record.output_text, record.takeovers) == ("completed", "TEA!", 0)
            assert store.releases == 0
            # What could not be kept is done again, and nothing else.
            assert (calls("upper", record.id), calls("exclaim", record.id)) == (
                2 if spared == 1 else 1,
                2 if spared == 2 else 1,
            )

    asyncio.run(story())


def test_a_worker_goes_on_as_well(tmp_path: Path) -> None:
    async def story() -> None:
        store = FullDisk(tmp_path / "runs.sqlite")
        store.spared, store.appends, store.releases = 1, 1, 2
        async with opened(tmp_path, store=store) as platform:
            platform.start_worker()
            record = await platform.start(Submission(plan(step("upper")), "tea"))
            record = await platform.run_to_rest(record.id, patience=PATIENCE)
            assert record.output_text == "TEA"

    asyncio.run(story())
