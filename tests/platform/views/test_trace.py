"""The trace tells everything but secrets, arguments and results, and tells it the same way each time."""

import json
from datetime import datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from kneo_serv.model import event as ev
from kneo_serv.model.ids import ContinuationId, PlanHash, RequestId, StepKey
from kneo_serv.model.message import ToolCall
from kneo_serv.model.plan import OnTimeout, StepKind
from kneo_serv.model.task import Decision
from kneo_serv.platform.views import trace_events
from kneo_serv.platform.views.wire import WIRE
from tests.platform.views.journals import RUN, Journal, key, reviewed, row

FIELDS = [
    *("type", "run_id", "event_id", "sequence", "timestamp", "parent_event_id", "span_id", "parent_span_id"),
    *(
        "agent_name",
        "workflow_name",
        "step_id",
        "runtime_mode",
        "model_provider",
        "model_name",
        "tool_name",
        "guardrail_id",
    ),
    *("memory_policy", "input_preview", "output_preview", "metadata", "error"),
    "key",
]


def test_every_kind_of_event_has_its_names_on_the_wire() -> None:
    assert set(WIRE) == set(ev.EVENT_TYPES.values())


def test_the_trace_of_a_reviewed_run_tells_its_story() -> None:
    journal = reviewed()
    lines, dropped = trace_events(journal.record, journal.events)
    assert [line["type"] for line in lines] == [
        *("workflow_started", "step_started", "step_completed"),
        *("step_started", "run_started", "model_turn_started", "model_turn_completed", "run_completed"),
        *("step_completed", "human_intervention_requested", "human_answered", "workflow_resumed", "step_completed"),
        *("step_started", "step_completed", "workflow_completed"),
    ]
    assert dropped == 0
    assert all(list(line) == FIELDS for line in lines)
    assert json.loads(json.dumps(lines)) == lines


def test_inputs_follow_the_text_through_the_workflow() -> None:
    journal = reviewed()
    lines, _ = trace_events(journal.record, journal.events)
    assert [(line["step_id"], line["input_preview"]) for line in lines if line["input_preview"] is not None] == [
        (None, "in"),
        ("f", "in"),
        ("a", "f-out"),
        ("a", "f-out"),
        ("h", "a-out"),
        ("g", "a-out"),
    ]


def test_events_and_spans_are_the_same_at_every_reading() -> None:
    journal = reviewed()
    whole, _ = trace_events(journal.record, journal.events)
    part, _ = trace_events(journal.record, journal.events[:6])
    assert whole[: len(part)] == part
    assert len({line["event_id"] for line in whole}) == len(whole)
    assert trace_events(row(), journal.events)[0] == whole


def test_spans_are_nested_by_frames_agents_and_calls() -> None:
    journal = Journal().begin().start("outer#1", StepKind.WORKFLOW, 0, flow="inside")
    journal.start("outer#1/a#1", StepKind.AGENT, 0, ref="helper")
    journal.turn("outer#1/a#1", 1, "", ToolCall("c1", "lookup", {"user": "u-1"}))
    journal.add(ev.ToolCallStarted(key("outer#1/a#1"), "a", "c1", "lookup", 1))
    journal.add(ev.ToolCallCompleted(key("outer#1/a#1"), "a", "c1", "lookup", "bob"))
    lines, _ = trace_events(journal.record, journal.events)
    by_type = {line["type"]: line for line in lines}
    run, outer, inner = (line for line in lines if line["type"] in ("workflow_started", "step_started"))
    agent, tool, done = by_type["run_started"], by_type["tool_call_started"], by_type["tool_call_completed"]
    assert run["parent_span_id"] is None
    assert (outer["parent_span_id"], outer["parent_event_id"]) == (run["span_id"], run["event_id"])
    assert (inner["parent_span_id"], inner["parent_event_id"]) == (outer["span_id"], outer["event_id"])
    assert agent["parent_span_id"] == inner["span_id"]
    assert tool["parent_span_id"] == agent["span_id"]
    assert (done["span_id"], done["parent_event_id"]) == (tool["span_id"], tool["event_id"])
    assert (inner["workflow_name"], outer["workflow_name"], agent["agent_name"]) == ("inside", "flow", "helper")


def test_a_second_try_of_a_nested_workflow_belongs_to_the_same_step() -> None:
    journal = Journal().begin().start("o#1", StepKind.WORKFLOW, 0, flow="inside").fail("o#1", ev.Resolution.RETRY, 0)
    journal.start("o#1", StepKind.WORKFLOW, 0, flow="inside", attempt=2).start("o#1@2/i#1")
    lines, _ = trace_events(journal.record, journal.events)
    assert lines[-1]["parent_span_id"] == lines[1]["span_id"]
    assert (lines[-1]["input_preview"], lines[-1]["workflow_name"]) == ("in", "inside")


def test_no_argument_and_no_result_of_a_tool_is_told() -> None:
    journal = Journal().begin().start("a#1", StepKind.AGENT, 0)
    journal.turn("a#1", 1, "", *(ToolCall(f"c{n}", "lookup", {"user": "SECRET-ARGUMENT"}) for n in range(4)))
    where = (key("a#1"), "a")
    journal.add(
        ev.ToolCallStarted(*where, "c0", "lookup", 1),
        ev.ToolCallCompleted(*where, "c0", "lookup", "SECRET-RESULT"),
        ev.ToolCallFailed(*where, "c1", "lookup", "ToolArgumentValidationError", "user: 'SECRET-ARGUMENT' is not"),
        ev.ToolCallFailed(*where, "c2", "lookup", "OSError", "no /etc/kneo/config here"),
        ev.ToolPolicyDenied(*where, "c3", "lookup", "lookup is denied"),
        ev.LateOutcome(*where, "tool_call_completed", "SECRET-RESULT"),
    )
    lines, _ = trace_events(journal.record, journal.events)
    assert "SECRET" not in json.dumps(lines)
    assert [(line["type"], line["tool_name"], line["error"]) for line in lines[-5:]] == [
        ("tool_call_completed", "lookup", None),
        ("tool_call_failed", "lookup", "ToolArgumentValidationError"),
        ("tool_call_failed", "lookup", "OSError: no [PATH] here"),
        ("tool_policy_denied", "lookup", "lookup is denied"),
        ("late_outcome", None, None),
    ]


def test_the_content_of_a_decision_is_not_told() -> None:
    journal = Journal().begin().ask("h#1", 0)
    journal.add(
        ev.HumanAnswered(key("h#1"), "h", ContinuationId("cont_1"), RequestId("req_1"), Decision.EDITED, "CONTENT")
    )
    lines, _ = trace_events(journal.record, journal.events)
    assert lines[-1]["metadata"]["has_content"] is True
    assert "CONTENT" not in json.dumps(lines)


def test_long_texts_are_cut_in_previews() -> None:
    journal = Journal().begin("x" * 501).function("f#1", "y" * 500, 0)
    lines, _ = trace_events(journal.record, journal.events)
    assert lines[0]["input_preview"] == "x" * 500 + "...[truncated]"
    assert lines[2]["output_preview"] == "y" * 500


def test_a_failed_agent_is_a_failed_agent_call_and_a_failed_step() -> None:
    journal = Journal().begin().start("a#1", StepKind.AGENT, 0, ref="@root").fail("a#1", ev.Resolution.FAIL, 0)
    journal.add(ev.RunFailed("ValueError", "no such thing", "a"))
    lines, _ = trace_events(journal.record, journal.events)
    assert [(line["type"], line["agent_name"], line["error"]) for line in lines[-3:]] == [
        ("run_failed", "root", "ValueError: no such thing"),
        ("step_failed", "root", "ValueError: no such thing"),
        ("workflow_failed", "root", "ValueError: no such thing"),
    ]


def test_the_end_of_an_agents_call_tells_which_model_answered() -> None:
    asked = {"model_provider": "openai", "runtime_mode": "bridge"}
    said = ev.ModelTurnCompleted(key("a#1"), "a", 1, "out", model_name="gpt", metadata={**asked, "finish": "stop"})
    journal = Journal().begin().start("a#1", StepKind.AGENT).add(said).end("a#1", "out")
    trace, _ = trace_events(journal.record, journal.events)
    told = {line["type"]: (line["runtime_mode"], line["model_provider"], line["model_name"]) for line in trace}
    assert told["model_turn_completed"] == told["run_completed"] == ("bridge", "openai", "gpt")
    assert told["run_started"] == told["step_completed"] == (None, None, None)
    (turn,) = (line for line in trace if line["type"] == "model_turn_completed")
    assert turn["metadata"]["finish"] == "stop"
    assert not set(asked) & set(turn["metadata"])


def test_what_ends_tells_how_long_it_took() -> None:
    journal = Journal().begin().start("a#1", StepKind.AGENT)
    journal.turn("a#1", 1, "out").end("a#1", "out").add(ev.RunCompleted("out"))
    trace, _ = trace_events(journal.record, journal.events)
    at = {line["type"]: datetime.fromisoformat(line["timestamp"]) for line in trace}
    for kind in ("step", "run", "model_turn", "workflow"):
        (ended,) = (line for line in trace if line["type"] == f"{kind}_completed")
        taken = at[f"{kind}_completed"] - at[f"{kind}_started"]
        assert ended["metadata"]["duration_ms"] == taken.total_seconds() * 1000 > 0
    assert all("duration_ms" not in line["metadata"] for line in trace if line["type"].endswith("_started"))


def test_what_lies_behind_the_limit_is_counted() -> None:
    journal = reviewed()
    whole, _ = trace_events(journal.record, journal.events, limit=0)
    lines, dropped = trace_events(journal.record, journal.events, limit=5)
    assert (lines, dropped) == (whole[:5], len(whole) - 5)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(list(ev.EVENT_TYPES)), max_size=12), st.integers(0, 40))
def test_any_order_of_events_can_be_shown(kinds: list[str], limit: int) -> None:
    samples = {recorded.event.KIND: recorded.event for recorded in every_kind().events}
    journal = Journal().add(*(samples[kind] for kind in kinds))
    lines, dropped = trace_events(journal.record, journal.events, limit=limit)
    assert len(lines) <= limit or limit == 0
    assert json.dumps(lines)
    assert dropped >= 0


def every_kind() -> Journal:
    """One event of each kind, in an order that makes no sense."""
    journal = reviewed().fail("f#1", ev.Resolution.CONTINUE)
    where = (key("a#1"), "a")
    task = ContinuationId("cont_1")
    return journal.add(
        ev.ToolCallStarted(*where, "c", "t", 1),
        ev.ToolCallCompleted(*where, "c", "t", "out"),
        ev.ToolCallFailed(*where, "c", "t", "E", "m"),
        ev.ToolPolicyDenied(*where, "c", "t", "r"),
        ev.StepReturned(*where, "out"),
        ev.GuardrailStarted(*where, "g", "input"),
        ev.GuardrailApplied(*where, "g", "input", "block", passed=False),
        ev.EdgeTaken(StepKey("main"), "a", "b"),
        ev.HumanReminded(*where, task),
        ev.HumanEscalated(*where, task, 5.0),
        ev.HumanExpired(*where, task, OnTimeout.FAIL),
        ev.LateOutcome(*where, "step_completed"),
        ev.RunContinued(),
        ev.RunForked(RUN, 3, 2, PlanHash("p"), ("input",), "other", key("a#1")),
        ev.RunFailed("E", "m"),
        ev.RunCancelled("r"),
        ev.RunTimedOut(1.0, 5.0, "running"),
        ev.RunExpired(task, "late"),
    )


def test_the_samples_hold_every_kind() -> None:
    assert {recorded.event.KIND for recorded in every_kind().events} == set(ev.EVENT_TYPES)
