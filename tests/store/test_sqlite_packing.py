import asyncio
import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from kneo_serv.store.sqlite import SQLiteStore
from kneo_serv.store.sqlite.packing import LEAST, pack, unpack
from kneo_serv.testing.store_suite.samples import append, event, new_run, run_id

PROSE = json.dumps({"text": "A run that waits for a person costs nothing but its place on the disk. " * 400})


@pytest.mark.parametrize("text", ["", "{}", "x" * (LEAST - 1), PROSE, '"\ud800' + "x" * LEAST + '"', "é" * LEAST])
def test_what_is_packed_comes_back(text: str) -> None:
    assert unpack(pack(text)) == text


def test_only_large_texts_that_shrink_are_packed() -> None:
    assert len(pack(PROSE)) < len(PROSE) / 2
    small = PROSE[: LEAST - 1]
    assert pack(small) == small


def test_packed_and_plain_rows_stand_side_by_side_on_the_disk(tmp_path: Path) -> None:
    """A file that was begun before rows were packed is read as it is."""

    async def story() -> None:
        store = SQLiteStore(tmp_path / "runs.sqlite")
        await store.open()
        await store.create(new_run("a"))
        rows = tuple(event(seq, payload=PROSE) for seq in (2, 3))
        await store.append(append("a", 1, events=rows))
        with closing(sqlite3.connect(store.path)) as database:
            (kept,) = database.execute("SELECT payload FROM run_events WHERE seq = 2").fetchone()
            assert len(kept) < len(PROSE) / 2
            database.execute("UPDATE run_events SET payload = ? WHERE seq = 2", (PROSE,))
            database.commit()
        assert tuple(await store.events(run_id("a"), after=1)) == rows
        await store.append(replace(append("a", 3), snapshot=PROSE))
        snapshot = await store.snapshot(run_id("a"))
        assert snapshot is not None
        assert snapshot.state == PROSE
        await store.close()

    asyncio.run(story())
