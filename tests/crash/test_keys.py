"""A request that was killed before it was answered is sent again with its key, and done once."""

import asyncio
from pathlib import Path

import pytest

from kneo_serv.model.idempotency import IdempotencyKey, KeyRecord
from kneo_serv.model.page import Page, RunFilter
from kneo_serv.platform.doctor import check_journals
from kneo_serv.store.sqlite import SQLiteStore
from tests.crash.life import CREATE, FORK, RESUME
from tests.crash.processes import lives, remains

pytestmark = pytest.mark.crash

OUTPUT = "the report, drawn up, checked, published"
STEPS = ("draw_up", "check", "publish")


def bound(folder: Path, key: IdempotencyKey) -> KeyRecord | None:
    async def look() -> KeyRecord | None:
        store = SQLiteStore(folder / "runs.sqlite")
        await store.open()
        try:
            return await store.get_key(key.scope, key.principal, key.key)
        finally:
            await store.close()

    return asyncio.run(look())


def test_a_client_who_sends_everything_again_after_any_kill_gets_one_run_and_one_answer(tmp_path: Path) -> None:
    killed = 0
    for moment in ("before", "after"):
        for number in range(1, 20):
            folder = tmp_path / f"{moment}-{number}"
            folder.mkdir()
            if lives(folder, "pausing", f"{moment}:{number}", "keyed"):
                break
            killed += 1
            assert lives(folder, "pausing", None, "keyed")
            left = remains(folder)  # of one run, else it raises
            assert left.findings == []
            assert (left.record.status, left.record.output_text) == ("completed", OUTPUT)
            assert left.kinds.count("human_answered") == 1
            # Only a step whose own attempt was in flight is done again.
            assert sum(left.count(step) - 1 for step in STEPS) <= 1
    assert killed == 16


def test_a_fork_with_an_answer_is_made_whole_or_not_at_all_and_once(tmp_path: Path) -> None:
    async def left(folder: Path) -> list[tuple[str, str | None, int]]:
        store = SQLiteStore(folder / "runs.sqlite")
        await store.open()
        try:
            runs = await store.list_runs(RunFilter(), Page(sort="created_at", descending=False))
            assert await check_journals(store) == []
            return [
                (
                    run.status.value,
                    run.output_text,
                    [row.kind for row in await store.events(run.id)].count("human_answered"),
                )
                for run in runs
            ]
        finally:
            await store.close()

    killed = 0
    for moment in ("before", "after"):
        # The run is created, takes two steps and asks; the fork follows.
        for number in range(5, 20):
            folder = tmp_path / f"{moment}-{number}"
            folder.mkdir()
            if lives(folder, "pausing", f"{moment}:{number}", "forked"):
                break
            killed += 1
            forks = asyncio.run(left(folder))[1:]
            assert (bound(folder, FORK) is None) is (forks == [])
            assert all(answers == 1 for _, _, answers in forks)
            assert lives(folder, "pausing", None, "forked")
            assert asyncio.run(left(folder)) == [("blocked", None, 0), ("completed", "by hand, published", 1)]
    assert killed == 6


def test_a_run_that_was_made_before_the_kill_is_the_one_of_the_key(tmp_path: Path) -> None:
    assert not lives(tmp_path, "pausing", "after:1", "keyed")
    made = remains(tmp_path).record
    record = bound(tmp_path, CREATE)
    assert record is not None
    assert (record.run_id, record.from_seq, made.seq) == (made.id, 1, 1)
    assert lives(tmp_path, "pausing", None, "keyed")
    assert remains(tmp_path).record.id == made.id


def test_what_was_killed_before_its_write_stands_for_nothing(tmp_path: Path) -> None:
    assert not lives(tmp_path, "pausing", "before:1", "keyed")
    assert bound(tmp_path, CREATE) is None
    assert lives(tmp_path, "pausing", None, "keyed")
    assert bound(tmp_path, CREATE) is not None


def test_an_answer_that_was_kept_before_the_kill_is_the_one_of_the_key(tmp_path: Path) -> None:
    # create, two steps, the pause, the answer
    assert not lives(tmp_path, "pausing", "after:5", "keyed")
    left = remains(tmp_path)
    record = bound(tmp_path, RESUME)
    assert record is not None
    assert (record.run_id, record.from_seq) == (left.record.id, left.kinds.index("human_answered") + 1)
    assert lives(tmp_path, "pausing", None, "keyed")
    left = remains(tmp_path)
    assert (left.record.status, left.kinds.count("human_answered")) == ("completed", 1)
    assert bound(tmp_path, RESUME) == record
