import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from kneo_serv.errors import InvalidRequestError, NotFoundError, PlatformClosedError, StoreError
from kneo_serv.model.run import RunStatus
from kneo_serv.model.task import HumanResponse
from kneo_serv.platform import PlatformManager
from kneo_serv.platform.retention import RetentionPolicy
from kneo_serv.spec import SpecCompilationError
from tests.platform.functions import FAILURES, GATES, MANAGERS, SECONDS, calls
from tests.platform.worlds import manager, person, spec, step

SCRIPT = """
from pathlib import Path
from tests.platform.worlds import manager, person, spec, step

platform = manager(Path({folder!r}))
platform.start_worker()
print(platform.run_from_spec(spec=spec(step("upper")), input_text="tea").output_text)
print(platform.run_from_spec(spec=spec(person()), input_text="tea").status)
"""


@contextmanager
def managed(path: Path, **more: Any) -> Iterator[PlatformManager]:
    platform = manager(path, **more)
    try:
        yield platform
        assert platform.check_journals() == []
    finally:
        platform.shutdown()


def answer(platform: PlatformManager, continuation_id: str | None) -> HumanResponse:
    assert continuation_id is not None
    return HumanResponse(platform.get_human_task(continuation_id)["id"], "approved")


def test_a_script_runs_pauses_and_resumes(tmp_path: Path) -> None:
    with managed(tmp_path) as platform:
        told: list[str] = []
        paused = platform.run_from_spec(
            spec=spec(step("upper"), person(), step("exclaim")),
            input_text="tea",
            on_event=lambda recorded: told.append(recorded.event.KIND),
        )
        assert (paused.status, paused.human_intervention_required) == ("paused", True)
        assert told == ["leg_started", "step_started", "step_completed", "human_asked"]
        (task,) = platform.list_human_tasks()
        assert task["run_id"] == paused.run_id
        done = platform.resume_human_task(
            paused.continuation_id or "", response=answer(platform, paused.continuation_id)
        )
        assert (done.ok, done.output_text) == (True, "TEA!")
        assert platform.get_run(done.run_id).status is RunStatus.COMPLETED
        with pytest.raises(KeyError):
            platform.get_human_task(paused.continuation_id or "")


def test_an_invalid_spec_stores_nothing(tmp_path: Path) -> None:
    with managed(tmp_path) as platform:
        broken = spec(step("upper"), step("exclaim", id="upper"))
        for start in (platform.run_from_spec, platform.start_run_from_spec):
            with pytest.raises(SpecCompilationError):
                start(spec=broken, input_text="tea")
            with pytest.raises(InvalidRequestError):
                start(input_text="tea")
            with pytest.raises(InvalidRequestError):
                start(spec=spec(step("upper")), input_text="tea", target="nothing")
        assert platform.count_runs() == 0
        assert platform.count_audit_events() == 0


def test_a_blocking_call_on_the_platforms_own_loop_is_refused_instead_of_hanging(tmp_path: Path) -> None:
    with managed(tmp_path) as platform:
        MANAGERS["own loop"] = platform
        result = platform.run_from_spec(spec=spec(step("calls_its_platform")), input_text="own loop")
        assert result.status == "failed"
        assert result.error is not None
        assert result.error.type == "LoopMisuseError"


def test_workers_execute_what_was_started_and_never_more_than_allowed_at_once(tmp_path: Path) -> None:
    with managed(tmp_path, worker_concurrency=2) as platform:
        flow = spec(step("gated"))
        names = [f"worker {number}" for number in range(4)]
        started = [platform.start_run_from_spec(spec=flow, input_text=name) for name in names]
        assert {record.status for record in started} == {RunStatus.RUNNING}
        platform.start_worker()
        platform.start_worker()
        assert all(GATES[name].reached.wait(SECONDS) for name in names[:2])
        assert platform.metrics_snapshot()["running"] == 2
        assert not any(GATES[name].reached.is_set() for name in names[2:])
        for name in names:
            GATES[name].passable.set()
        results = [platform.execute_run(record.id) for record in started]
        assert [result.output_text for result in results] == [f"{name} passed" for name in names]
        assert all(calls("gated", record.id) == 1 for record in started)


def test_many_threads_call_one_manager(tmp_path: Path) -> None:
    with managed(tmp_path) as platform, ThreadPoolExecutor(8) as threads:
        flow = spec(step("upper"), step("exclaim"))
        results = list(
            threads.map(lambda number: platform.run_from_spec(spec=flow, input_text=f"t{number}"), range(16))
        )
        assert sorted(result.output_text or "" for result in results) == sorted(f"T{n}!" for n in range(16))
        assert platform.count_runs(status="completed") == 16


def test_two_managers_in_one_process_share_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with managed(tmp_path / "a") as one, managed(tmp_path / "b") as two:
        result = one.run_from_spec(spec=spec(step("upper")), input_text="tea")
        assert two.list_runs() == []
        with pytest.raises(NotFoundError):
            two.get_run(result.run_id)
        with managed(tmp_path / "b") as third:
            assert third.count_runs() == 0
        assert one.run_from_spec(spec=spec(step("upper")), input_text="tea").ok


def test_a_manager_whose_store_cannot_be_opened_leaves_no_thread_behind(tmp_path: Path) -> None:
    (tmp_path / "runs.sqlite").write_text("no database, but a text that is long enough to be seen as none" * 20)
    platform = manager(tmp_path)
    for _ in range(3):
        with pytest.raises(StoreError):
            platform.list_runs()
    assert [thread for thread in threading.enumerate() if thread.name == "kneo-platform"] == []


def test_a_manager_that_was_shut_down_says_so(tmp_path: Path) -> None:
    platform = manager(tmp_path)
    platform.list_runs()
    assert platform.shutdown() is True
    assert platform.shutdown() is True
    with pytest.raises(PlatformClosedError):
        platform.list_runs()


def test_a_caller_that_waits_while_the_manager_is_shut_down_is_set_free(tmp_path: Path) -> None:
    platform = manager(tmp_path)
    with ThreadPoolExecutor(1) as threads:
        flow = spec(step("gated"), step("exclaim"))
        waiting = threads.submit(platform.run_from_spec, spec=flow, input_text="set free")
        assert GATES["set free"].reached.wait(SECONDS)
        platform.shutdown(timeout=0.01)
        assert waiting.result(SECONDS).status == "running"
        GATES["set free"].passable.set()


def test_a_script_without_shutdown_ends_by_itself(tmp_path: Path) -> None:
    began = time.monotonic()
    script = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(folder=str(tmp_path))],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    with script:
        assert script.stdout is not None
        assert script.stdout.readline() == "TEA\n"
        assert script.stdout.readline() == "paused\n"
        printed = time.monotonic()
        assert script.wait(SECONDS) == 0
    assert time.monotonic() - printed < 2
    assert printed - began < SECONDS


def test_the_prunes_count_what_they_did_and_a_second_call_finds_nothing(tmp_path: Path) -> None:
    with managed(tmp_path, timekeeper=False) as platform:
        for on_timeout in ("fail", "continue", "escalate"):
            flow = spec(person(timeout_seconds=60, on_timeout=on_timeout), step("exclaim"), name=on_timeout)
            assert platform.run_from_spec(spec=flow, input_text="tea").status == "paused"
        timed = platform.run_from_spec(spec=spec(person()), input_text="tea", timeout_seconds=60)
        assert platform.prune_expired_human_tasks() == 0
        assert platform.prune_timed_out_runs() == 0
        later = time.time() + 1000
        assert platform.prune_expired_human_tasks(now=later) == 3
        assert platform.prune_expired_human_tasks(now=later) == 0
        statuses = {record.workflow_name: record.status.value for record in platform.list_runs()}
        assert statuses == {"fail": "expired", "continue": "completed", "escalate": "blocked", "flow": "blocked"}
        (escalated,) = [
            platform.get_human_task(task["continuation_id"])
            for task in platform.list_human_tasks()
            if task["run_id"] != timed.run_id
        ]
        assert escalated["escalated_at"] == pytest.approx(later, abs=1)
        assert platform.prune_timed_out_runs(now=later) == 1
        assert platform.prune_timed_out_runs(now=later) == 0
        assert platform.get_run(timed.run_id).status is RunStatus.TIMED_OUT


def test_retention_removes_only_what_has_ended(tmp_path: Path) -> None:
    with managed(tmp_path) as platform:
        done = platform.run_from_spec(spec=spec(step("upper")), input_text="tea")
        waiting = platform.run_from_spec(spec=spec(person()), input_text="tea")
        assert platform.prune_retention().runs == 0
        report = platform.prune_retention(RetentionPolicy(runs_days=0, continuations_days=0))
        assert (report.runs, report.continuations) == (1, 0)
        with pytest.raises(NotFoundError):
            platform.get_run(done.run_id)
        result = platform.resume_human_task(
            waiting.continuation_id or "", response=answer(platform, waiting.continuation_id)
        )
        assert result.ok
        with pytest.raises(RuntimeError, match="running"):
            platform.prune_retention(RetentionPolicy(runs_days=0, run_statuses=(RunStatus.RUNNING,)))


def test_a_policy_of_an_environment_is_kept_told_and_previewed(tmp_path: Path) -> None:
    with managed(tmp_path) as platform:
        assert platform.get_environment_policy("prod") is None
        ran = platform.run_from_spec(spec=spec(step("upper")), input_text="tea", environment="prod")
        preview = platform.preview_environment_policy("prod", {"require_human_review": True})
        assert preview["newly_blocking"] == [ran.run_id]
        assert preview["diff"]["require_human_review"] == {"from": None, "to": True}
        before, after = platform.set_environment_policy("prod", {"require_human_review": True}, actor="mia")
        assert (before, after.require_human_review) == (None, True)
        assert list(platform.list_environment_policies()) == ["prod"]
        (event,) = platform.list_audit_events(event_type="policy.changed")
        assert (event.actor, event.metadata["environment"]) == ("mia", "prod")


def test_a_failed_run_is_a_result_and_continues(tmp_path: Path) -> None:
    with managed(tmp_path) as platform:
        FAILURES["by hand"] = 1
        failed = platform.run_from_spec(spec=spec(step("moody"), step("exclaim")), input_text="by hand")
        assert (failed.status, failed.error and failed.error.type) == ("failed", "RuntimeError")
        done = platform.continue_run(failed.run_id)
        assert (done.status, done.output_text, done.error) == ("completed", "by hand at last!", None)
