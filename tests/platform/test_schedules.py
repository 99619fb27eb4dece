import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kneo_serv.errors import InvalidRequestError, NotFoundError, ScheduleExistsError, StoreError
from kneo_serv.model.ids import RunId
from kneo_serv.model.page import NO_TENANT, AuditFilter, RunFilter
from kneo_serv.model.schedule import CatchUp, Outcome, Overlap, Schedule
from kneo_serv.platform import PlatformManager
from kneo_serv.platform.platform import Platform
from kneo_serv.platform.schedules import GRACE, MOST_CAUGHT_UP, following, planned
from kneo_serv.platform.views import schedule_view
from kneo_serv.spec import SpecCompilationError
from tests.platform.worlds import manager, person, spec, step

HOUR = 3600.0
UPPER = spec(step("upper"))


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[PlatformManager]:
    made = manager(tmp_path)
    yield made
    made.shutdown()


def moment(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def hourly(platform: PlatformManager, **more: Any) -> Schedule:
    given = {"name": "tea", "cron": "@hourly", "spec": UPPER, "input_text": "tea", **more}
    return platform.create_schedule(given.pop("name"), **given)


def due(schedule: Schedule) -> float:
    assert schedule.next_due_at is not None
    return schedule.next_due_at


def audit(platform: PlatformManager) -> list[str]:
    events = platform.list_audit_events(limit=1000)
    return [event.event_type for event in reversed(events) if event.event_type.startswith("schedule.")]


def test_each_moment_gets_one_run_that_knows_its_schedule(platform: PlatformManager) -> None:
    made = hourly(platform, actor="anna", tags=["night"], session_id="s", metadata={"team": "kitchen"})
    assert platform.fire_due_schedules(now=due(made) - 1) == 0
    assert platform.fire_due_schedules(now=due(made)) == 1
    assert platform.fire_due_schedules(now=due(made)) == 0
    after = platform.get_schedule("tea")
    assert (after.last_outcome, after.last_due_at, after.runs, after.missed) == (Outcome.STARTED, due(made), 1, 0)
    assert due(after) == due(made) + HOUR
    assert after.last_run_id is not None
    result = platform.execute_run(after.last_run_id)
    assert result.output_text == "TEA"
    run = platform.get_run(after.last_run_id)
    assert run.metadata["schedule"] == {"name": "tea", "due_at": datetime.fromtimestamp(due(made), UTC).isoformat()}
    assert run.metadata["caller_metadata"] == {"team": "kitchen"}
    assert (run.tags, run.session_id) == (("night",), "s")
    (created,) = platform.list_audit_events(run_id=run.id, event_type="run.created")
    assert created.actor == "schedule:tea"
    assert audit(platform) == ["schedule.created", "schedule.fired"]


def test_any_number_of_replicas_keep_a_moment_once(tmp_path: Path) -> None:
    sides = [manager(tmp_path) for _ in range(4)]
    made = [hourly(sides[0], name=f"tea-{number}") for number in range(8)]
    now = due(made[0])

    async def fire(platform: Platform) -> int:
        found = await platform.store.due_schedules(now=now)
        return sum(await asyncio.gather(*(platform.schedules.fire(one, now=now) for one in found)))

    async def all_at_once() -> list[int]:
        return list(await asyncio.gather(*(side.reach(fire) for side in sides)))

    assert sum(asyncio.run(all_at_once())) == 8
    assert sides[0].count_runs() == 8
    assert audit(sides[0]).count("schedule.fired") == 8
    for side in sides:
        side.shutdown()


def test_a_crash_around_the_moment_loses_nothing_and_starts_nothing_twice(tmp_path: Path) -> None:
    """Before the transaction nothing is there; after it the run is, and the schedule stands behind its moment."""

    platform = manager(tmp_path)
    made = hourly(platform)

    async def die(platform: Platform) -> None:
        def prepare(schedule: Schedule) -> Any:
            raise StoreError("the process ends here")

        platform.schedules.prepare = prepare
        await platform.schedules.fire(await platform.schedules.get("tea", None), now=due(made))

    with pytest.raises(StoreError, match="ends here"):
        asyncio.run(platform.reach(die))
    platform.shutdown()
    again = manager(tmp_path)
    assert again.get_schedule("tea") == made
    assert again.count_runs() == 0
    assert again.fire_due_schedules(now=due(made)) == 1
    again.shutdown(timeout=0)
    third = manager(tmp_path)
    assert third.fire_due_schedules(now=due(made)) == 0
    assert third.count_runs() == 1
    third.shutdown()


def test_a_started_worker_keeps_schedules_by_itself_and_soon(tmp_path: Path) -> None:
    platform = manager(tmp_path)
    platform.start_worker()
    at = datetime.now(UTC).timestamp() + 0.7
    platform.create_schedule("once", at=at, spec=UPPER, input_text="tea")

    async def ended(platform: Platform) -> Schedule:
        while True:
            schedule = await platform.schedules.get("once", None)
            record = None if schedule.last_run_id is None else await platform.store.get_run(schedule.last_run_id)
            if record is not None and record.status.is_terminal:
                return schedule
            await asyncio.sleep(0.02)

    schedule = asyncio.run(asyncio.wait_for(platform.reach(ended), 15))
    assert schedule.last_fired_at is not None
    assert 0 <= schedule.last_fired_at - at < 1.5
    assert (schedule.next_due_at, schedule.look_at, schedule.runs) == (None, None, 1)
    platform.shutdown()


def test_the_switch_of_the_timekeeper_leaves_schedules_alone(tmp_path: Path) -> None:
    platform = manager(tmp_path, timekeeper=False)
    platform.start_worker()
    assert list(platform.list_schedules()) == []
    made = platform.create_schedule("once", at=datetime.now(UTC).timestamp() + 0.3, spec=UPPER)
    while datetime.now(UTC).timestamp() <= due(made):
        other = platform.start_run_from_spec(spec=spec(step("upper"), name="beside"), input_text="x")
        assert platform.execute_run(other.id).status == "completed"
    assert platform.fire_due_schedules(now=due(made) + 1) == 1
    platform.shutdown()


def test_a_file_is_compiled_at_each_moment_and_its_faults_are_an_outcome(
    platform: PlatformManager, tmp_path: Path
) -> None:
    import json

    file = tmp_path / "spec.json"
    file.write_text(json.dumps(UPPER))
    made = hourly(platform, spec=None, spec_path=file)
    assert made.spec_path == str(file)
    file.write_text("{")
    platform.fire_due_schedules(now=due(made))
    failed = platform.get_schedule("tea")
    assert (failed.last_outcome, failed.runs) == (Outcome.FAILED, 0)
    assert failed.last_error
    assert due(failed) == due(made) + HOUR
    (event,) = platform.list_audit_events(event_type="schedule.failed")
    assert event.metadata["error"] == failed.last_error
    # Mended, it runs again, and what is mended is what runs.
    file.write_text(json.dumps(spec(step("exclaim"))))
    platform.fire_due_schedules(now=due(failed))
    mended = platform.get_schedule("tea")
    assert (mended.last_outcome, mended.last_error) == (Outcome.STARTED, None)
    assert platform.execute_run(str(mended.last_run_id)).output_text == "tea!"
    file.unlink()
    platform.fire_due_schedules(now=due(mended))
    assert platform.get_schedule("tea").last_outcome is Outcome.FAILED


def test_paths_in_the_folder_for_specs_are_confined_and_told_as_given(tmp_path: Path) -> None:
    import json

    root = tmp_path / "specs"
    root.mkdir()
    (root / "a.json").write_text(json.dumps(UPPER))
    (tmp_path / "secret.json").write_text(json.dumps(UPPER))
    platform = manager(tmp_path, spec_root=root)
    made = hourly(platform, spec=None, spec_path="a.json", in_spec_root=True)
    assert made.spec_path == "a.json"
    with pytest.raises(ValueError, match="leads out"):
        hourly(platform, name="b", spec=None, spec_path="../secret.json", in_spec_root=True)
    (root / "a.json").unlink()
    (root / "a.json").symlink_to(tmp_path / "secret.json")
    platform.fire_due_schedules(now=due(made))
    failed = platform.get_schedule("tea")
    assert failed.last_outcome is Outcome.FAILED
    assert str(tmp_path) not in (failed.last_error or "")
    platform.shutdown()


def test_nothing_is_kept_of_a_schedule_that_could_not_run(platform: PlatformManager) -> None:
    with pytest.raises(SpecCompilationError):
        hourly(platform, spec={"version": "v1", "agent": {"name": 3}})
    with pytest.raises(InvalidRequestError, match="either cron or at"):
        hourly(platform, at=1.0)
    with pytest.raises(InvalidRequestError, match="has passed"):
        platform.create_schedule("old", at=1.0, spec=UPPER)
    with pytest.raises(InvalidRequestError, match="overlap is one of skip"):
        hourly(platform, overlap="maybe")
    with pytest.raises(InvalidRequestError, match="no name for a schedule"):
        hourly(platform, name="a/b")
    with pytest.raises(InvalidRequestError, match="jitter"):
        hourly(platform, jitter_seconds=-1)
    assert platform.list_schedules(tenant=None) == []
    hourly(platform)
    with pytest.raises(ScheduleExistsError):
        hourly(platform)
    assert audit(platform) == ["schedule.created"]


def unfinished(platform: PlatformManager, overlap: str) -> Schedule:
    """A schedule whose last run waits for a person."""
    made = hourly(platform, spec=spec(person(), step("exclaim")), overlap=overlap, catch_up="all")
    platform.fire_due_schedules(now=due(made))
    last = platform.get_schedule("tea")
    platform.execute_run(str(last.last_run_id))
    return last


def test_a_moment_passes_while_the_last_run_has_not_ended(platform: PlatformManager) -> None:
    last = unfinished(platform, "skip")
    assert platform.fire_due_schedules(now=due(last)) == 1
    skipped = platform.get_schedule("tea")
    assert (skipped.last_outcome, skipped.missed, skipped.last_run_id) == (Outcome.SKIPPED, 1, last.last_run_id)
    assert due(skipped) == due(last) + HOUR
    platform.cancel_run(str(last.last_run_id))
    platform.fire_due_schedules(now=due(skipped))
    assert platform.get_schedule("tea").runs == 2
    assert "schedule.skipped" in audit(platform)


def test_a_queued_moment_waits_for_the_end_of_the_last_run(platform: PlatformManager) -> None:
    last = unfinished(platform, "queue")
    for _ in range(3):
        assert platform.fire_due_schedules(now=due(last) + HOUR) == 0
    assert platform.get_schedule("tea") == last
    platform.cancel_run(str(last.last_run_id))
    assert platform.fire_due_schedules(now=due(last) + HOUR) == 1
    behind = platform.get_schedule("tea")
    assert (behind.last_due_at, due(behind)) == (due(last), due(last) + HOUR)


def test_runs_may_overlap_where_the_schedule_says_so(platform: PlatformManager) -> None:
    last = unfinished(platform, "allow")
    platform.fire_due_schedules(now=due(last))
    assert platform.get_schedule("tea").runs == 2
    assert platform.get_run(str(last.last_run_id)).status == "blocked"


def test_the_last_run_gives_way_where_the_schedule_says_so(platform: PlatformManager) -> None:
    last = unfinished(platform, "cancel_previous")
    platform.fire_due_schedules(now=due(last))
    assert platform.get_schedule("tea").runs == 2
    assert platform.get_run(str(last.last_run_id)).status == "cancelled"


@pytest.mark.parametrize(
    ("catch_up", "late", "runs", "missed"),
    [
        ("none", 0, 1, 0),
        ("none", GRACE - 1, 1, 0),
        ("none", GRACE + 1, 0, 1),
        ("none", 5 * HOUR + 1, 1, 5),
        ("none", 5 * HOUR + 600, 0, 6),
        ("one", 5 * HOUR + 600, 1, 5),
        ("all", 5 * HOUR + 600, 6, 0),
        ("all", 500 * HOUR, MOST_CAUGHT_UP, 0),
    ],
)
def test_what_becomes_of_missed_moments_is_the_schedules_to_say(
    platform: PlatformManager, catch_up: str, late: float, runs: int, missed: int
) -> None:
    made = hourly(platform, catch_up=catch_up, overlap="allow")
    now = due(made) + late
    while platform.fire_due_schedules(now=now):
        pass
    after = platform.get_schedule("tea")
    assert (after.runs, after.missed, platform.count_runs()) == (runs, missed, runs)
    assert now < due(after) <= now + HOUR
    if not runs:
        assert after.last_outcome is Outcome.MISSED
        assert "schedule.missed" in audit(platform)


def test_a_clock_that_goes_back_keeps_no_moment_twice(platform: PlatformManager) -> None:
    made = hourly(platform)
    assert platform.fire_due_schedules(now=due(made) + 10) == 1
    assert platform.fire_due_schedules(now=due(made) - 600) == 0
    assert platform.fire_due_schedules(now=due(made) + 10) == 0
    assert platform.get_schedule("tea").runs == 1


def test_a_pause_keeps_no_moment_and_catches_up_with_none(platform: PlatformManager) -> None:
    made = hourly(platform)
    paused = platform.pause_schedule("tea", actor="anna")
    assert (paused.paused, paused.next_due_at) == (True, None)
    assert platform.pause_schedule("tea") == paused
    assert platform.fire_due_schedules(now=due(made) + 100 * HOUR) == 0
    resumed = platform.resume_schedule("tea")
    assert due(resumed) == due(made)
    assert platform.next_moments("tea", count=3) == [due(made), due(made) + HOUR, due(made) + 2 * HOUR]
    assert audit(platform) == ["schedule.created", "schedule.paused", "schedule.resumed"]
    waiting = hourly(platform, name="later", paused=True)
    assert waiting.next_due_at is None


def test_a_schedule_can_be_triggered_by_hand_though_it_is_paused(platform: PlatformManager) -> None:
    made = hourly(platform, paused=True)
    result = platform.run_schedule("tea", actor="anna")
    assert result.output_text == "TEA"
    after = platform.get_schedule("tea")
    assert (after.last_run_id, after.runs, after.next_due_at) == (result.run_id, 1, made.next_due_at)
    (event,) = platform.list_audit_events(event_type="schedule.triggered")
    assert (event.actor, event.run_id) == ("anna", result.run_id)


def test_a_change_takes_the_place_of_what_excludes_it(platform: PlatformManager) -> None:
    made = hourly(platform)
    changed = platform.update_schedule("tea", cron="0 3 * * *", timezone="Europe/Berlin", input_text="coffee")
    assert datetime.fromtimestamp(due(changed), UTC).minute == 0
    assert (changed.created_at, changed.revision, changed.input_text) == (made.created_at, 2, "coffee")
    later = due(made) + 100 * HOUR
    once = platform.update_schedule("tea", at=later)
    assert (once.cron, once.at, once.next_due_at) == (None, later, later)
    same = platform.update_schedule("tea", tags=["x"])
    assert same.next_due_at == later
    with pytest.raises(InvalidRequestError, match="no field 'colour'"):
        platform.update_schedule("tea", colour="red")
    with pytest.raises(SpecCompilationError):
        platform.update_schedule("tea", spec={"version": "v1"})
    with pytest.raises(NotFoundError):
        platform.update_schedule("coffee", tags=[])


def test_a_removed_schedule_leaves_its_runs(platform: PlatformManager) -> None:
    made = hourly(platform)
    platform.fire_due_schedules(now=due(made))
    platform.delete_schedule("tea", actor="anna")
    assert platform.list_schedules() == []
    assert platform.count_runs() == 1
    with pytest.raises(NotFoundError):
        platform.delete_schedule("tea")
    assert "schedule.deleted" in audit(platform)


def test_schedules_and_their_runs_are_those_of_a_tenant(platform: PlatformManager) -> None:
    made = hourly(platform, tenant="north")
    hourly(platform)
    assert [one.tenant for one in platform.list_schedules(tenant="north")] == ["north"]
    platform.fire_due_schedules(now=due(made))
    assert platform.count_runs(filters=RunFilter(tenant="north")) == 1
    assert platform.count_runs(filters=RunFilter(tenant=NO_TENANT)) == 1

    async def look(platform: Platform) -> list[str]:
        return [event.event_type for event in await platform.store.list_audit(AuditFilter(tenant="north"))]

    assert sorted(asyncio.run(platform.reach(look))) == ["run.created", "schedule.created", "schedule.fired"]


def test_a_full_queue_postpones_a_moment_and_loses_none(tmp_path: Path) -> None:
    platform = manager(tmp_path, max_queue_depth=1)
    made = hourly(platform)
    waiting = platform.start_run_from_spec(spec=UPPER, input_text="x")
    assert platform.fire_due_schedules(now=due(made)) == 0
    assert platform.get_schedule("tea") == made
    platform.execute_run(waiting.id)
    assert platform.fire_due_schedules(now=due(made)) == 1
    platform.shutdown()


def test_jitter_keeps_a_moment_later_and_is_part_of_no_plan(platform: PlatformManager) -> None:
    made = hourly(platform, jitter_seconds=600)
    assert made.look_at is not None
    assert due(made) <= made.look_at <= due(made) + 600
    assert due(made) % HOUR == 0
    spread = {replace(planned(made, 0.0)).look_at for _ in range(20)}
    assert len(spread) > 1


def test_secrets_of_a_schedule_are_not_shown(platform: PlatformManager) -> None:
    secret = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCD"
    made = hourly(platform, input_text=f"use {secret}", metadata={"api_key": secret})
    assert secret not in str(schedule_view(made, whole=True))
    assert platform.run_schedule("tea").output_text == f"USE {secret.upper()}"


def test_a_moment_that_the_zone_has_moved_away_from_is_kept_all_the_same() -> None:
    odd = Schedule("a", 0.0, 0.0, cron="@hourly", next_due_at=moment("2026-05-10T12:34"), catch_up=CatchUp.ONE)
    chosen, missed, after = following(odd, moment("2026-05-10T12:35"))
    assert (chosen, missed) == (moment("2026-05-10T12:34"), 0)
    assert after.next_due_at == moment("2026-05-10T13:00")


def test_a_run_that_retention_removed_does_not_stand_in_the_way(platform: PlatformManager) -> None:
    made = hourly(platform, overlap=Overlap.SKIP)

    async def forget(platform: Platform) -> None:
        schedule = await platform.schedules.get("tea", None)
        gone = replace(schedule, last_run_id=RunId("run_gone"))
        assert await platform.schedules.fire(gone, now=due(made))

    asyncio.run(platform.reach(forget))
    assert platform.get_schedule("tea").runs == 1
