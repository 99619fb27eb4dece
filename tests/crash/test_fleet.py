"""A fleet goes on by itself with what its lost workers had in hand, whatever the type of the workflow."""

import asyncio
import multiprocessing.process
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from kneo_serv.errors import RunStateConflictError
from kneo_serv.model.ids import RunId
from kneo_serv.model.page import Page, RunFilter
from kneo_serv.model.run import RunRecord
from kneo_serv.platform.doctor import check_journals
from kneo_serv.platform.options import PlatformOptions
from kneo_serv.platform.platform import Platform, Submission
from kneo_serv.platform.views import recovery_context
from kneo_serv.store.sqlite import SQLiteStore
from kneo_serv.tools import ToolRegistry
from tests.crash import processes
from tests.crash.fleet_life import FLOWS, NAMES, plan, work
from tests.crash.life import Models

pytestmark = pytest.mark.crash

SECONDS = 30.0
LEASE = 1.0


@contextmanager
def fleet(
    folder: Path, *, workers: int, lease_seconds: float = LEASE
) -> Iterator[list[multiprocessing.process.BaseProcess]]:
    """So many workers; told in the end that it is over."""
    with ExitStack() as stack:
        started = [_worker(folder, lease_seconds) for _ in range(workers)]
        for one in started:
            stack.callback(one.join)
            stack.callback(one.kill)
        yield started
        (folder / "over").touch()
        for one in started:
            one.join(SECONDS)


def _worker(folder: Path, lease_seconds: float = LEASE) -> multiprocessing.process.BaseProcess:
    process = processes.CONTEXT.Process(target=work, args=(str(folder), lease_seconds))
    process.start()
    return process


def at_the_store[T](folder: Path, use: Callable[[Platform], Awaitable[T]]) -> T:
    """What comes of a look, or a call, of a process that executes nothing (this one)."""

    async def look() -> T:
        store = SQLiteStore(folder / "runs.sqlite")
        options = PlatformOptions(worker_concurrency=0, lease_seconds=LEASE)
        platform = Platform(store=store, tools=ToolRegistry(), runtimes=Models(), options=options)
        await platform.open()
        try:
            return await use(platform)
        finally:
            await platform.close(timeout=5)

    return asyncio.run(look())


def hand_in(folder: Path, name: str, *, runs: int = 1) -> list[RunId]:
    async def hand(platform: Platform) -> list[RunId]:
        return [(await platform.start(Submission(plan(name), "x"))).id for _ in range(runs)]

    return at_the_store(folder, hand)


def ended(folder: Path, *, runs: int = 1) -> list[RunRecord]:
    """The runs, once all have ended."""

    async def wait(platform: Platform) -> list[RunRecord]:
        async with asyncio.timeout(SECONDS):
            while True:
                found = await platform.store.list_runs(RunFilter(), Page(limit=1000))
                if len(found) == runs and all(one.status.is_terminal for one in found):
                    assert await check_journals(platform.store) == []
                    assert (await platform.store.gauges()).leases == 0
                    return list(found)
                await asyncio.sleep(0.02)

    return at_the_store(folder, wait)


def effects(folder: Path) -> list[list[str]]:
    path = folder / "effects"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str | None]:
    """What each workflow gives where nobody dies."""
    outputs = {}
    for name in FLOWS:
        folder = tmp_path_factory.mktemp(name)
        hand_in(folder, name)
        with fleet(folder, workers=1):
            (run,) = ended(folder)
            outputs[name] = run.output_text
    return outputs


@pytest.mark.parametrize("marked", ["two", "four"])
@pytest.mark.parametrize("name", list(FLOWS))
def test_a_run_goes_on_by_itself_when_its_worker_is_killed_in_mid_step(
    tmp_path: Path, undisturbed: dict[str, str | None], name: str, marked: str
) -> None:
    (tmp_path / f"dies-in-{marked}").touch()
    hand_in(tmp_path, name)
    with fleet(tmp_path, workers=2) as workers:
        (run,) = ended(tmp_path)
        assert sum(one.is_alive() for one in workers) == 1
    assert (run.status, run.output_text) == ("completed", undisturbed[name])
    done = effects(tmp_path)
    counts = Counter(effect for effect, *_ in done)
    assert counts[marked] == 2
    if name == "concurrent":
        # Its siblings were in flight when the process died; none is begun more than once more.
        assert all(1 <= counts[other] <= 2 for other in NAMES)
    else:
        assert all(counts[other] == 1 for other in NAMES if other != marked)
    # What a called service can tell a repetition by.
    assert len({key for _, key, _ in done}) == len(NAMES)


def test_a_fleet_that_loses_a_worker_again_and_again_does_all_runs_once(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    runs = 40
    for name in FLOWS:
        hand_in(tmp_path, name, runs=runs // len(FLOWS) + 1)
    expected = len(FLOWS) * (runs // len(FLOWS) + 1)
    workers = [_worker(tmp_path) for _ in range(3)]
    try:
        for death in range(6):
            until(lambda death=death: len(effects(tmp_path)) > (death + 1) * 12)  # type: ignore[misc]
            victim = workers.pop(chance.randrange(len(workers)))
            victim.kill()
            victim.join()
            workers.append(_worker(tmp_path))
        found = ended(tmp_path, runs=expected)
    finally:
        (tmp_path / "over").touch()
        for one in workers:
            one.join(SECONDS)
            one.kill()
    assert {run.status.value for run in found} == {"completed"}, f"seed {seed}"
    done = Counter(key for _, key, _ in effects(tmp_path))
    assert len(done) == expected * len(NAMES)
    # Only what was in flight in a worker that died is done again: four runs in hand, up to four steps each.
    assert sum(done.values()) - len(done) <= 6 * 4 * 4, f"seed {seed}"


def test_no_lease_outlives_its_owner_by_more_than_its_time(tmp_path: Path) -> None:
    """Of a worker that stands still, of whom nobody can tell that it is lost."""
    # Stopped in the middle of a write it would keep the file locked; all of its runs stand in a step here.
    (tmp_path / "held").touch()
    with fleet(tmp_path, workers=1) as (sleeper,):
        assert sleeper.pid is not None
        hand_in(tmp_path, "sequential", runs=4)
        until(lambda: len(effects(tmp_path)) == 4)
        os.kill(sleeper.pid, signal.SIGSTOP)
        (tmp_path / "held").unlink()
        stopped = time.monotonic()
        with fleet(tmp_path, workers=1):
            found = ended(tmp_path, runs=4)
            assert time.monotonic() - stopped < LEASE * 3 + 2
            assert {run.status.value for run in found} == {"completed"}
            before = {run.id: run.seq for run in found}
        os.kill(sleeper.pid, signal.SIGCONT)
        sleeper.join(SECONDS)
        assert {run.id: run.seq for run in ended(tmp_path, runs=4)} == before


def test_recovery_tells_where_a_lost_run_stands_and_continue_hands_it_to_the_fleet(tmp_path: Path) -> None:
    (tmp_path / "dies-in-three").touch()
    (run_id,) = hand_in(tmp_path, "sequential")
    lost = _worker(tmp_path)
    lost.join(SECONDS)
    assert lost.exitcode == -9

    async def look(platform: Platform) -> bool:
        story = recovery_context(await platform.record(run_id), await platform.events(run_id))
        assert story["visited_steps"] == ["one", "two"]
        assert story["replay_context"]["can_continue"] is True
        await platform.continue_run(run_id, actor="anna")
        return True

    assert at_the_store(tmp_path, look)
    with fleet(tmp_path, workers=2):
        (run,) = ended(tmp_path)
    assert (run.status, run.output_text) == ("completed", "x one two three four")
    assert Counter(effect for effect, *_ in effects(tmp_path)) == {"one": 1, "two": 1, "three": 2, "four": 1}

    async def again(platform: Platform) -> bool:
        with pytest.raises(RunStateConflictError):
            await platform.continue_run(run_id)
        return True

    assert at_the_store(tmp_path, again)
