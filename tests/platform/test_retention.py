import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pytest

from kneo_serv.errors import SettingsError
from kneo_serv.model.page import AuditFilter
from kneo_serv.model.run import TERMINAL, RunStatus
from kneo_serv.platform.platform import Platform
from kneo_serv.platform.retention import (
    VARIABLES,
    RetentionDuty,
    RetentionPolicy,
    RetentionReport,
    apply_retention,
    remove_files,
)
from tests.platform.worlds import manager, opened, person, plan, run, spec, step, until

DAY = 86_400.0


def test_nothing_is_removed_unless_somebody_says_so() -> None:
    assert RetentionPolicy().keeps_all
    assert RetentionPolicy.from_env({}).keeps_all
    assert not RetentionPolicy(runs_days=0).keeps_all


def test_every_variable_is_read_and_wins_over_what_the_project_says() -> None:
    base = RetentionPolicy(runs_days=1, audit_days=2)
    environ = {
        "KNEO_SERV_RETENTION_RUNS_DAYS": "30",
        "KNEO_SERV_RETENTION_CHECKPOINTS_DAYS": "0",
        "KNEO_SERV_RETENTION_QUEUE_DAYS": " 14 ",
        "KNEO_SERV_RETENTION_CONTINUATIONS_DAYS": "30.5",
        "KNEO_SERV_RETENTION_AUDIT_DAYS": "",
        "KNEO_SERV_RETENTION_IDEMPOTENCY_DAYS": "7",
        "KNEO_SERV_RETENTION_ARTIFACTS_DAYS": "3",
        "KNEO_SERV_RETENTION_LOGS_DAYS": "4",
        "KNEO_SERV_RETENTION_RUN_STATUSES": "completed, FAILED",
        "KNEO_SERV_RETENTION_QUEUE_STATUSES": "failed",
        "KNEO_SERV_RETENTION_INTERVAL_SECONDS": "600",
        "KNEO_SERV_ARTIFACT_PATH": "/srv/artifacts",
        "KNEO_SERV_LOG_PATH": "/srv/logs",
    }
    assert set(environ) == set(VARIABLES)
    assert RetentionPolicy.from_env(environ, base=base) == RetentionPolicy(
        runs_days=30,
        checkpoints_days=0,
        queue_days=14,
        continuations_days=30.5,
        audit_days=2,
        idempotency_days=7,
        artifacts_days=3,
        logs_days=4,
        run_statuses=(RunStatus.COMPLETED, RunStatus.FAILED),
        queue_statuses=("failed",),
        artifact_path=Path("/srv/artifacts"),
        log_path=Path("/srv/logs"),
        interval_seconds=600,
    )


@pytest.mark.parametrize("value", ["-1", "abc", "nan", "inf", "1_0", "40000", "1 day"])
def test_days_that_are_none_are_refused_before_anything_starts(value: str) -> None:
    with pytest.raises(SettingsError, match="KNEO_SERV_RETENTION_RUNS_DAYS") as refused:
        RetentionPolicy.from_env({"KNEO_SERV_RETENTION_RUNS_DAYS": value, "KNEO_SERV_RETENTION_LOGS_DAYS": "x"})
    assert "KNEO_SERV_RETENTION_LOGS_DAYS" in str(refused.value)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("KNEO_SERV_RETENTION_RUN_STATUSES", "running"),
        ("KNEO_SERV_RETENTION_RUN_STATUSES", "done"),
        ("KNEO_SERV_RETENTION_RUN_STATUSES", ","),
        ("KNEO_SERV_RETENTION_QUEUE_STATUSES", "queued"),
        ("KNEO_SERV_RETENTION_INTERVAL_SECONDS", "1"),
        ("KNEO_SERV_ARTIFACT_PATH", "/"),
    ],
)
def test_living_statuses_and_dangerous_values_are_refused(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=variable):
        RetentionPolicy.from_env({variable: value})


def test_a_policy_of_living_statuses_is_refused(tmp_path: Path) -> None:
    platform = manager(tmp_path)
    with pytest.raises(RuntimeError, match="never removes"):
        platform.prune_retention(RetentionPolicy(runs_days=0, run_statuses=(RunStatus.BLOCKED,)))
    platform.shutdown()


def filled(tmp_path: Path, **more: Any) -> Any:
    """A platform with a run that has ended, and one that waits."""
    platform = manager(tmp_path, **more)
    assert platform.run_from_spec(spec=spec(step("upper")), input_text="tea").status == "completed"
    assert platform.run_from_spec(spec=spec(person()), input_text="tea").status == "paused"
    return platform


EVERYTHING = RetentionPolicy(runs_days=0, checkpoints_days=0, continuations_days=0, audit_days=0, idempotency_days=0)


def test_a_dry_run_tells_what_would_go_and_changes_nothing(tmp_path: Path) -> None:
    platform = filled(tmp_path, retention=EVERYTHING)
    foreseen = platform.prune_retention(dry_run=True)
    assert foreseen.runs == 1
    assert platform.count_runs() == 2
    assert platform.count_audit_events(event_type="retention.pruned") == 0
    assert platform.prune_retention() == foreseen
    assert platform.count_runs() == 1
    platform.shutdown()


def test_each_pass_is_audited_with_its_counts_and_who_asked_for_it(tmp_path: Path) -> None:
    platform = filled(tmp_path)
    report = platform.prune_retention(RetentionPolicy(runs_days=0), actor="anna")
    (event,) = platform.list_audit_events(event_type="retention.pruned")
    assert event.actor == "anna"
    assert dict(event.metadata) == dict(report.to_dict())
    assert event.metadata["runs"] == 1
    platform.shutdown()


def test_of_all_processes_that_keep_time_one_applies_it(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path, sound=False) as one, opened(tmp_path, sound=False) as two:
            for _ in range(3):
                await run(one, plan(step("upper")))
            duties = [
                RetentionDuty(side.store, RetentionPolicy(runs_days=0), report=side.audit_retention)
                for side in (one, two, one)
            ]
            await asyncio.gather(*(duty.work() for duty in duties))
            for duty in duties:
                await duty.work()
            (event,) = await one.store.list_audit(AuditFilter("retention.pruned"))
            assert event.metadata["runs"] == 3

    asyncio.run(story())


def test_a_started_worker_applies_it_by_itself(tmp_path: Path) -> None:
    platform = filled(tmp_path, retention=EVERYTHING)
    platform.start_worker()

    async def pruned(platform: Platform) -> None:
        async def there() -> bool:
            return await platform.store.count_audit(AuditFilter("retention.pruned")) == 1

        await until(there)

    asyncio.run(platform.reach(pruned))
    assert [record.status for record in platform.list_runs()] == ["blocked"]
    platform.shutdown()


def test_a_worker_without_a_timekeeper_leaves_it_to_the_prune(tmp_path: Path) -> None:
    platform = filled(tmp_path, retention=EVERYTHING, timekeeper=False)
    platform.start_worker()
    other = platform.start_run_from_spec(spec=spec(step("upper")), input_text="x")
    platform.execute_run(other.id)
    assert platform.count_runs() == 3
    assert platform.prune_retention().runs == 2
    platform.shutdown()


def test_old_files_go_and_the_folders_that_they_leave_empty(tmp_path: Path) -> None:
    root = tmp_path / "artifacts"
    for name, age in (("a/old", 3), ("a/b/old", 3), ("c/old", 3), ("c/young", 0), ("young", 0)):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
        os.utime(path, (time.time() - age * DAY,) * 2)
    outside = tmp_path / "outside"
    outside.write_text("x")
    os.utime(outside, (0, 0))
    (root / "link").symlink_to(outside)
    (root / "linked").symlink_to(tmp_path)
    before = time.time() - DAY
    assert remove_files(root, before, dry_run=True) == 3
    assert remove_files(root, before) == 3
    assert remove_files(root, before) == 0
    assert sorted(path.name for path in root.iterdir()) == ["c", "link", "linked", "young"]
    assert outside.exists()
    assert remove_files(root / "nowhere", before) == 0
    assert remove_files(root / "linked", before) == 0


def test_files_are_counted_among_what_went(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "a.log").write_text("x")

    async def story() -> RetentionReport:
        async with opened(tmp_path) as platform:
            policy = RetentionPolicy(logs_days=0, log_path=logs, artifacts_days=0, queue_days=0)
            return await apply_retention(platform.store, policy)

    assert asyncio.run(story()) == RetentionReport(logs=1)


def test_all_terminal_statuses_go_unless_some_are_named() -> None:
    assert set(RetentionPolicy().run_statuses) == TERMINAL
