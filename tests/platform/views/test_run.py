"""A run and its human task, as callers see them."""

import json
from dataclasses import replace

from kneo_serv.model.run import RunStatus
from kneo_serv.platform.views import Story, pause_metadata, request_view, run_view, task_view
from tests.platform.views.journals import CONTINUATION, REQUEST, RUN, human_task, row


def test_a_run_shows_its_public_texts_and_its_times() -> None:
    record = row(
        RunStatus.COMPLETED,
        input_text="mail bob@example.com",
        public_input_text="mail [REDACTED_EMAIL]",
        output_text="done",
        input_tokens=3,
        output_tokens=4,
        completed_at=1002.5,
        tags=("nightly",),
    )
    view = run_view(record, story=Story(frozenset(), visited=["f", "g"]), trace_event_count=7)
    assert (view["run_id"], view["id"], view["status"]) == (RUN, RUN, "completed")
    assert (view["input_text"], view["output_text"]) == ("mail [REDACTED_EMAIL]", "done")
    assert view["usage"] == {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
    assert (view["visited_steps"], view["visited_nodes"], view["trace_event_count"]) == (["f", "g"], [], 7)
    assert (view["created_at"], view["started_at"]) == ("1970-01-01T00:16:40+00:00", None)
    assert view["completed_at"] == "1970-01-01T00:16:42.500000+00:00"
    assert (view["session_id"], view["tags"], view["error"]) == ("s-1", ["nightly"], None)
    assert json.loads(json.dumps(view)) == view


def test_a_row_of_a_list_tells_what_the_run_cost() -> None:
    record = row(input_tokens=30, output_tokens=4, cached_tokens=20, requests=2, cost_usd=0.0125)
    assert run_view(record)["usage"] == {
        "input_tokens": 30,
        "output_tokens": 4,
        "total_tokens": 34,
        "cached_tokens": 20,
        "requests": 2,
        "cost_usd": 0.0125,
    }


def test_a_failed_run_shows_its_error_without_secrets() -> None:
    view = run_view(row(RunStatus.FAILED, error_type="ValueError", error_message="password=hunter2 is wrong"))
    assert view["error"] == {"message": "password=[REDACTED] is wrong", "type": "ValueError"}


def test_metadata_hold_the_callers_keys_and_no_secrets() -> None:
    metadata = {"caller_metadata": {"team": "ops", "target": "mine"}, "spec_path": "a.yaml", "api_key": "x"}
    view = run_view(row(metadata=metadata, environment="dev"))
    assert view["metadata"] == {
        "team": "ops",
        "target": "workflow",
        "environment": "dev",
        "queue": "default",
        "priority": 0,
        "caller_metadata": {"team": "ops", "target": "mine"},
        "spec_path": "a.yaml",
        "api_key": "[REDACTED]",
    }


def test_a_waiting_run_says_blocked_and_shows_what_it_waits_for() -> None:
    view = run_view(row(RunStatus.BLOCKED, continuation_id=CONTINUATION), human_task())
    assert (view["status"], view["continuation_id"]) == ("blocked", CONTINUATION)
    assert view["pending_human_request"]["id"] == "req_1"
    assert view["metadata"]["pending_human_request"] == {"request_id": "req_1", "prompt": "Is it right?"}
    assert view["metadata"]["request"]["context"] == {"input_text": "mail [REDACTED_EMAIL]"}


def test_nodes_of_a_graph_are_visited_nodes() -> None:
    story = Story(frozenset(), visited=["n"])
    assert run_view(row(metadata={"workflow_type": "graph"}), story=story)["visited_nodes"] == ["n"]


def test_only_the_deciding_person_sees_the_real_text() -> None:
    assert request_view(human_task(), private=True)["context"] == {"input_text": "mail bob@example.com"}
    assert request_view(human_task(), private=False)["context"] == {"input_text": "mail [REDACTED_EMAIL]"}
    unmarked = human_task(public_input_text=None)
    assert request_view(unmarked, private=False)["context"] == {"input_text": "mail [REDACTED_EMAIL]"}


def test_a_request_has_its_id_under_both_names_and_shows_whose_it_is() -> None:
    view = request_view(human_task(), private=False)
    assert view == {
        "id": "req_1",
        "request_id": "req_1",
        "type": "approval",
        "title": "Check it",
        "prompt": "Is it right?",
        "context": {"input_text": "mail [REDACTED_EMAIL]"},
        "options": [],
        "default_option": None,
        "requested_by": "h",
        "assignee": "ann@example.com",
        "timeout_seconds": 60.0,
        "on_timeout": "fail",
        "metadata": {},
    }


def test_context_of_the_spec_is_shown_without_secrets() -> None:
    request = replace(REQUEST, context={"ticket": 7, "password": "x"}, prompt="Mail bob@example.com?")
    view = request_view(human_task(request=request), private=False)
    assert (view["context"]["ticket"], view["context"]["password"]) == (7, "[REDACTED]")
    assert pause_metadata(human_task(request=request))["pending_human_request"]["prompt"] == "Mail [REDACTED_EMAIL]?"


def test_an_escalated_task_says_since_when_and_what_its_deadline_was() -> None:
    view = request_view(human_task(escalated_at=1070.0), private=False)
    assert (view["escalated_at"], view["original_expires_at"]) == (1070.0, 1060.0)


def test_a_task_is_shown_as_the_continuation_of_its_run() -> None:
    view = task_view(human_task(), row(), visited=["f"])
    assert (view["id"], view["run_id"], view["pending_human_request_id"]) == (CONTINUATION, RUN, "req_1")
    assert (view["workflow_kind"], view["current_step_index"], view["visited_steps"]) == ("sequential", 2, ["f"])
    assert (view["current_input"], view["expires_at"]) == ("mail [REDACTED_EMAIL]", 1060.0)
    assert view["metadata"] == {"step_id": "h"}
    assert task_view(human_task(workflow_kind="graph"), row())["metadata"] == {"node_id": "h"}


def test_a_pause_names_the_continuation_and_the_request() -> None:
    pause = pause_metadata(human_task())
    assert (pause["continuation_id"], pause["pending_step_id"]) == (CONTINUATION, "h")
    assert pause["pending_human_request"] == {"request_id": "req_1", "prompt": "Is it right?"}
    assert pause["request"]["id"] == "req_1"
    private = pause_metadata(human_task(), private=True)
    assert private["request"]["context"]["input_text"] == "mail bob@example.com"
