"""What a run looks like in OpenTelemetry, by the real SDK."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind

from kneo_serv.model.run import RunResult
from kneo_serv.runtime import RuntimeRegistry
from kneo_serv.spec import SpecCompiler
from kneo_serv.testing.scripted_openai import ScriptedOpenAI, text
from kneo_serv.testing.scripted_openai import error as refusal
from kneo_serv.tools import ToolRegistry
from tests.platform import observed, speakers, worlds
from tests.platform.functions import FAILURES, GATES
from tests.platform.observed import (
    CITIES,
    SEEN,
    Spans,
    approve,
    context,
    driven,
    error,
    events,
    flags,
    forecaster,
    manager,
    telemetry,
    told,
    trip,
)
from tests.platform.speakers import Speakers, calls
from tests.platform.test_takeover import lose_worker
from tests.platform.test_tool_calls import Looping, looping
from tests.platform.worlds import PATIENCE, begun, opened, plan, run, step


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory) -> tuple[Spans, RunResult]:
    """The spans of that sequence, driven by one manager to the pause and by another one to the end."""
    path, spans = tmp_path_factory.mktemp("journey"), Spans()
    with ScriptedOpenAI([CITIES, text("bring a coat")]) as server:
        with manager(path, spans) as first:
            paused = first.run_from_spec(input_text="hello", spec=trip(server.base_url), session_id="s-1")
            assert paused.human_intervention_required
        with manager(path, spans) as second:
            result = approve(second, paused)
            assert (result.status, result.output_text) == ("completed", "BRING A COAT")
        SEEN["headers"] = server.headers
    return spans, result


def test_all_legs_of_a_run_are_one_tree_across_processes(journey: tuple[Spans, RunResult]) -> None:
    spans, _ = journey
    assert spans.tree() == [
        "kneo.queue.dispatch",
        "  invoke_workflow trip",
        "    kneo.step prepare",
        "    kneo.step nested",
        "      invoke_workflow inside",
        "        kneo.step deep",
        "    kneo.step both",
        "      kneo.step left",
        "      kneo.step right",
        "    kneo.step look",
        "      invoke_agent forecaster",
        "        chat gpt-x",
        "        execute_tool weather",
        "        execute_tool weather",
        "        chat gpt-x",
        "    kneo.step ask",
        "  invoke_workflow trip",
        "    kneo.step ask",
        "    kneo.step last",
    ]
    assert len(spans.trace_ids) == 1


def test_every_span_names_its_run_and_lies_within_its_parent(journey: tuple[Spans, RunResult]) -> None:
    spans, result = journey
    by_id = {context(span).span_id: span for span in spans.ended}
    for span in spans.ended:
        assert told(span, "kneo.run.id") == result.run_id
        parent = by_id.get(span.parent.span_id) if span.parent is not None else None
        if parent is not None and parent.name != "kneo.queue.dispatch":
            assert _times(parent)[0] <= _times(span)[0] <= _times(span)[1] <= _times(parent)[1]


def _times(span: ReadableSpan) -> tuple[int, int]:
    assert span.start_time is not None
    assert span.end_time is not None
    return span.start_time, span.end_time


def test_times_of_spans_are_those_of_the_journal(tmp_path: Path) -> None:
    spans = Spans()

    async def story() -> None:
        async with opened(tmp_path, telemetry=telemetry(spans)) as platform:
            record = await run(platform, plan(step("upper")))
            at = {each.event.KIND: int(each.at * 1e9) for each in await platform.events(record.id)}
            assert _times(spans.one("kneo.step upper")) == (at["step_started"], at["step_completed"])

    asyncio.run(story())
    leg, taken = spans.one("invoke_workflow flow"), spans.one("kneo.queue.dispatch")
    assert _times(leg)[1] == _times(spans.one("kneo.step upper"))[1]
    assert _times(taken)[0] <= _times(leg)[0]


def test_a_leg_says_why_it_began_who_drives_it_and_how_it_ended(journey: tuple[Spans, RunResult]) -> None:
    spans, _ = journey
    first, second = spans.named("invoke_workflow trip")
    keys = ("kneo.leg.number", "kneo.leg.reason", "kneo.fence", "kneo.leg.end", "kneo.run.status")
    assert told(first, *keys) == (1, "start", 1, "rest", "blocked")
    assert told(second, *keys) == (2, "resume", 2, "ended", "completed")
    assert told(first, "gen_ai.operation.name", "gen_ai.workflow.name") == ("invoke_workflow", "trip")
    assert told(first, "gen_ai.conversation.id") == "s-1"
    assert told(first, "kneo.worker.id") != told(second, "kneo.worker.id")
    assert [error(span) for span in (first, second)] == [None, None]


def test_model_turns_and_tools_have_the_names_of_the_conventions(journey: tuple[Spans, RunResult]) -> None:
    spans, _ = journey
    turn = spans.named("chat gpt-x")[0]
    assert turn.kind is SpanKind.CLIENT
    assert told(turn, "gen_ai.operation.name", "gen_ai.provider.name") == ("chat", "openai")
    assert told(turn, "gen_ai.request.model", "gen_ai.request.temperature", "gen_ai.request.max_tokens") == (
        "gpt-x",
        0.5,
        100,
    )
    assert told(turn, "gen_ai.response.model", "gen_ai.agent.name") == ("scripted", "forecaster")
    assert told(turn, "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens") == (10, 5)
    agent = spans.one("invoke_agent forecaster")
    assert agent.kind is SpanKind.INTERNAL
    assert told(agent, "gen_ai.operation.name", "gen_ai.usage.input_tokens") == ("invoke_agent", 20)
    calls = {told(span, "gen_ai.tool.call.id"): span for span in spans.named("execute_tool weather")}
    names = ("gen_ai.operation.name", "gen_ai.tool.name", "gen_ai.tool.type")
    assert told(calls["c1"], *names) == ("execute_tool", "weather", "function")
    assert (error(calls["c1"]), error(calls["c2"])) == (None, "LookupError")


def test_every_span_says_by_which_conventions_it_is_named(journey: tuple[Spans, RunResult]) -> None:
    spans, _ = journey
    scopes = [span.instrumentation_scope for span in spans.ended]
    assert {(scope.name, scope.schema_url) for scope in scopes if scope is not None} == {
        ("kneo_serv", "https://opentelemetry.io/schemas/1.41.0")
    }


def test_a_pause_is_an_event_and_not_an_open_span(journey: tuple[Spans, RunResult]) -> None:
    spans, _ = journey
    asked, answered = spans.named("kneo.step ask")
    assert events(asked) == ["kneo.human_asked"]
    assert _times(asked)[0] == _times(asked)[1]
    assert told(asked, "kneo.waiting", "kneo.step.status") == (True, None)
    assert told(answered, "kneo.step.resumed", "kneo.step.status", "kneo.human.decision") == (
        True,
        "completed",
        "approved",
    )


def test_code_of_handlers_is_inside_the_span_of_its_call(journey: tuple[Spans, RunResult]) -> None:
    spans, _ = journey
    calls = {told(span, "gen_ai.tool.call.id"): context(span) for span in spans.named("execute_tool weather")}
    given, current = SEEN["Oslo"]
    assert current == calls["c1"]
    assert given == {"traceparent": f"00-{calls['c1'].trace_id:032x}-{calls['c1'].span_id:016x}-{flags(current)}"}


def test_a_provider_is_asked_under_the_context_of_the_turn(journey: tuple[Spans, RunResult]) -> None:
    spans, _ = journey
    turns = [context(span) for span in spans.named("chat gpt-x")]
    sent = [headers["traceparent"].split("-")[1:3] for headers in SEEN["headers"]]
    assert sent == [[f"{turn.trace_id:032x}", f"{turn.span_id:016x}"] for turn in turns]


def test_without_the_switches_nothing_that_was_said_is_told(journey: tuple[Spans, RunResult]) -> None:
    spans, _ = journey
    said = ("Oslo", "Atlantis", "rain", "coat", "hello", "HELLO", "window", "canary", "Shall we go", "no such city")
    assert [word for word in said if word in spans.text()] == []


def test_a_failed_step_and_its_run_are_errors_that_name_their_type(tmp_path: Path) -> None:
    spans = Spans()
    record = driven(tmp_path, spans, step("upper"), step("leaking"))
    assert record.status == "failed"
    assert [error(span) for span in spans.named("kneo.step upper")] == [None]
    failed, leg = spans.one("kneo.step leaking"), spans.one("invoke_workflow flow")
    assert error(failed) == error(leg) == "RuntimeError"
    assert told(failed, "kneo.step.status", "kneo.step.resolution") == ("failed", "fail")
    assert told(leg, "kneo.run.status") == "failed"
    assert "hunter2" not in spans.text()


def test_the_model_that_refused_is_the_error_below_its_step(tmp_path: Path) -> None:
    spans = Spans()
    with ScriptedOpenAI([refusal(400, message="CANARY in the answer")]) as server, manager(tmp_path, spans) as made:
        result = made.run_from_spec(input_text="hello", spec=trip(server.base_url))
    assert result.status == "failed"
    names = ["chat gpt-x", "invoke_agent forecaster", "kneo.step look", "invoke_workflow trip"]
    assert [error(spans.one(name)) for name in names] == ["ProviderError"] * 4
    assert not any(told(span, "kneo.interrupted") for span in spans.ended)
    assert "CANARY" not in spans.text()


def test_a_nested_workflow_fails_with_its_step(tmp_path: Path) -> None:
    spans = Spans()
    spec = trip("http://127.0.0.1:9/v1")
    spec["components"]["functions"]["upper"]["implementation"] = "tests.platform.functions.leaking"
    spec["workflow"]["steps"] = spec["workflow"]["steps"][1:2]
    with manager(tmp_path, spans) as made:
        assert made.run_from_spec(input_text="x", spec=spec).status == "failed"
    names = ["kneo.step deep", "invoke_workflow inside", "kneo.step nested", "invoke_workflow trip"]
    assert [error(spans.one(name)) for name in names] == ["RuntimeError"] * 4


def test_each_attempt_has_a_span_of_its_own(tmp_path: Path) -> None:
    spans = Spans()
    FAILURES["twice seen"] = 1
    policy: dict[str, Any] = {"on_error": "retry", "max_retries": 2, "backoff_seconds": 0.0}
    record = driven(tmp_path, spans, step("moody", **policy), text="twice seen")
    assert record.status == "completed"
    first, second = spans.named("kneo.step moody")
    assert (error(first), told(first, "kneo.step.attempt", "kneo.step.resolution")) == ("RuntimeError", (1, "retry"))
    assert (error(second), told(second, "kneo.step.attempt", "kneo.step.status")) == (None, (2, "completed"))
    assert error(spans.one("invoke_workflow flow")) is None


def test_a_fallback_says_for_whom_it_stands_in(tmp_path: Path) -> None:
    spans = Spans()
    leaking = step("leaking", on_error="fallback", fallback_ref="upper")
    assert driven(tmp_path, spans, leaking, step("upper")).status == "completed"
    assert error(spans.one("kneo.step leaking")) == "RuntimeError"
    assert [told(span, "kneo.step.fallback_for") for span in spans.named("kneo.step upper")] == ["leaking", None]


def test_a_step_that_took_too_long_is_an_error(tmp_path: Path) -> None:
    spans = Spans()
    record = driven(tmp_path, spans, step("gated_async", timeout_seconds=0.01), text="too long seen")
    assert record.status == "failed"
    assert error(spans.one("kneo.step gated_async")) == "StepTimeoutError"


def test_a_run_that_timed_out_is_an_error_and_what_was_in_flight_is_marked(tmp_path: Path) -> None:
    spans = Spans()
    record = driven(tmp_path, spans, step("gated_async"), text="out of time", timeout_seconds=0.1)
    assert record.status == "timed_out"
    leg, cut = spans.one("invoke_workflow flow"), spans.one("kneo.step gated_async")
    assert (error(leg), told(leg, "kneo.run.status")) == ("run_timed_out", "timed_out")
    assert (error(cut), told(cut, "kneo.interrupted")) == (None, True)


def test_a_cancelled_run_is_no_error(tmp_path: Path) -> None:
    spans = Spans()

    async def story() -> None:
        async with opened(tmp_path, telemetry=telemetry(spans)) as platform:
            run_id = await begun(platform, plan(step("stubborn"), step("upper")), "cancelled seen")
            await platform.cancel(run_id)
            await platform.run_to_rest(run_id, patience=PATIENCE)

    asyncio.run(story())
    leg, cut = spans.one("invoke_workflow flow"), spans.one("kneo.step stubborn")
    assert (error(leg), told(leg, "kneo.run.status", "kneo.leg.end")) == (None, ("cancelled", "ended"))
    assert events(leg) == ["kneo.late_outcome"]
    assert (error(cut), told(cut, "kneo.interrupted")) == (None, True)
    assert (error(spans.one("kneo.run.ended")), told(spans.one("kneo.run.ended"), "kneo.run.status")) == (
        None,
        "cancelled",
    )


def test_branches_that_nobody_waits_for_end_with_the_race(tmp_path: Path) -> None:
    spans = Spans()
    race = {
        "version": "v1",
        "agent": {"name": "nobody"},
        "workflow": {
            "type": "concurrent",
            "name": "race",
            "join": "any",
            "participants": [step("gated_async"), step("upper")],
        },
        "components": worlds.spec(step("upper"))["components"],
    }
    with manager(tmp_path, spans) as made:
        assert made.run_from_spec(input_text="raced seen", spec=race).status == "completed"
    lost, won = spans.one("kneo.step gated_async"), spans.one("kneo.step upper")
    assert told(lost, "kneo.interrupted", "kneo.step.status") == (True, None)
    assert _times(lost)[1] == _times(won)[1]


def test_a_crash_in_a_nested_workflow_opens_its_steps_anew(tmp_path: Path) -> None:
    before, after = Spans(), Spans()

    async def story() -> None:
        inner = {"type": "sequential", "name": "inside", "steps": [step("gated_async"), step("upper")]}
        document = worlds.spec(step("inner", kind="workflow"))
        document["components"]["workflows"] = {"inner": inner}
        nested = SpecCompiler(runtime_registry=RuntimeRegistry(), tool_registry=ToolRegistry()).compile_dict(document)
        async with (
            opened(tmp_path, telemetry=telemetry(before), lease_seconds=0.5) as lost,
            opened(tmp_path, telemetry=telemetry(after)) as rescuer,
        ):
            run_id = await begun(lost, nested.plan, "nested crash seen")
            await lose_worker(lost)
            GATES["nested crash seen"].passable.set()
            rescuer.start_worker()
            assert (await rescuer.run_to_rest(run_id, patience=PATIENCE)).status == "completed"

    asyncio.run(story())
    assert after.tree() == [
        "invoke_workflow flow",
        "  kneo.step inner",
        "    invoke_workflow inside",
        "      kneo.step gated_async",
        "      kneo.step upper",
    ]
    assert told(after.one("kneo.step inner"), "kneo.step.resumed", "kneo.step.status") == (True, "completed")


def test_an_agent_alone_is_the_leg_itself(tmp_path: Path) -> None:
    spans = Spans()
    with ScriptedOpenAI([CITIES, text("bring a coat")]) as server, manager(tmp_path, spans) as made:
        document = trip(server.base_url)
        result = made.run_from_spec(
            input_text="hello",
            spec={"version": "v1", "agent": forecaster(server.base_url), "tools": document["tools"]},
            target="agent",
        )
        assert result.status == "completed"
    assert spans.tree() == [
        "kneo.queue.dispatch",
        "  invoke_agent forecaster",
        "    kneo.step forecaster",
        "      chat gpt-x",
        "      execute_tool weather",
        "      execute_tool weather",
        "      chat gpt-x",
    ]
    assert told(spans.one("invoke_agent forecaster"), "gen_ai.provider.name") == "openai"


def test_guardrails_are_events_and_those_that_take_time_are_spans(tmp_path: Path) -> None:
    spans = Spans()
    stage = Speakers({"root": "stupid"})
    checks = [
        {"id": "tame", "type": "keyword", "action": "warn", "config": {"keywords": ["stupid"]}},
        {"id": "polite", "type": "function", "ref": "rephrase", "action": "revise"},
    ]
    agent = {"guardrails": {"output": checks}}

    async def story() -> None:
        async with speakers.opened(tmp_path, stage, telemetry=telemetry(spans)) as platform:
            made = speakers.compiled(agent)
            record = await run(platform, made, "hi", target="agent")
            assert (record.status, record.output_text) == ("completed", "stupid, please")

    asyncio.run(story())
    (asked,) = spans.named("kneo.step root")
    assert events(asked) == ["kneo.guardrail_applied"] * 2
    check = spans.one("kneo.guardrail polite")
    assert told(check, "kneo.guardrail.stage", "kneo.guardrail.passed", "kneo.guardrail.outcome") == (
        "output",
        False,
        "revised",
    )
    assert "stupid" not in spans.text()


def test_an_agent_that_answers_a_call_is_below_the_call_also_in_a_later_leg(tmp_path: Path) -> None:
    before, after = Spans(), Spans()
    lines: dict[str, Any] = {
        "root": [calls(("ask", {"input": "why?"})), "so that is why"],
        "expert": [calls(("pay", {"amount": 5})), "because"],
    }
    document = speakers.compiled(
        speakers.with_tools("ask"),
        tools={"ask": {"description": "Knows.", "agent": "expert"}, "pay": {"approval": "always"}},
        expert=speakers.with_tools("pay"),
    )

    async def story() -> None:
        stage = Speakers(lines)
        async with speakers.opened(tmp_path, stage, telemetry=telemetry(before)) as platform:
            record = await run(platform, document, "hi", target="agent")
            assert record.status == "blocked"
        async with speakers.opened(tmp_path, stage, telemetry=telemetry(after)) as platform:
            record = await worlds.answer(platform, record.id)
            assert (record.status, record.output_text) == ("completed", "so that is why")

    asyncio.run(story())
    assert before.tree() == [
        "kneo.queue.dispatch",
        "  invoke_agent root",
        "    kneo.step root",
        "      chat",
        "      execute_tool ask",
        "        kneo.step ask",
        "          invoke_agent expert",
        "            chat",
    ]
    asked = before.one("kneo.step ask")
    assert events(asked) == ["kneo.human_asked"]
    assert asked.events[0].attributes is not None
    assert asked.events[0].attributes["kneo.human.about"] == "approval"
    assert told(before.one("execute_tool ask"), "kneo.waiting") is True
    assert after.tree() == [
        "invoke_agent root",
        "  kneo.step root",
        "    execute_tool ask",
        "      kneo.step ask",
        "        invoke_agent expert",
        "          execute_tool pay",
        "          chat",
        "    chat",
    ]
    assert [error(span) for span in (*before.ended, *after.ended) if error(span)] == []
    assert [span.name for span in after.ended if told(span, "kneo.interrupted")] == []


def test_calls_of_a_runtime_with_a_loop_of_its_own_are_below_its_turn(tmp_path: Path) -> None:
    spans = Spans()
    runtime = Looping(("look", {"city": "Bergen"}), ("pay", {"amount": "much"}))
    document = speakers.compiled(
        speakers.with_tools("pay", "look"), tools={"look": {"implementation": f"{observed.__name__}.weather"}}
    )

    async def story() -> None:
        async with looping(tmp_path, runtime, telemetry=telemetry(spans)) as platform:
            await run(platform, document, "hi", target="agent")

    asyncio.run(story())
    assert spans.tree()[2:] == [
        "    kneo.step root",
        "      chat",
        "        execute_tool look",
        "        execute_tool pay",
    ]
    look, pay = spans.one("execute_tool look"), spans.one("execute_tool pay")
    assert (error(look), error(pay)) == (None, "ToolArgumentValidationError")
    assert SEEN["Bergen"][1] == context(look)
    assert SEEN["Bergen"][0]["traceparent"].split("-")[2] == f"{context(look).span_id:016x}"
