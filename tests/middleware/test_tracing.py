import logging
from dataclasses import replace
from itertools import count

import pytest

from kneo_serv.middleware import RunContext, TraceNote, TracingMiddleware
from kneo_serv.model.message import Turn, Usage
from tests.middleware.calls import call, done, giving, question


async def spending(context: RunContext) -> Turn:
    return Turn("a private word", usage=Usage(10, 5, 1))


async def failing(context: RunContext) -> Turn:
    raise RuntimeError("a private word")


def tracing(notes: list[TraceNote]) -> TracingMiddleware:
    ticks = count()
    return TracingMiddleware(notes.append, monotonic=lambda: float(next(ticks)))


def test_a_turn_is_noted_with_its_time_and_its_tokens() -> None:
    notes: list[TraceNote] = []
    done(tracing(notes).wrap_run(replace(question("?"), metadata={"run_id": "run_1"}), spending))
    facts = {"run_id": "run_1", "input_tokens": 10, "output_tokens": 5, "tool_calls": 0}
    assert notes == [TraceNote("model_turn", "helper", 1.0, None, facts)]


def test_a_turn_that_fails_is_noted_and_fails_all_the_same() -> None:
    notes: list[TraceNote] = []
    with pytest.raises(RuntimeError):
        done(tracing(notes).wrap_run(question("?"), failing))
    assert notes == [TraceNote("model_turn", "helper", 1.0, "RuntimeError")]


def test_a_tool_call_is_noted() -> None:
    notes: list[TraceNote] = []
    tool, _ = giving("a private word")
    done(tracing(notes).wrap_tool_call(call(query="a private word"), tool))
    assert notes == [TraceNote("tool_call", "search", 1.0)]


def test_the_log_never_holds_what_was_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "kneo_serv.middleware"):
        done(TracingMiddleware().wrap_run(question("a private word"), spending))
        with pytest.raises(RuntimeError):
            done(TracingMiddleware().wrap_run(question("a private word"), failing))
    assert "model_turn helper ok in" in caplog.text
    assert "model_turn helper RuntimeError in" in caplog.text
    assert "private" not in caplog.text
