"""What is due is done by whoever gets there first, once, soon, and whatever else is due."""

import asyncio
import logging
import os
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kneo_serv.model.ids import RunId
from kneo_serv.model.page import AuditFilter, RunFilter
from kneo_serv.platform.platform import Platform
from kneo_serv.platform.timekeeper import BATCH, ClockDuty, Duty, PutOff, Timekeeper, TimerDuty
from kneo_serv.store.contract import Store, Timer, TimerKind
from kneo_serv.store.sqlite import SQLiteStore
from kneo_serv.testing.store_suite.samples import START, append, new_run, run_id
from tests.platform.worlds import manager, opened, person, plan, run, spec, step, until

ROOT = Path(__file__).resolve().parents[2]


class HandClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.moment = 0.0

    def now(self) -> float:
        return self.moment

    def monotonic(self) -> float:
        return self.moment


async def with_timers(store: Store, count: int, kind: TimerKind = TimerKind.HUMAN_DEADLINE) -> list[Timer]:
    timers = tuple(Timer(run_id("a"), kind, f"{number:06}", START + number) for number in range(count))
    await store.create(replace(new_run("a"), timers=timers))
    return list(timers)


def test_a_large_backlog_is_worked_off_in_batches_and_nothing_else_waits_for_it(tmp_path: Path) -> None:
    async def story() -> None:
        store = SQLiteStore(tmp_path / "runs.sqlite")
        await store.open()
        await with_timers(store, 10_000)
        fired: list[Timer] = []
        seq = 1
        gate = asyncio.Event()

        async def fire(timer: Timer) -> bool:
            fired.append(timer)
            if timer.kind is TimerKind.RETRY:
                gate.set()
            return True

        class Clearing:
            """A duty that takes the timers away that were fired, as their runs do."""

            def __init__(self) -> None:
                self._duty = TimerDuty(store, TimerKind.HUMAN_DEADLINE, fire, clock=HandClock())
                self.batches: list[int] = []

            async def work(self) -> float | None:
                nonlocal seq
                before = len(fired)
                due = await self._duty.work()
                gone = [timer for timer in fired[before:] if timer.kind is TimerKind.HUMAN_DEADLINE]
                self.batches.append(len(gone))
                await store.append(append("a", seq, cleared=tuple((timer.kind, timer.key) for timer in gone)))
                seq += 1
                return due

        backlog = Clearing()
        keeper = Timekeeper(store, [backlog, TimerDuty(store, TimerKind.RETRY, fire, clock=HandClock())])
        await store.create(
            replace(new_run("b"), timers=(Timer(run_id("b"), TimerKind.RETRY, "k", await store.now() - 1),))
        )
        keeper.start()
        await asyncio.wait_for(gate.wait(), 10)
        assert len(backlog.batches) < 50, "a retry that is due waits for no backlog of deadlines"

        async def nothing_left() -> bool:
            return await store.next_due(kinds=(TimerKind.HUMAN_DEADLINE,)) is None

        await until(nothing_left)
        await keeper.stop()
        deadlines = [timer.key for timer in fired if timer.kind is TimerKind.HUMAN_DEADLINE]
        assert len(deadlines) == len(set(deadlines)) == 10_000
        assert max(backlog.batches) == BATCH
        await store.close()

    asyncio.run(story())


def test_timers_that_cannot_be_fired_do_not_keep_others_from_firing(tmp_path: Path) -> None:
    async def story() -> None:
        store = SQLiteStore(tmp_path / "runs.sqlite")
        await store.open()
        timers = await with_timers(store, 3 * BATCH)
        clock, fired = HandClock(), list[str]()

        async def fire(timer: Timer) -> bool:
            fired.append(timer.key)
            if timer.key == "000001":
                raise RuntimeError("odd")
            return False

        duty = TimerDuty(store, TimerKind.HUMAN_DEADLINE, fire, clock=clock)
        for _ in range(3):
            await duty.work()
        assert sorted(fired) == [timer.key for timer in timers], (
            "each was tried once, also those behind the first batch"
        )
        assert await duty.work() is None, "nobody is asked to look again at once"
        assert len(fired) == 3 * BATCH
        clock.moment += 1.5
        await duty.work()
        assert len(fired) == 4 * BATCH, "what was put off is tried again later"
        await store.close()

    asyncio.run(story())


def test_what_is_put_off_waits_longer_each_time() -> None:
    clock = HandClock()
    put_off = PutOff(clock, first=1, longest=4)
    waited = []
    for _ in range(4):
        put_off.add("a")
        since = clock.moment
        while put_off.waits("a"):
            clock.moment += 0.5
        waited.append(clock.moment - since)
    assert waited == [1, 2, 4, 4]
    put_off.keep_only(["b"])
    assert len(put_off) == 0


def test_a_timer_fires_when_it_is_due_not_at_the_next_look(tmp_path: Path) -> None:
    async def story() -> None:
        store = SQLiteStore(tmp_path / "runs.sqlite")
        await store.open()
        late: asyncio.Future[float] = asyncio.get_running_loop().create_future()

        async def fire(timer: Timer) -> bool:
            late.set_result(time.time() - timer.due_at)
            return True

        timer = Timer(run_id("a"), TimerKind.RUN_DEADLINE, "", await store.now() + 0.4)
        await store.create(replace(new_run("a"), timers=(timer,)))
        duty = TimerDuty(store, TimerKind.RUN_DEADLINE, fire, clock=HandClock())
        keeper = Timekeeper(store, [duty], interval=30)
        keeper.start()
        assert 0 <= await asyncio.wait_for(late, 10) < 1
        await keeper.stop()
        await store.close()

    asyncio.run(story())


class Failing:
    """A duty that fails now and then."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.worked = 0

    async def work(self) -> float | None:
        self.worked += 1
        raise self.error


def test_a_duty_that_fails_is_looked_at_again_and_keeps_no_other_from_its_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            duties = [Failing(RuntimeError("odd")), Failing(ValueError("odder"))]
            keeper = Timekeeper(platform.store, duties, interval=0.01)
            keeper.start()
            keeper.start()

            async def worked() -> bool:
                return all(duty.worked > 2 for duty in duties)

            await until(worked)
            await keeper.stop()

    asyncio.run(story())
    assert "what is due cannot be done" in caplog.text


class JumpingStore(SQLiteStore):
    ahead = 0.0

    async def now(self) -> float:
        return await super().now() + self.ahead


def test_a_jump_of_the_clock_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        store = JumpingStore(tmp_path / "runs.sqlite")

        class Real:
            def now(self) -> float:
                return time.time()

            def monotonic(self) -> float:
                return time.monotonic()

        duty: Duty = ClockDuty(store, clock=Real())
        for ahead in (0.0, 0.1, 3600.0, 3600.0, 0.0):
            store.ahead = ahead
            await duty.work()

    with caplog.at_level(logging.WARNING, "kneo_serv.platform"):
        asyncio.run(story())
    told = [record.message for record in caplog.records]
    assert [line[:34] for line in told] == ["The clock jumped by +3599.9 s. Wha", "The clock jumped by -3600.0 s. Wha"]


PROCESS = """
import asyncio, sys
from pathlib import Path
from tests.platform.worlds import manager

platform = manager(Path(sys.argv[1]))
platform.start_worker()
print("ready", flush=True)
sys.stdin.readline()
platform.shutdown()
"""


def test_several_processes_on_one_file_do_each_thing_once(tmp_path: Path) -> None:
    """Deadlines that fail, continue and escalate, run deadlines and schedules, all due about the same time."""
    soon = 4.0

    async def prepare() -> list[RunId]:
        async with opened(tmp_path, sound=False) as platform:
            waiting: list[RunId] = []
            for on_timeout in ("fail", "continue", "escalate"):
                flow = plan(person(timeout_seconds=soon, on_timeout=on_timeout))
                waiting += [(await run(platform, flow)).id for _ in range(12)]
            flow = plan(person())
            waiting += [(await run(platform, flow, timeout_seconds=soon)).id for _ in range(12)]
            return waiting

    side = manager(tmp_path)
    began = time.time()
    waiting = asyncio.run(prepare())
    for number in range(6):
        side.create_schedule(f"tea-{number}", at=began + soon + 1, spec=spec(step("upper")), input_text="tea")
    path = os.pathsep.join([str(ROOT), *(entry for entry in sys.path if entry)])
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(PROCESS), str(tmp_path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path},
        )
        for _ in range(3)
    ]  # fmt: skip
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"

        async def done(platform: Platform) -> dict[str, Any]:
            async def settled() -> bool:
                return await platform.store.count_runs(RunFilter(status=("completed",))) == 18

            async with asyncio.timeout(60):
                while not await settled() or await platform.store.next_due() is not None:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            found: dict[str, int] = {}
            for kind in ("human.expired", "human.continued", "human.escalated", "run.timed_out", "schedule.fired"):
                found[kind] = await platform.store.count_audit(AuditFilter(kind))
            return found

        counts = asyncio.run(side.reach(done))
    finally:
        for process in processes:
            process.communicate("\n", timeout=60)
    assert counts == {
        "human.expired": 12,
        "human.continued": 12,
        "human.escalated": 12,
        "run.timed_out": 12,
        "schedule.fired": 6,
    }
    assert side.count_runs() == len(waiting) + 6
    assert side.check_journals() == []
    side.shutdown()
