"""Workers as processes: several of them share one store, and each may end, die or stand still at any moment."""

import json
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from kneo_serv.model.run import RunStatus
from kneo_serv.platform import PlatformManager
from kneo_serv.platform.doctor import check_journals
from kneo_serv.platform.platform import Platform
from kneo_serv.service.factory import create_local_platform_manager
from tests.acceptance.server import serving
from tests.acceptance.shell import PATIENCE, Shell, until
from tests.acceptance.worker import Worker, working

FUNCTIONS = """
import os
import time
from pathlib import Path

from kneo_serv.tools import current_call


def _mark(name: str) -> None:
    with Path("marks").open("a") as file:
        file.write(f"{name} {current_call().run_id} {os.getpid()}\\n")


def first(text: str) -> str:
    _mark("first")
    return text + "1"


def slow(text: str) -> str:
    _mark("slow")
    while not Path("go").exists():
        time.sleep(0.02)
    return text + "2"


def last(text: str) -> str:
    _mark("last")
    return text + "3"
"""
LEASE = {"KNEO_SERV_WORKER_LEASE_SECONDS": "1", "KNEO_SERV_WORKER_IDLE_POLL_SECONDS": "0.1"}


def spec(*names: str) -> dict[str, Any]:
    """A workflow of these functions, one after the other."""
    functions = {name: {"implementation": f"worked.{name}", "effect": "idempotent"} for name in names}
    return {
        "version": "v1",
        "agent": {"name": "idle", "model": {"provider": "dummy", "name": "dummy"}},
        "workflow": {
            "type": "sequential",
            "steps": [{"id": name, "kind": "function", "ref": name} for name in names],
        },
        "components": {"functions": functions},
    }


@pytest.fixture
def desk(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A folder with functions of its own, on whose store leases are short."""
    shell.write("worked.py", FUNCTIONS)
    monkeypatch.syspath_prepend(str(shell.folder))
    return Shell(shell.folder, LEASE)


@pytest.fixture
def outside(desk: Shell) -> Iterator[PlatformManager]:
    """Another process at the same store (this one): it hands runs in and looks on, and executes nothing."""
    manager = create_local_platform_manager(state_path=desk.folder / ".kneo" / "kneo_runs.sqlite")
    yield manager
    manager.shutdown()


def marks(desk: Shell) -> list[list[str]]:
    """What was done: function, run, process."""
    path = desk.folder / "marks"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def hand_in(outside: PlatformManager, *names: str) -> str:
    return outside.start_run_from_spec(spec=spec(*names), input_text="x", target="workflow").id


def completes(outside: PlatformManager, run_id: str, worker: Worker) -> str | None:
    """The output of a run, once it is completed."""
    until(lambda: outside.get_run(run_id).status.is_terminal, worker.process)
    run = outside.get_run(run_id)
    assert run.status is RunStatus.COMPLETED, run
    return run.output_text


def kinds(outside: PlatformManager, run_id: str) -> Counter[str]:
    """How many events of each kind the journal of a run has."""

    async def look(platform: Platform) -> Counter[str]:
        return Counter(recorded.event.KIND for recorded in await platform.events(run_id))  # type: ignore[arg-type]

    return outside._do(look)


def assert_sound(outside: PlatformManager) -> None:
    assert outside._do(lambda platform: check_journals(platform.store)) == []


def test_a_worker_executes_what_others_hand_in_and_ends_when_asked(desk: Shell, outside: PlatformManager) -> None:
    with working(desk, "--concurrency", "2") as worker:
        assert worker.told == "Working: 2 runs at a time, of all queues.\n"
        run_id = hand_in(outside, "first", "last")
        assert completes(outside, run_id, worker) == "x13"
        assert worker.stop() == 0
    assert {process for _, _, process in marks(desk)} == {str(worker.process.pid)}


def test_of_three_workers_one_is_killed_in_mid_run_and_another_goes_on_without_repeating_anything(
    desk: Shell, outside: PlatformManager
) -> None:
    with ExitStack() as fleet:
        workers = {str(one.process.pid): one for one in (fleet.enter_context(working(desk)) for _ in range(3))}
        run_id = hand_in(outside, "first", "slow", "last")
        until(lambda: any(name == "slow" for name, *_ in marks(desk)), next(iter(workers.values())).process)
        victim = workers.pop(marks(desk)[-1][2])
        victim.process.kill()
        victim.process.wait(PATIENCE)
        (desk.folder / "go").touch()
        assert completes(outside, run_id, next(iter(workers.values()))) == "x123"
        assert [one.stop() for one in workers.values()] == [0, 0]
    assert Counter(name for name, *_ in marks(desk)) == {"first": 1, "slow": 2, "last": 1}
    assert kinds(outside, run_id)["step_completed"] == 3
    assert_sound(outside)


def test_on_postgresql_a_fleet_goes_on_with_what_a_killed_worker_had_in_hand(
    desk: Shell, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KNEO_SERV_DATABASE_URL", postgres_url)
    there = Shell(desk.folder, {**LEASE, "KNEO_SERV_DATABASE_URL": postgres_url})
    outside = create_local_platform_manager()
    try:
        with ExitStack() as fleet:
            workers = {str(one.process.pid): one for one in (fleet.enter_context(working(there)) for _ in range(2))}
            runs = [hand_in(outside, "first", "slow", "last") for _ in range(4)]
            until(lambda: Counter(name for name, *_ in marks(desk))["slow"] == 4, next(iter(workers.values())).process)
            victim = workers.pop(marks(desk)[-1][2])
            victim.process.kill()
            (desk.folder / "go").touch()
            (other,) = workers.values()
            assert {completes(outside, run_id, other) for run_id in runs} == {"x123"}
            assert other.stop() == 0
        assert Counter(name for name, *_ in marks(desk))["first"] == 4
        assert all(kinds(outside, run_id)["step_completed"] == 3 for run_id in runs)
        assert_sound(outside)
    finally:
        outside.shutdown()


def test_a_worker_that_was_stopped_beyond_its_lease_cannot_write_when_it_wakes(
    desk: Shell, outside: PlatformManager
) -> None:
    with working(desk) as sleeper:
        run_id = hand_in(outside, "first", "slow", "last")
        until(lambda: len(marks(desk)) == 2, sleeper.process)
        sleeper.process.send_signal(signal.SIGSTOP)
        (desk.folder / "go").touch()
        with working(desk) as other:
            assert completes(outside, run_id, other) == "x123"
            before = outside.get_run(run_id).seq
            assert other.stop() == 0
        # What it held when it was stopped is done by now; when it wakes, it has a new run to do and nothing to say.
        sleeper.process.send_signal(signal.SIGCONT)
        completes(outside, hand_in(outside, "first"), sleeper)
        assert sleeper.stop() == 0
    assert outside.get_run(run_id).seq == before
    assert kinds(outside, run_id)["step_completed"] == 3
    assert_sound(outside)


def test_a_worker_that_is_asked_to_end_finishes_what_it_has_and_claims_nothing_more(
    desk: Shell, outside: PlatformManager
) -> None:
    with working(desk, "--concurrency", "4") as worker:
        in_hand = hand_in(outside, "slow")
        until(lambda: bool(marks(desk)), worker.process)
        worker.process.send_signal(signal.SIGTERM)
        # The second signal of this kind changes nothing: it is on its way already.
        worker.process.send_signal(signal.SIGTERM)
        later = [hand_in(outside, "first") for _ in range(5)]
        (desk.folder / "go").touch()
        assert worker.process.wait(PATIENCE) == 0
    assert outside.get_run(in_hand).status is RunStatus.COMPLETED
    assert {outside.get_run(run_id).seq for run_id in later} <= {1, outside.get_run(in_hand).seq}
    assert not (outside.get_run(later[-1]).status.is_terminal)


def test_a_run_that_needs_longer_than_the_stop_is_handed_back_and_gone_on_with_at_once(
    desk: Shell, outside: PlatformManager
) -> None:
    slow_lease = {**LEASE, "KNEO_SERV_WORKER_LEASE_SECONDS": "3600", "KNEO_SERV_SHUTDOWN_TIMEOUT_SECONDS": "0.5"}
    patient = Shell(desk.folder, slow_lease)
    with working(patient) as worker:
        run_id = hand_in(outside, "first", "slow", "last")
        until(lambda: len(marks(desk)) == 2, worker.process)
        assert worker.stop() == 0
    run = outside.get_run(run_id)
    assert (run.lease_owner, run.status) == (None, RunStatus.RUNNING)
    (desk.folder / "go").touch()
    with working(patient) as other:
        assert completes(outside, run_id, other) == "x123"
        assert other.stop() == 0
    assert Counter(name for name, *_ in marks(desk)) == {"first": 1, "slow": 2, "last": 1}


def test_who_presses_ctrl_c_twice_does_not_wait_for_the_runs(desk: Shell, outside: PlatformManager) -> None:
    with working(desk, "--health-port", "0") as worker:
        hand_in(outside, "slow")
        until(lambda: bool(marks(desk)), worker.process)
        worker.process.send_signal(signal.SIGINT)
        until(lambda: httpx.get(f"{worker.health}/readyz", timeout=PATIENCE).status_code == 503, worker.process)
        assert worker.stop(signal.SIGINT) == 130


def test_a_worker_tells_whether_it_is_well_and_serves_nothing_else(desk: Shell, outside: PlatformManager) -> None:
    with working(desk, "--health-port", "0", "--concurrency", "3") as worker:
        assert httpx.get(f"{worker.health}/livez", timeout=PATIENCE).json() == {"ok": True, "metadata": {}}
        assert httpx.get(f"{worker.health}/readyz", timeout=PATIENCE).status_code == 200
        assert httpx.get(f"{worker.health}/v1/runs", timeout=PATIENCE).status_code == 404
        completes(outside, hand_in(outside, "first"), worker)
        numbers = httpx.get(f"{worker.health}/metrics", timeout=PATIENCE).text
        assert "kneo_worker_count 3.0" in numbers
        assert "kneo_runs_completed_total 1.0" in numbers
        assert worker.stop() == 0


def test_a_service_without_a_worker_takes_runs_in_and_answers_with_what_a_worker_made_of_them(
    desk: Shell, outside: PlatformManager
) -> None:
    asked = {"input": "x", "spec": spec("first", "last")}
    with serving(desk, "--no-worker") as server, ThreadPoolExecutor() as others:
        assert "kneo_worker_count 0.0" in server.get("/metrics").text
        accepted = httpx.post(f"{server.url}/v1/runs", json={**asked, "async_mode": True}, timeout=PATIENCE)
        waiting = others.submit(httpx.post, f"{server.url}/v1/runs", json=asked, timeout=PATIENCE)
        until(lambda: outside.count_runs() == 2, server.process)
        assert marks(desk) == []
        with working(desk) as worker:
            assert completes(outside, accepted.json()["run_id"], worker) == "x13"
            answer = waiting.result()
            assert (answer.status_code, answer.json()["output_text"]) == (200, "x13")
            assert worker.stop() == 0
        assert {process for _, _, process in marks(desk)} == {str(worker.process.pid)}
        assert server.stop() == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--concurrency", "0"], "concurrency"),
        (["--log-level", "loud"], "DEBUG"),
        (["--env-file", "nothing.env"], "nothing.env"),
        (["--tools", "nothing:register"], "nothing"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_opened(desk: Shell, words: list[str], told: str) -> None:
    with desk.start_kneo("worker", *words) as process:
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode in (1, 2)
    assert told in err
    assert "Traceback" not in err
    assert not (desk.folder / ".kneo").exists()


def test_a_worker_without_places_is_refused(desk: Shell) -> None:
    answer = Shell(desk.folder, {"KNEO_SERV_WORKER_CONCURRENCY": "0"}).kneo("worker", code=2)
    assert "KNEO_SERV_WORKER_CONCURRENCY is 0" in answer.err


def test_a_local_command_executes_its_run_also_where_the_service_executes_none(desk: Shell) -> None:
    desk.write("spec.json", json.dumps(spec("first")))
    alone = Shell(desk.folder, {"KNEO_SERV_WORKER_CONCURRENCY": "0"})
    assert alone.kneo("run", "spec.json", "--input", "x").out == "x1\n"


def test_the_port_of_health_is_named_when_it_is_taken(desk: Shell) -> None:
    with working(desk, "--health-port", "0") as worker:
        port = worker.health.rpartition(":")[2]
        answer = desk.kneo("worker", "--health-port", port, code=1)
        assert f"Cannot listen on 127.0.0.1:{port}" in answer.err
        assert worker.stop() == 0
    assert Path(desk.folder, ".kneo").exists()
