"""Replay and recovery say what is finished and where a run would go on."""

import pytest

from kneo_serv.errors import InvalidRequestError
from kneo_serv.model import event as ev
from kneo_serv.model.ids import ContinuationId
from kneo_serv.model.run import RunStatus
from kneo_serv.platform.views import Story, checkpoint_diff, checkpoints, recovery_context, replay_view
from tests.platform.views.journals import Journal, reviewed, row


def test_a_replay_is_the_time_line_of_the_checkpoints() -> None:
    view = replay_view(row(RunStatus.COMPLETED), reviewed().events)
    assert list(view) == [
        *("run_id", "status", "workflow_name", "workflow_kind", "agent_name", "checkpoint_count", "timeline"),
        "replay_context",
    ]
    assert (view["status"], view["checkpoint_count"], len(view["timeline"])) == ("completed", 8, 8)
    assert list(view["timeline"][3]) == [
        *("id", "sequence", "type", "created_at", "workflow_name", "step_id", "node_id", "status"),
        *("current_step_index", "current_step_id", "current_node_id", "continuation_id", "pending_human_request_id"),
        "error",
    ]
    assert view["timeline"][3]["pending_human_request_id"] == "req_1"
    assert view["replay_context"]["completed_steps"] == ["f", "a", "h", "g"]
    assert view["replay_context"]["can_continue"] is False
    assert view["replay_context"]["can_replay"] is True


def test_a_run_that_failed_in_its_first_step_can_be_continued() -> None:
    journal = Journal().begin().start("f#1", index=0).fail("f#1", ev.Resolution.FAIL, 0)
    journal.add(ev.RunFailed("ValueError", "no such thing", "f"))
    context = recovery_context(row(RunStatus.FAILED), journal.events)
    assert context["error"] == {"message": "no such thing", "type": "ValueError"}
    assert context["replay_context"] == {
        "run_id": row().id,
        "status": "failed",
        "workflow_type": "sequential",
        "completed_steps": [],
        "completed_nodes": [],
        "failed_step": "f",
        "failed_node": None,
        "next_step_index": 0,
        "resume_input": "in",
        "checkpoint_count": 3,
        "can_continue": True,
        "can_replay": True,
    }


def test_a_run_that_waits_for_a_person_is_resumed_and_not_continued() -> None:
    journal = Journal().begin().function("f#1", "f-out", 0).ask("h#1", 1)
    context = recovery_context(row(RunStatus.BLOCKED), journal.events)
    assert (context["status"], context["continuation_id"], context["current_step_index"]) == ("blocked", "cont_1", 1)
    assert context["pending_human_request"]["context"]["input_text"] == "f-out"
    assert context["replay_context"]["can_continue"] is False
    assert context["replay_context"]["next_step_index"] == 1


def test_an_expired_run_tells_its_error_though_it_leaves_no_checkpoint() -> None:
    journal = Journal().begin().ask("h#1", 0).add(ev.RunExpired(ContinuationId("cont_1"), "late by 60 s"))
    context = recovery_context(row(RunStatus.EXPIRED), journal.events)
    assert context["error"] == {"message": "late by 60 s", "type": "human_task_expired"}
    assert (context["pending_human_request"], context["replay_context"]["can_continue"]) == (None, False)


def test_a_continued_run_has_no_error_any_more() -> None:
    journal = Journal().begin().add(ev.RunFailed("x", "y"), ev.RunContinued())
    assert recovery_context(row(), journal.events)["error"] is None


def test_visited_steps_are_those_of_the_runs_own_workflow() -> None:
    journal = Journal().begin().function("f#1", "x", 0).function("f#1/i#1", "y", 0).function("g#1", "z", 1)
    assert Story.told(journal.events).visited == ["f", "g"]


def test_a_difference_is_between_the_last_two_checkpoints_by_default() -> None:
    made = checkpoints(row(), reviewed().events)
    diff = checkpoint_diff(made)
    assert (diff["from_checkpoint"]["sequence"], diff["to_checkpoint"]["sequence"]) == (7, 8)
    assert list(diff["to_checkpoint"]) == [
        "id",
        "sequence",
        "type",
        "created_at",
        "workflow_name",
        "step_id",
        "node_id",
    ]
    assert {"path": "state.status", "before": "running", "after": "completed"} in diff["changed"]
    assert {"path": "metadata.workflow_type", "value": "sequential"} in diff["removed"]
    assert diff["change_count"] == len(diff["added"]) + len(diff["removed"]) + len(diff["changed"])
    assert diff["truncated"] is False


def test_a_difference_names_new_items_by_their_place() -> None:
    made = checkpoints(row(), reviewed().events)
    diff = checkpoint_diff(made, from_sequence=2, to_sequence=3)
    assert {"path": "state.visited_steps[1]", "value": "a"} in diff["added"]
    back = checkpoint_diff(made, from_sequence=3, to_sequence=2)
    assert {"path": "state.visited_steps[1]", "value": "a"} in back["removed"]


def test_a_long_difference_is_cut_and_says_how_long_it_is() -> None:
    made = checkpoints(row(), reviewed().events)
    whole = checkpoint_diff(made, from_sequence=1)
    diff = checkpoint_diff(made, from_sequence=1, max_changes=2)
    paths = sorted(item["path"] for name in ("added", "removed", "changed") for item in whole[name])
    shown = [item["path"] for name in ("added", "removed", "changed") for item in diff[name]]
    assert sorted(shown) == paths[:2]
    assert (diff["truncated"], diff["change_count"]) == (True, whole["change_count"])


@pytest.mark.parametrize(
    ("sequences", "reason"),
    [({"from_sequence": 3, "to_sequence": 3}, "Both sequences are 3"), ({"to_sequence": 9}, "sequence 9; .* 1 to 8")],
)
def test_a_difference_of_one_or_no_checkpoint_is_refused(sequences: dict[str, int], reason: str) -> None:
    made = checkpoints(row(), reviewed().events)
    with pytest.raises(InvalidRequestError, match=reason):
        checkpoint_diff(made, **sequences)


def test_a_difference_needs_two_checkpoints() -> None:
    with pytest.raises(ValueError, match="the run has 1"):
        checkpoint_diff(checkpoints(row(), Journal().begin().events))
