"""Several callers, stores and processes at work on one file."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kneo_serv.errors import StoreError
from kneo_serv.model.ids import Owner
from kneo_serv.model.page import RunFilter
from kneo_serv.store.contract import Appended, Claim
from kneo_serv.store.sqlite import SQLiteStore, local_owner
from kneo_serv.testing.store_suite.samples import START, append, claimed, new_run, run_id

WRITE = """
import asyncio, json, sys, time
from kneo_serv.store.contract import Appended
from kneo_serv.store.sqlite import SQLiteStore
from kneo_serv.testing.store_suite.samples import append, new_run

async def main(path, name, runs, callers):
    store = SQLiteStore(path)
    await store.open()
    times = []

    async def call(caller):
        for number in range(runs):
            run = f"{name}-{caller}-{number}"
            await store.create(new_run(run))
            for seq in range(1, 5):
                start = time.monotonic()
                assert await store.append(append(run, seq)) == Appended(seq + 1)
                times.append(time.monotonic() - start)

    await asyncio.gather(*map(call, range(callers)))
    await store.close()
    print(json.dumps(times))

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
"""
DIE = """
import asyncio, os, signal, sys
from kneo_serv.store.sqlite import SQLiteStore, local_owner

async def main(path):
    store = SQLiteStore(path)
    await store.open()
    (claim,) = await store.claim(local_owner(), lease_seconds=3600)
    print(claim.fence, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main(sys.argv[1]))
"""


def test_three_processes_write_at_once_and_none_starves(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITE, str(path), name, "40", "4"], stdout=subprocess.PIPE, text=True)
        for name in ("a", "b", "c")
    ]
    for writer in writers:
        said, _ = writer.communicate(timeout=120)
        assert writer.returncode == 0
        times = sorted(json.loads(said))
        assert len(times) == 4 * 40 * 4
        assert times[int(len(times) * 0.99)] < 1.0

    async def look() -> None:
        store = SQLiteStore(path)
        await store.open()
        assert await store.count_runs(RunFilter()) == 3 * 4 * 40
        positions = [item.position for item in await store.feed(limit=10_000)]
        assert len(positions) == 3 * 4 * 40 * 5
        assert positions == sorted(set(positions))
        await store.close()

    asyncio.run(look())


def test_two_stores_in_one_process_share_a_file_and_nothing_else(tmp_path: Path) -> None:
    async def run() -> None:
        one, two = SQLiteStore(tmp_path / "runs.sqlite"), SQLiteStore(tmp_path / "runs.sqlite")
        await asyncio.gather(one.open(), two.open())
        seen = await two.changes()
        await one.create(new_run("a"))
        assert await two.changes() != seen
        assert await two.get_run(run_id("a")) is not None
        mine, other = local_owner(), local_owner()
        given = await asyncio.gather(
            one.claim(mine, lease_seconds=60, run_id=run_id("a")),
            two.claim(other, lease_seconds=60, run_id=run_id("a")),
        )
        assert sum(map(len, given)) == 1
        results = await asyncio.gather(
            *(store.append(append("a", 1)) for store in (one, two) for _ in range(5)),
        )
        assert results.count(Appended(2)) == 1
        await one.close()
        await two.append(append("a", 2))
        await two.close()

    asyncio.run(run())


def test_the_lease_of_a_killed_process_ends_at_once(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"

    async def run() -> None:
        store = SQLiteStore(path)
        await store.open()
        await store.create(new_run("a"))
        died = await asyncio.create_subprocess_exec(
            sys.executable, "-c", DIE, str(path), stdout=asyncio.subprocess.PIPE
        )
        said, _ = await died.communicate()
        assert said == b"1\n"
        assert list(await store.runnable()) == [run_id("a")]
        claims = await store.claim(local_owner(), lease_seconds=60, run_id=run_id("a"))
        assert list(claims) == [Claim(run_id("a"), 2, takeover=True, takeovers=1)]
        await store.close()

    asyncio.run(run())


def test_a_living_neighbour_keeps_its_lease(tmp_path: Path) -> None:
    async def run() -> None:
        store = SQLiteStore(tmp_path / "runs.sqlite")
        await store.open()
        await store.create(new_run("a"))
        await claimed(store, "a", local_owner())
        assert list(await store.claim(local_owner(), lease_seconds=60)) == []
        assert list(await store.runnable()) == []
        await store.close()

    asyncio.run(run())


def test_a_cancelled_caller_leaves_the_others_alone(tmp_path: Path) -> None:
    async def run() -> None:
        store = SQLiteStore(tmp_path / "runs.sqlite")
        await store.open()
        calls = [asyncio.create_task(store.create(new_run(str(number)))) for number in range(40)]
        await asyncio.sleep(0)
        for call in calls[::2]:
            call.cancel()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert results[1::2] == [False] * 20
        assert all(isinstance(result, asyncio.CancelledError) for result in results[::2])
        for number in range(1, 40, 2):
            assert await store.append(append(str(number), 1)) == Appended(2)
        await store.close()

    asyncio.run(run())


def test_what_was_accepted_is_written_before_closing(tmp_path: Path) -> None:
    async def run() -> None:
        store = SQLiteStore(tmp_path / "runs.sqlite")
        await store.open()
        calls = [asyncio.create_task(store.create(new_run(str(number)))) for number in range(50)]
        await asyncio.sleep(0)
        await store.close()
        assert await asyncio.gather(*calls) == [False] * 50
        with pytest.raises(StoreError, match="closed"):
            await store.create(new_run("late"))

    asyncio.run(run())


def test_loops_of_several_threads_may_use_one_store(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "runs.sqlite")
    asyncio.run(store.open())
    for name in "abc":
        asyncio.run(store.create(new_run(name)))
    assert asyncio.run(store.count_runs(RunFilter())) == 3
    asyncio.run(store.close())


def test_a_large_batch_of_claims_and_appends_mixes(tmp_path: Path) -> None:
    async def run() -> None:
        store = SQLiteStore(tmp_path / "runs.sqlite")
        await store.open()
        await asyncio.gather(*(store.create(new_run(str(n), created_at=START + n)) for n in range(600)))
        owners = [Owner(f"otherhost:boot:{number}:1") for number in range(30)]
        given = await asyncio.gather(
            *(store.claim(owner, lease_seconds=60, limit=10) for owner in owners),
            *(store.append(append(str(n), 1)) for n in range(600)),
        )
        ids = [claim.run_id for claims in given[:30] for claim in claims]  # type: ignore[union-attr]
        assert sorted(ids) == sorted(run_id(str(n)) for n in range(300))
        assert given[30:] == [Appended(2)] * 600
        await store.close()

    asyncio.run(run())


def test_every_acknowledged_append_was_synced(tmp_path: Path) -> None:
    """SIGKILL keeps the page cache, so only counting the calls proves that a loss of power is survived."""
    strace = shutil.which("strace")
    if strace is None:
        if os.environ.get("CI"):
            pytest.fail("strace is missing, so nothing proves that appends are synced: install it in CI")
        pytest.skip("SYNC IS NOT PROVED: install strace")
    report = tmp_path / "calls"
    program = [sys.executable, "-c", WRITE, str(tmp_path / "runs.sqlite"), "a", "20", "1"]
    traced = subprocess.run(
        [strace, "-f", "-e", "trace=fdatasync,fsync", "-o", str(report), *program],
        capture_output=True,
        text=True,
    )
    if "Operation not permitted" in traced.stderr and not os.environ.get("CI"):
        pytest.skip("SYNC IS NOT PROVED: this machine does not let strace look on")
    assert traced.returncode == 0, traced.stderr
    acknowledged = len(json.loads(traced.stdout)) + 20
    synced = len(re.findall(r"\b(?:fdatasync|fsync)\(", report.read_text()))
    assert synced >= acknowledged == 100
