"""Checkpoints show the run after each step, and stay small."""

import json
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from kneo_serv.engine.keys import ROOT_KEY
from kneo_serv.model import event as ev
from kneo_serv.model.ids import ContinuationId
from kneo_serv.model.plan import StepKind
from kneo_serv.platform.views import Checkpoint, checkpoints, trace_events
from tests.platform.views.journals import Journal, key, reviewed, row
from tests.platform.views.test_trace import every_kind


def made(journal: Journal) -> list[Checkpoint]:
    return checkpoints(journal.record, journal.events)


def kinds(journal: Journal) -> list[tuple[str, str | None]]:
    return [(checkpoint.type, checkpoint.step_id) for checkpoint in made(journal)]


def test_a_reviewed_run_leaves_its_checkpoints_in_the_documented_order() -> None:
    assert kinds(reviewed()) == [
        ("run_started", None),
        ("step_completed", "f"),
        ("step_completed", "a"),
        ("human_pause", "h"),
        ("human_resume", "h"),
        ("step_completed", "h"),
        ("step_completed", "g"),
        ("run_completed", None),
    ]
    assert [checkpoint.sequence for checkpoint in made(reviewed())] == list(range(1, 9))


def test_states_follow_the_run() -> None:
    states = [checkpoint.state for checkpoint in made(reviewed())]
    assert [state["status"] for state in states] == [
        *("running", "running", "running", "blocked", "running", "running", "running", "completed")
    ]
    assert [state["visited_steps"] for state in states[:4]] == [[], ["f"], ["f", "a"], ["f", "a"]]
    assert states[3]["continuation_id"] == "cont_1"
    assert states[3]["pending_human_request"]["context"] == {"input_text": "a-out"}
    assert (states[4]["continuation_id"], states[4]["pending_human_request"]) == (None, None)
    assert states[2]["usage"] == {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
    assert (states[-1]["output_text"], states[-1]["completed_at"]) == ("g-out", "1970-01-01T00:16:55+00:00")


def test_metadata_tell_what_each_sort_of_checkpoint_is_about() -> None:
    metadata = [checkpoint.metadata for checkpoint in made(reviewed())]
    assert metadata[0] == {"target": "workflow", "environment": None, "timeout_seconds": None, "deadline_at": None}
    assert metadata[2] == {
        "workflow_type": "sequential",
        "input_text": "f-out",
        "output_text": "a-out",
        "error": None,
        "iteration": 1,
    }
    assert metadata[3]["request"]["id"] == "req_1"
    assert metadata[5]["output_text"] == "a-out"
    assert metadata[-1] == {"output_text": "g-out"}


def test_each_trace_event_stands_in_exactly_one_checkpoint() -> None:
    journal = reviewed()
    lines, _ = trace_events(journal.record, journal.events)
    assert [line for checkpoint in made(journal) for line in checkpoint.trace_events] == lines


def test_a_failure_shows_once_it_is_final_and_a_continued_run_says_from_where() -> None:
    journal = Journal().begin().function("f#1", "f-out", 0).start("g#1", index=1)
    journal.fail("g#1", ev.Resolution.RETRY, 1).start("g#1", index=1, attempt=2).fail("g#1", ev.Resolution.FAIL, 1)
    journal.add(ev.RunFailed("ValueError", "no such thing", "g"), ev.RunContinued())
    journal.start("g#1", index=1, attempt=3).end("g#1", "g-out", 1).add(ev.RunCompleted("g-out"))
    assert kinds(journal)[1:] == [
        ("step_completed", "f"),
        ("step_failed", "g"),
        ("run_failed", None),
        ("replay_context", None),
        ("step_completed", "g"),
        ("run_completed", None),
    ]
    failed, replay, done = made(journal)[3], made(journal)[4], made(journal)[6]
    assert failed.state["error"] == {"message": "no such thing", "type": "ValueError"}
    assert (replay.metadata["next_step_index"], replay.metadata["resume_input"]) == (1, "f-out")
    assert (done.state["error"], done.state["visited_steps"]) == (None, ["f", "g"])


def test_a_step_that_may_fail_counts_as_completed_and_passes_its_input_on() -> None:
    journal = Journal().begin().start("f#1", index=0).fail("f#1", ev.Resolution.CONTINUE, 0).function("g#1", "out", 1)
    first, second = made(journal)[1:]
    assert (first.type, first.metadata["output_text"]) == ("step_completed", "in")
    assert first.metadata["error"] == {"message": "no such thing", "type": "ValueError"}
    assert (second.metadata["input_text"], second.state["visited_steps"]) == ("in", ["f", "g"])


def test_a_fallback_completes_the_step_that_it_stands_in_for() -> None:
    journal = Journal().begin().start("f#1", index=0).fail("f#1", ev.Resolution.FALLBACK, 0)
    journal.start("f#1~b", step_id="b", fallback_for="f", index=0)
    journal.add(ev.StepCompleted(key("f#1~b"), "b", "b-out", 0))
    assert kinds(journal) == [("run_started", None), ("step_completed", "f")]
    assert made(journal)[-1].metadata["input_text"] == "in"


def test_nested_steps_have_checkpoints_and_only_their_workflow_is_visited() -> None:
    journal = Journal().begin().start("outer#1", StepKind.WORKFLOW, 0, flow="inside")
    journal.function("outer#1/i#1", "i-out", 0).function("outer#1/j#1", "j-out", 1).end("outer#1", "j-out", 0)
    inner, _, outer = made(journal)[1:]
    assert (inner.step_id, inner.workflow_name, inner.state["visited_steps"]) == ("i", "inside", [])
    assert (inner.state["current_step_id"], outer.state["visited_steps"]) == ("outer", ["outer"])
    assert (made(journal)[2].metadata["input_text"], outer.metadata["input_text"]) == ("i-out", "in")


def test_nodes_of_a_graph_are_nodes_and_count_their_visits() -> None:
    journal = Journal().begin().function("n#1", "1").add(ev.EdgeTaken(ROOT_KEY, "n", "n"))
    journal.function("n#2", "2")
    last = made(journal)[-1]
    assert (last.type, last.node_id, last.iteration, last.metadata["workflow_type"]) == (
        *("node_completed", "n", 2, "graph"),
    )
    assert (last.state["visited_nodes"], last.state["current_node_id"]) == (["n", "n"], "n")


def test_steps_beside_each_other_get_the_same_input() -> None:
    journal = Journal().begin().start("a#1").start("b#1").end("b#1", "B").start("c#1").end("a#1", "A").end("c#1", "C")
    steps = {checkpoint.step_id: checkpoint.metadata["input_text"] for checkpoint in made(journal)[1:]}
    assert steps == {"a": "in", "b": "in", "c": "in"}


def test_a_run_is_blocked_only_while_nothing_else_is_at_work() -> None:
    journal = Journal().begin().ask("h#1").start("b#1").end("b#1", "B")
    assert [checkpoint.state["status"] for checkpoint in made(journal)[1:]] == ["blocked", "blocked"]
    assert made(Journal().begin().start("b#1").ask("h#1"))[-1].state["status"] == "running"


def test_ids_of_steps_are_read_back_from_keys() -> None:
    journal = Journal().begin().add(ev.StepCompleted(key("a%2Fb%23c%25#3~d"), "d", "out"))
    assert (made(journal)[-1].step_id, made(journal)[-1].iteration) == ("a/b#c%", 3)


def test_ends_have_their_reasons_and_an_expired_run_has_no_checkpoint() -> None:
    cancelled = made(Journal().begin().add(ev.RunCancelled("Run cancellation requested.", "ann")))[-1]
    timed_out = made(Journal().begin().add(ev.RunTimedOut(5.0, 1002.0, "running")))[-1]
    expired = Journal().begin().add(ev.RunExpired(ContinuationId("cont_1"), "late"))
    assert cancelled.metadata == {"reason": "Run cancellation requested.", "requested": True}
    assert timed_out.metadata["status_at_timeout"] == "running"
    assert timed_out.state["error"]["type"] == "run_timed_out"
    assert kinds(expired) == [("run_started", None)]


def test_long_texts_and_lists_are_cut_and_say_so() -> None:
    journal = Journal().begin("x" * 1201)
    for number in range(25):
        journal.function(f"s{number}#1", "y" * 1200, number)
    last = made(journal)[-1]
    assert last.state["input_text"] == "x" * 1200 + "...[truncated 1 chars]"
    assert last.metadata["output_text"] == "y" * 1200
    assert last.state["visited_steps"] == [*(f"s{number}" for number in range(20)), {"_truncated_items": 5}]


def test_a_checkpoint_is_a_json_object_with_all_its_fields() -> None:
    journal = reviewed()
    first = made(journal)[0].to_dict()
    assert list(first) == [
        *("id", "run_id", "type", "workflow_name", "step_id", "node_id", "sequence", "iteration", "state"),
        *("trace_events", "metadata", "created_at"),
    ]
    assert json.loads(json.dumps(first)) == first
    assert first["id"].startswith("chk_")


def test_a_long_run_costs_no_more_per_step_than_a_short_one() -> None:
    def seconds(steps: int) -> float:
        journal = Journal().begin()
        for number in range(steps):
            journal.function(f"s{number}#1", "out", number)
        taken = []
        for _ in range(3):
            begun = time.thread_time()
            checkpoints(row(), journal.events)
            taken.append(time.thread_time() - begun)
        return min(taken)

    seconds(200)
    assert seconds(4000) < 40 * max(seconds(400), 0.02)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(list(ev.EVENT_TYPES)), max_size=12))
def test_sequences_have_no_gaps_whatever_happened(names: list[str]) -> None:
    samples = {recorded.event.KIND: recorded.event for recorded in every_kind().events}
    journal = Journal().add(*(samples[name] for name in names))
    found = made(journal)
    assert [checkpoint.sequence for checkpoint in found] == list(range(1, len(found) + 1))
    assert json.dumps([checkpoint.to_dict() for checkpoint in found])
