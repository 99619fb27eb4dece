"""A run that is asked for over HTTP is in the trace of who asked for it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from kneo_serv.observe import TelemetryOptions
from kneo_serv.platform.options import PlatformOptions
from tests.platform.observed import Spans
from tests.service.doors import AGENT, FAILING, HUMAN, door, platform_in

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
GIVEN = f"00-{TRACE}-{PARENT}-01"


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.fixture
def traced(tmp_path: Path, spans: Spans) -> Iterator[TestClient]:
    """Somebody at the door of a platform whose spans are kept."""
    options = PlatformOptions(
        idle_poll_seconds=0.05,
        shutdown_timeout_seconds=5.0,
        telemetry=TelemetryOptions(tracer_provider=spans.provider),
    )
    manager = platform_in(tmp_path, options=options)
    with door(manager) as client:
        yield client
    manager.shutdown()


def traces(spans: Spans) -> set[str]:
    contexts = [span.get_span_context() for span in spans.ended]
    return {f"{context.trace_id:032x}" for context in contexts if context is not None}


@pytest.mark.parametrize("path", ["/v1/runs", "/runs", "/v1/specs/run"])
def test_the_spans_of_a_run_are_in_the_trace_of_its_caller(traced: TestClient, spans: Spans, path: str) -> None:
    headers = {"traceparent": GIVEN, "tracestate": "vendor=1"}
    answer = traced.post(path, json={"input": "x", "spec": AGENT}, headers=headers)
    assert answer.json()["status"] == "completed"
    first = spans.one("kneo.queue.dispatch")
    assert first.parent is not None
    assert (f"{first.parent.trace_id:032x}", f"{first.parent.span_id:016x}") == (TRACE, PARENT)
    assert first.parent.trace_state.get("vendor") == "1"
    assert len(spans.ended) > 2
    assert traces(spans) == {TRACE}


BAD: dict[str, list[tuple[str, str]]] = {
    "nonsense": [("traceparent", "nonsense")],
    "empty": [("traceparent", "")],
    "no trace": [("traceparent", f"00-{'0' * 32}-{PARENT}-01")],
    "no parent": [("traceparent", f"00-{TRACE}-{'0' * 16}-01")],
    "a version that is none": [("traceparent", f"ff-{TRACE}-{PARENT}-01")],
    "capitals": [("traceparent", GIVEN.upper())],
    "too long": [("traceparent", f"{GIVEN}-more")],
    "two": [("traceparent", GIVEN), ("traceparent", f"00-{'a' * 32}-{PARENT}-01")],
    "a state alone": [("tracestate", "vendor=1")],
}


@pytest.mark.parametrize("name", BAD)
def test_a_trace_context_that_is_none_is_passed_over(traced: TestClient, spans: Spans, name: str) -> None:
    answer = traced.post("/v1/runs", json={"input": "x", "spec": AGENT}, headers=BAD[name])
    assert answer.json()["status"] == "completed"
    assert spans.one("kneo.queue.dispatch").parent is None
    assert len(traces(spans)) == 1
    assert traces(spans) != {TRACE}


def test_a_state_may_come_in_several_fields(traced: TestClient, spans: Spans) -> None:
    headers = [("traceparent", GIVEN), ("tracestate", "one=1"), ("tracestate", "two=2")]
    assert traced.post("/v1/runs", json={"input": "x", "spec": AGENT}, headers=headers).status_code == 200
    parent = spans.one("kneo.queue.dispatch").parent
    assert parent is not None
    assert dict(parent.trace_state) == {"one": "1", "two": "2"}


def test_a_run_stays_in_its_trace_whoever_answers_or_continues_it(traced: TestClient, spans: Spans) -> None:
    def ask(path: str, trace: str, **body: Any) -> dict[str, Any]:
        sent = traced.post(path, headers={"traceparent": f"00-{trace}-{PARENT}-01"}, json=body or None)
        told: dict[str, Any] = sent.json()
        return told

    other = "c" * 32
    paused = ask("/v1/runs", TRACE, input="x", spec=HUMAN)
    task = traced.get(f"/v1/human-tasks/{paused['continuation_id']}").json()
    answer = {"request_id": task["request"]["id"], "decision": "approved"}
    assert ask(f"/v1/human-tasks/{paused['continuation_id']}/resume", other, **answer)["status"] == "completed"
    failed = ask("/v1/runs", TRACE, input="x", spec=FAILING)
    assert failed["status"] == "failed"
    assert ask(f"/v1/runs/{failed['run_id']}/continue", other)["status"] == "failed"
    assert traces(spans) == {TRACE}
