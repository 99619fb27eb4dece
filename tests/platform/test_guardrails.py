"""Guardrails that functions and agents decide, on a real platform."""

import asyncio
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from kneo_serv.model import event as ev
from kneo_serv.model.run import RunRecord, RunStatus
from kneo_serv.platform.guarding import read_verdict
from kneo_serv.platform.platform import Platform
from tests.platform.speakers import HEARD, Speakers, compiled, opened
from tests.platform.worlds import answer, kinds, run, step, task_of


def guarded(stage: str, **guard: Any) -> dict[str, Any]:
    return {"guardrails": {stage: [{"id": "g", **guard}]}}


async def applied(platform: Platform, record: RunRecord) -> list[ev.GuardrailApplied]:
    events = [recorded.event for recorded in await platform.events(record.id)]
    return [event for event in events if isinstance(event, ev.GuardrailApplied)]


def alone(path: Path, agent: dict[str, Any], speakers: Speakers, text: str = "tea") -> RunRecord:
    async def story() -> RunRecord:
        async with opened(path, speakers) as platform:
            return await run(platform, compiled(agent, judge={}), text, target="agent")

    return asyncio.run(story())


def test_a_function_decides_by_true_or_false(tmp_path: Path) -> None:
    agent = guarded("input", type="function", ref="polite")
    assert alone(tmp_path, agent, Speakers(), "tea, please").output_text == "root heard tea, please"
    refused = alone(tmp_path, agent, Speakers())
    assert (refused.status, refused.error_type) == (RunStatus.FAILED, "guardrail_violation")
    assert refused.error_message == "Guardrail 'g' failed: The function did not let it pass"


def test_a_function_may_revise_the_text(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path, Speakers({"root": "tea"})) as platform:
            agent = guarded("output", type="function", ref="rephrase", action="revise")
            record = await run(platform, compiled(agent), target="agent")
            assert record.output_text == "tea, please"
            (event,) = await applied(platform, record)
            assert (event.outcome, event.reason, event.metadata) == ("revised", "rude", {"words": 1})

    asyncio.run(story())


@pytest.mark.parametrize(("reply", "status"), [("PASS", "completed"), (" PASS it is fine", "completed"),
                                               ("PASSABLE", "failed"), ("FAIL: it says tea", "failed")])  # fmt: skip
def test_an_agent_decides_by_the_word_pass(tmp_path: Path, reply: str, status: str) -> None:
    agent = guarded("output", type="agent", ref="judge")
    record = alone(tmp_path, agent, Speakers({"judge": reply}))
    assert record.status == status
    assert "tea" not in (record.error_message or "")


def test_a_model_is_asked_again_with_what_the_judge_said(tmp_path: Path) -> None:
    speakers = Speakers({"root": ["rude", "kind"], "judge": ["FAIL: too rude", "PASS"]})
    agent = guarded("output", type="agent", ref="judge", action="retry")
    assert alone(tmp_path, agent, speakers).output_text == "kind"
    assert "FAIL: too rude" in speakers.told_to("root")[1][-1][1]


@pytest.mark.parametrize("ref", ["broken", "vague"])
def test_a_function_that_cannot_decide_lets_nothing_pass(tmp_path: Path, ref: str) -> None:
    record = alone(tmp_path, guarded("input", type="function", ref=ref), Speakers(), "the recipe")
    assert record.status == RunStatus.FAILED
    assert "The check itself failed" in (record.error_message or "")
    assert "recipe" not in (record.error_message or "")


def test_tokens_of_a_judge_count(tmp_path: Path) -> None:
    record = alone(tmp_path, guarded("output", type="agent", ref="judge"), Speakers({"judge": "PASS"}, tokens=5))
    assert record.input_tokens == 10


def test_a_person_sees_the_text_that_is_held_back(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path, Speakers()) as platform:
            agent = guarded("workflow", type="keyword", action="human_review", config={"keywords": ["tea"]})
            record = await run(platform, compiled(agent, step("upper"), step("polite")))
            assert record.status == RunStatus.BLOCKED
            task = await task_of(platform, record.id)
            assert (task.input_text, task.request.metadata["guardrail_id"]) == ("TEA", "g")
            record = await answer(platform, record.id, "edited", "milk, please")
            assert (record.status, record.output_text) == ("completed", "True")
            assert HEARD["polite"][-1] == "milk, please"

    asyncio.run(story())


def test_a_function_is_called_once_although_its_text_is_checked(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path, Speakers({"judge": "PASS"})) as platform:
            agent = guarded("workflow", type="agent", ref="judge")
            record = await run(platform, compiled(agent, step("upper"), judge={}))
            assert record.output_text == "TEA"
            assert await kinds(platform, record.id) == [
                "run_created", "leg_started", "step_started", "step_returned", "guardrail_started",
                "guardrail_applied", "step_completed", "run_completed",
            ]  # fmt: skip

    asyncio.run(story())


def test_a_check_that_passes_without_an_effect_costs_no_event(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path, Speakers()) as platform:
            agent = guarded("workflow", type="keyword", config={"keywords": ["milk"]})
            record = await run(platform, compiled(agent, step("upper")))
            assert await kinds(platform, record.id) == [
                "run_created", "leg_started", "step_started", "step_completed", "run_completed"
            ]  # fmt: skip

    asyncio.run(story())


def test_the_story_of_a_guardrail_stands_in_the_trace(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path, Speakers()) as platform:
            agent = guarded("workflow", type="function", ref="polite", action="warn")
            record = await run(platform, compiled(agent, step("upper")))
            from kneo_serv.platform import views

            trace, _ = views.trace_events(record, await platform.events(record.id))
            told = [line for line in trace if line["guardrail_id"] == "g"]
            assert [line["type"] for line in told] == ["guardrail_started", "guardrail_applied"]
            assert told[1]["metadata"]["outcome"] == "warned"

    asyncio.run(story())


def test_verdicts_may_be_objects() -> None:
    class Result:
        passed = False
        reason = "no."
        revised_text = 7
        metadata = MappingProxyType({"password": "hunter2"})

    verdict = read_verdict(Result())
    assert (verdict.passed, verdict.reason, verdict.revised_text) == (False, "no", "7")
    assert "hunter2" not in str(verdict.metadata)
