"""Light events: less than a kilobyte each, whatever the names, and no text that flows."""

import json

from hypothesis import given
from hypothesis import strategies as st

from kneo_serv.model import event as ev
from kneo_serv.model.run import RunStatus
from kneo_serv.platform.views import LightEvent, LiveTrace, RunFacts, light_event, trace_events
from kneo_serv.platform.views.light import MOST_BYTES
from kneo_serv.platform.views.wire import trace_type
from tests.platform.views.journals import reviewed

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=400)


def size(event: LightEvent) -> int:
    return len(json.dumps(event.to_dict(), ensure_ascii=False, separators=(",", ":")).encode())


def test_every_event_that_the_trace_names_has_a_light_form_with_the_same_ids() -> None:
    journal = reviewed()
    lines, _ = trace_events(journal.record, journal.events)
    rows = {line["event_id"]: line for line in lines}
    facts = RunFacts(journal.record.id, workflow_name=journal.record.workflow_name)
    for recorded in journal.events:
        event = light_event(7, facts, RunStatus.RUNNING, recorded)
        assert (event is None) == (trace_type(recorded.event) is None)
        if event is not None:
            row = event.to_dict()
            whole = rows[row["event_id"]]
            for name in ("type", "run_id", "sequence", "timestamp", "workflow_name", "step_id", "tool_name"):
                assert row[name] == whole[name], name


def test_what_flows_through_a_run_is_not_in_its_light_events() -> None:
    journal = reviewed()
    told = [light_event(1, RunFacts("run_1"), None, recorded) for recorded in journal.events]
    assert "f-out" not in json.dumps([event.to_dict() for event in told if event is not None])


@given(TEXT, TEXT, TEXT, TEXT, TEXT)
def test_a_light_event_has_at_most_a_kilobyte(workflow: str, agent: str, session: str, step: str, error: str) -> None:
    facts = RunFacts("run_2026-05-10T12:34:56_" + "x" * 22, None, workflow, agent, session)
    event = LightEvent(
        2**53, facts, 10**6, "human_intervention_requested", 1.5, RunStatus.TIMED_OUT, step, step, step,
        "cont_" + "0" * 36, error,
    )  # fmt: skip
    assert size(event) <= MOST_BYTES


def test_the_longest_names_of_any_sort_are_cut_until_it_fits() -> None:
    for letter in ("x", "ü", "€", "😀", "\0", '"', "\n"):
        long = letter * 400
        event = LightEvent(
            2**53, RunFacts("run_" + "x" * 40, None, long, long, long), 10**6, "tool_call_failed", 1.5,
            RunStatus.CANCELLED, long, long, long, "cont_" + "0" * 36, long,
        )  # fmt: skip
        assert 600 < size(event) <= MOST_BYTES


def test_a_trace_that_is_told_live_has_the_rows_of_the_trace() -> None:
    journal = reviewed()
    live = LiveTrace(journal.record)
    assert [row for recorded in journal.events for row in live.rows(recorded)] == trace_events(
        journal.record, journal.events
    )[0]


def test_the_reason_of_a_failed_run_is_told_in_short() -> None:
    failed = ev.Recorded(3, 1.0, ev.RunFailed("ValueError", "no " * 500, "a"))
    event = light_event(1, RunFacts("run_1"), RunStatus.FAILED, failed)
    assert event is not None
    row = event.to_dict()
    assert row["step_id"] == "a"
    assert row["error"].startswith("ValueError: no no")
    assert row["error"].endswith("...")
