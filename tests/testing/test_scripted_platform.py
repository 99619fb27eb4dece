"""A spec is tested in three lines, with the real engine and store."""

from pathlib import Path

import pytest

from kneo_serv.model.run import RunResult
from kneo_serv.testing.scripted import ScriptedPlatform, ScriptedProvider, call, fail, say

ROOT = Path(__file__).resolve().parents[2]
SPEC = """\
version: v1
agent:
  name: researcher
  model: {provider: openai, name: gpt-4o-mini}
  strategy: react
  tools: [web_search]
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC)
    return path


def test_a_spec_that_names_a_real_model_runs_by_the_script(spec: Path, tmp_path: Path) -> None:
    with ScriptedPlatform(tmp_path, [call("web_search", {"query": "tea"}), say("Tea is a drink.")]) as platform:
        result = platform.run(spec, "What is tea?")
        kinds = [event["type"] for event in platform.trace(result.run_id)]
    assert (result.status, result.output_text) == ("completed", "Tea is a drink.")
    assert "tool_call_completed" in kinds
    platform.provider.check(used_up=True)
    assert [message.role.value for message in platform.provider.requests[1].messages] == ["user", "assistant", "tool"]


def test_a_workflow_is_run_where_there_is_one(tmp_path: Path) -> None:
    with ScriptedPlatform(tmp_path, {"agents": {"*": [say("Said.")]}}) as platform:
        result = platform.run(ROOT / "examples" / "smoke_human_workflow.yaml", "hello")
    assert result.status == "paused"


def test_a_question_without_an_answer_fails_the_run_and_then_the_test(spec: Path, tmp_path: Path) -> None:
    results: list[RunResult] = []
    with pytest.raises(AssertionError, match="no turn left"), ScriptedPlatform(tmp_path, []) as platform:
        results.append(platform.run(spec, "What is tea?"))
    assert [result.status for result in results] == ["failed"]


def test_the_failure_of_a_test_is_not_hidden_by_complaints(spec: Path, tmp_path: Path) -> None:
    def failing_test() -> None:
        with ScriptedPlatform(tmp_path, []) as platform:
            platform.run(spec, "What is tea?")
            raise LookupError

    with pytest.raises(LookupError):
        failing_test()


def test_wrong_arguments_go_back_to_the_model(spec: Path, tmp_path: Path) -> None:
    with ScriptedPlatform(tmp_path, [call("web_search", "{oh"), say("Sorry.")]) as platform:
        result = platform.run(spec, "What is tea?")
    assert result.output_text == "Sorry."
    assert "no JSON object" in platform.provider.requests[1].messages[-1].content


def test_hours_of_delay_and_a_fault_cost_no_time(spec: Path, tmp_path: Path) -> None:
    with ScriptedPlatform(tmp_path, [fail(), say("Done.", delay_seconds=36_000)]) as platform:
        assert platform.run(spec, "?").output_text == "Done."


def test_the_models_of_a_spec_may_stay(spec: Path, tmp_path: Path) -> None:
    provider = ScriptedProvider([say("never")])
    dummy = {"version": "v1", "agent": {"name": "a", "model": {"provider": "dummy", "name": "m"}}}
    with ScriptedPlatform(tmp_path, provider, replace_models=False) as platform:
        assert platform.run(dummy, "tea").output_text == "Final answer: tea"
    assert provider.requests == []
