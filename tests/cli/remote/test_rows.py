"""The rows of a stream are told in the same words as the events that they tell of."""

from typing import Any

import pytest

from kneo_serv.cli.progress import going_on, happened
from kneo_serv.cli.remote.rows import delta_in, recorded_in
from kneo_serv.model import event as kinds
from kneo_serv.model.event import Event, Resolution
from kneo_serv.model.ids import RunId, StepKey
from kneo_serv.platform.speech import TextDelta

KEY = "main/draft#2"


def row(kind: str, **more: Any) -> dict[str, Any]:
    facts = {"step_kind": "agent", "attempt": 2, "turn": 3, "call_id": "c", "number": 1, "resolution": "retry"}
    return {
        "type": kind, "run_id": "run_x", "sequence": 7, "timestamp": "2026-05-10T12:34:56+00:00", "key": KEY,
        "step_id": "draft", "tool_name": "search", "error": None, "output_preview": None, "metadata": facts, **more,
    }  # fmt: skip


def event_in(told: dict[str, Any]) -> Event:
    recorded = recorded_in(told)
    assert recorded is not None
    assert (recorded.seq, recorded.at) == (7, 1778416496.0)
    return recorded.event


@pytest.mark.parametrize(
    ("told", "line", "present"),
    [
        (row("step_started"), None, "draft (agent, attempt 2)"),
        (row("step_completed", output_preview="tea"), "✓ draft", None),
        (row("step_failed", error="OSError: disk: full"), "✗ draft: disk: full (will be tried again)", None),
        (row("step_returned"), None, None),
        (row("model_turn_started"), None, "draft: asking the model, turn 3"),
        (row("model_turn_completed"), None, None),
        (row("tool_call_started"), None, "draft: calling search"),
        (row("tool_call_completed"), "  ✓ tool search", None),
        (row("tool_call_failed", error="ValueError: no"), "  ✗ tool search: no", None),
        (row("tool_call_failed", error="BadArguments"), "  ✗ tool search: BadArguments", None),
        (row("tool_policy_denied", error="not here"), "  ✗ tool search was refused: not here", None),
        # Where a fallback stands in, it has its own name, as it has here.
        (row("step_completed", key="main/draft#1~plan%23b"), "✓ plan#b", None),
        (row("step_completed", key=None), "✓ draft", None),
    ],
)
def test_a_row_is_told_as_its_event_is(told: dict[str, Any], line: str | None, present: str | None) -> None:
    event = event_in(told)
    assert (happened(event), going_on(event)) == (line, present)


def test_steps_of_one_id_are_told_apart_by_their_keys_where_there_are_any() -> None:
    started = event_in(row("step_started"))
    assert isinstance(started, kinds.StepStarted)
    assert started.key == KEY
    old = row("step_started")
    del old["key"]
    assert getattr(event_in(old), "key", None) == "draft"


def test_what_becomes_of_a_failure_is_told() -> None:
    failed = event_in(row("step_failed", error="OSError: x", metadata={"attempt": 1, "resolution": "fallback"}))
    assert isinstance(failed, kinds.StepFailed)
    assert (failed.error_type, failed.resolution) == ("OSError", Resolution.FALLBACK)


@pytest.mark.parametrize(
    "told",
    [
        {}, row("workflow_started"), row("run_started"), row("of_a_later_version"), row("step_started", metadata=None),
        row("step_started", metadata={"step_kind": "of-a-later-version", "attempt": 1}),
        row("step_failed", metadata={}),
        row("step_completed", timestamp="yesterday"), row("human_intervention_requested", metadata={"request": "?"}),
    ],
)  # fmt: skip
def test_what_is_of_another_version_is_passed_over(told: dict[str, Any]) -> None:
    assert recorded_in(told) is None


def test_a_piece_of_text_is_heard_in_its_step() -> None:
    told = {"type": "text_delta", "run_id": "r", "step_id": "draft", "key": KEY, "turn": 1, "text": "Tea", "void": True}
    assert delta_in(told) == TextDelta(RunId("r"), StepKey(KEY), "draft", 1, "Tea", void=True)
    assert delta_in({"text": "Tea"}) is None
