import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kneo_serv.errors import NotFoundError, RunStateConflictError
from kneo_serv.model.task import HumanResponse
from kneo_serv.platform import PlatformManager
from tests.platform.worlds import manager, person, spec, step

SECRET = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCD"


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[PlatformManager]:
    made = manager(tmp_path)
    yield made
    made.shutdown()


def exported(platform: PlatformManager, run_id: str, **more: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in platform.export_run(run_id, **more)]


def ended(platform: PlatformManager, text: str = "tea") -> str:
    """A run that asked somebody and has ended."""
    paused = platform.run_from_spec(spec=spec(step("upper"), person(), step("exclaim")), input_text=text)
    request = platform.get_human_task(str(paused.continuation_id))
    response = HumanResponse(request["request_id"], "approved")
    return platform.resume_human_task(str(paused.continuation_id), response=response).run_id


def test_an_exported_run_is_whole_and_says_so(platform: PlatformManager) -> None:
    run_id = ended(platform)
    lines = exported(platform, run_id)
    kinds = [line["type"] for line in lines]
    assert kinds[:2] == ["run", "plan"]
    assert kinds[-1] == "end"
    assert sorted(set(kinds)) == ["audit_event", "end", "event", "human_task", "plan", "run"]
    record = platform.get_run(run_id)
    events = [line for line in lines if line["type"] == "event"]
    assert [event["seq"] for event in events] == list(range(1, record.seq + 1))
    assert (events[0]["kind"], events[-1]["kind"]) == ("run_created", "run_completed")
    assert (lines[0]["run_id"], lines[0]["status"], lines[0]["output_text"]) == (run_id, "completed", "TEA!")
    assert lines[1]["hash"] == record.plan_hash
    audit = [line for line in lines if line["type"] == "audit_event"]
    assert lines[-1] == {"type": "end", "run_id": run_id, "events": len(events), "audit_events": len(audit)}
    assert {"run.created", "human.decision"} <= {event["event_type"] for event in audit}


def test_an_export_tells_no_secret_unless_the_private_one_is_asked_for(platform: PlatformManager) -> None:
    run_id = ended(platform, f"use {SECRET}")
    assert SECRET not in json.dumps(exported(platform, run_id))
    private = exported(platform, run_id, private=True)
    assert private[0]["private"] is True
    assert private[0]["input_text"] == f"use {SECRET}"
    assert SECRET in json.dumps([line for line in private if line["type"] == "event"])
    assert SECRET.upper() in json.dumps([line for line in private if line["type"] == "human_task"])


def test_a_long_run_is_exported_in_parts(platform: PlatformManager) -> None:
    steps = [step("upper", id=f"s{number}") for number in range(250)]
    run_id = platform.run_from_spec(spec=spec(*steps), input_text="tea").run_id
    lines = platform.export_run(run_id)
    first = json.loads(next(lines))
    assert first["seq"] > 400
    assert sum(json.loads(line)["type"] == "event" for line in lines) == first["seq"]


def test_who_stops_reading_leaves_nothing_open(platform: PlatformManager) -> None:
    run_id = ended(platform)
    lines = platform.export_run(run_id)
    next(lines)
    lines.close()  # type: ignore[attr-defined]
    assert platform.get_run(run_id).status == "completed"
    with pytest.raises(NotFoundError):
        next(platform.export_run("run_nowhere"))


def test_a_deleted_run_leaves_its_audit_and_nothing_else(platform: PlatformManager) -> None:
    run_id = ended(platform)
    before = {event.event_type for event in platform.list_audit_events(run_id=run_id)}
    platform.delete_run(run_id, actor="anna")
    with pytest.raises(NotFoundError):
        platform.get_run(run_id)
    events = platform.list_audit_events(run_id=run_id)
    assert {event.event_type for event in events} == before | {"run.deleted"}
    (deleted,) = [event for event in events if event.event_type == "run.deleted"]
    assert (deleted.actor, deleted.metadata["status"]) == ("anna", "completed")
    with pytest.raises(NotFoundError):
        platform.delete_run(run_id)
    assert platform.check_journals() == []


def test_a_run_that_has_not_ended_is_not_deleted(platform: PlatformManager) -> None:
    paused = platform.run_from_spec(spec=spec(person()), input_text="tea")
    with pytest.raises(RunStateConflictError, match="cannot delete"):
        platform.delete_run(paused.run_id)
    assert platform.get_run(paused.run_id).status == "blocked"
    platform.cancel_run(paused.run_id)
    platform.delete_run(paused.run_id)
    assert platform.count_runs() == 0
