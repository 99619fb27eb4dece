"""What was said is told in spans only where somebody allowed it."""

from pathlib import Path

import pytest

from kneo_serv.testing.scripted_openai import ScriptedOpenAI, text, tool_calls
from tests.platform.observed import CITIES, Spans, error, forecaster, manager, told, trip


def test_the_switches_tell_what_was_said_without_secrets_and_cut_to_size(tmp_path: Path) -> None:
    spans = Spans()
    long = "x" * 10_000
    asked = tool_calls(("c1", "weather", {"city": "Oslo", "api_key": "sk-canary-key-123456", "note": long}))
    answers = [asked, text("password=hunter2 and a coat")]
    record = ["arguments", "results"]
    with ScriptedOpenAI(answers) as server, manager(tmp_path, spans, record=record) as made:
        made.run_from_spec(input_text="mail me@example.com", spec=trip(server.base_url))
    call, turn = spans.one("execute_tool weather"), spans.named("chat gpt-x")[1]
    arguments = told(call, "gen_ai.tool.call.arguments")
    assert '"city": "Oslo", "api_key": "[REDACTED]"' in arguments
    assert arguments.endswith("...[truncated]")
    assert told(call, "gen_ai.tool.call.result") == "rain in Oslo"
    assert "You look out of the window." in told(turn, "gen_ai.system_instructions")
    assert '"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1"' in told(turn, "gen_ai.input.messages")
    assert told(turn, "gen_ai.output.messages") == (
        '[{"role": "assistant", "parts": [{"type": "text", "content": "password=[REDACTED] and a coat"}], '
        '"finish_reason": "stop"}]'
    )
    assert told(spans.one("kneo.step prepare"), "kneo.step.input", "kneo.step.output") == (
        "mail [REDACTED_EMAIL]",
        "MAIL [REDACTED_EMAIL]",
    )
    text_of_all = spans.text()
    assert [word for word in ("hunter2", "canary", "me@example.com", "ME@EXAMPLE.COM") if word in text_of_all] == []
    assert max(len(str(value)) for span in spans.ended for value in (span.attributes or {}).values()) < 12_000


@pytest.mark.parametrize("record", ["arguments", "results"])
def test_each_switch_tells_its_own_side_only(tmp_path: Path, record: str) -> None:
    spans = Spans()
    with ScriptedOpenAI([CITIES, text("bring a coat")]) as server, manager(tmp_path, spans, record=[record]) as made:
        made.run_from_spec(input_text="hello", spec=trip(server.base_url))
    out = {"gen_ai.tool.call.result", "gen_ai.output.messages", "kneo.step.output"}
    into = {"gen_ai.tool.call.arguments", "gen_ai.input.messages", "gen_ai.system_instructions", "kneo.step.input"}
    found = {name for span in spans.ended for name in span.attributes or {}}
    wanted, unwanted = (into, out) if record == "arguments" else (out, into)
    assert wanted <= found
    assert not unwanted & found
    described = {span.status.description for span in spans.ended} - {None}
    assert described == (set() if record == "arguments" else {"no such city: Atlantis"})


def test_a_tool_that_there_is_not_is_not_named_by_what_the_model_said(tmp_path: Path) -> None:
    spans = Spans()
    answers = [tool_calls(("c1", "canary_tool", {}))]
    with ScriptedOpenAI(answers) as server, manager(tmp_path, spans) as made:
        assert made.run_from_spec(input_text="hello", spec=trip(server.base_url)).status == "failed"
    assert "canary_tool" not in spans.text()
    assert error(spans.one("execute_tool")) == "tool_policy_denied"


def test_a_refused_tool_call_is_an_error_that_does_not_tell_what_was_asked_for(tmp_path: Path) -> None:
    spans = Spans()
    with ScriptedOpenAI([CITIES]) as server, manager(tmp_path, spans) as made:
        agent = {**forecaster(server.base_url), "policies": {"tool": {"deny": ["weather"]}}}
        tools = trip(server.base_url)["tools"]
        made.run_from_spec(input_text="hello", spec={"version": "v1", "agent": agent, "tools": tools}, target="agent")
    assert {error(span) for span in spans.named("execute_tool weather")} == {"tool_policy_denied"}
    assert "Oslo" not in spans.text()
