"""Tool calls on a real platform: approvals, denials, agents behind tools, and runtimes with a loop of their own."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kneo_serv.errors import DecisionNotAllowedError
from kneo_serv.model import event as ev
from kneo_serv.model.message import ToolCall, Turn, TurnRequest, Usage
from kneo_serv.model.plan import AgentPlan, Plan
from kneo_serv.model.run import RunRecord, RunStatus
from kneo_serv.model.task import Decision
from kneo_serv.platform.platform import Platform, Submission
from tests.platform.speakers import HEARD, Speakers, calls, compiled, opened, with_tools
from tests.platform.worlds import PATIENCE, answer, run, step, task_of, until


def pays() -> Speakers:
    return Speakers({"root": [calls(("pay", {"amount": 5})), "done"]})


@pytest.fixture(autouse=True)
def _silence() -> None:
    HEARD.clear()


async def events[E](platform: Platform, record: RunRecord, kind: type[E]) -> list[E]:
    return [recorded.event for recorded in await platform.events(record.id) if isinstance(recorded.event, kind)]


def asking(rule: str = "always", **more: Any) -> Plan:
    return compiled(with_tools("pay", **more), tools={"pay": {"approval": rule}})


def told(story: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(story())  # type: ignore[arg-type]


# --- approval -------------------------------------------------------------------------------------------------------


def test_a_tool_is_called_only_after_a_person_agreed(tmp_path: Path) -> None:
    async def story() -> None:
        speakers = pays()
        async with opened(tmp_path, speakers) as platform:
            record = await run(platform, asking(), target="agent")
            assert (record.status, HEARD["pay"]) == (RunStatus.BLOCKED, [])
            task = await task_of(platform, record.id)
            assert json.loads(task.input_text) == {"amount": 5}
            assert task.request.metadata["tool_name"] == "pay"
            record = await answer(platform, record.id)
            assert (record.status, record.output_text) == (RunStatus.COMPLETED, "done")
            assert [heard.split()[0] for heard in HEARD["pay"]] == ["5"]

    told(story)


@pytest.mark.parametrize(("amount", "asks"), [(5, False), (5_000, True)])
def test_a_rule_says_which_calls_need_a_person(tmp_path: Path, amount: float, asks: bool) -> None:
    pytest.importorskip("cel")

    async def story() -> None:
        async with opened(tmp_path, Speakers({"root": [calls(("pay", {"amount": amount})), "done"]})) as platform:
            plan = asking("tool == 'pay' && double(arguments.amount) > 1000.0")
            record = await run(platform, plan, target="agent")
            assert (record.status is RunStatus.BLOCKED) is asks

    told(story)


def test_a_rule_that_cannot_be_decided_asks(tmp_path: Path) -> None:
    pytest.importorskip("cel")

    async def story() -> None:
        async with opened(tmp_path, pays()) as platform:
            record = await run(platform, asking("arguments.nothing > 1"), target="agent")
            assert record.status is RunStatus.BLOCKED

    told(story)


def test_an_agents_own_rule_adds_to_the_tools(tmp_path: Path) -> None:
    async def story() -> None:
        plan = compiled(with_tools("pay", policies={"tool": {"approval": {"pay": "always"}}}))
        async with opened(tmp_path, pays()) as platform:
            assert (await run(platform, plan, target="agent")).status is RunStatus.BLOCKED

    told(story)


def test_nobody_is_asked_about_a_call_that_the_guard_refuses_anyway(tmp_path: Path) -> None:
    async def story() -> None:
        speakers = Speakers({"root": [calls(("pay", {"amount": "much"})), "done"]})
        async with opened(tmp_path, speakers) as platform:
            record = await run(platform, asking(), target="agent")
            assert record.status is RunStatus.COMPLETED
            (failed,) = await events(platform, record, ev.ToolCallFailed)
            assert failed.error_type == "ToolArgumentValidationError"
            denied = compiled(
                with_tools("pay", policies={"tool": {"deny": ["pay"]}}), tools={"pay": {"approval": "always"}}
            )
            speakers.lines = pays().lines
            record = await run(platform, denied, target="agent")
            assert record.error_type == "tool_policy_denied"
        assert HEARD["pay"] == []

    told(story)


def test_edited_arguments_must_be_an_object_and_are_checked_like_all_others(tmp_path: Path) -> None:
    async def story() -> None:
        speakers = Speakers({"root": [calls(("pay", {"amount": 5})), "done"]})
        async with opened(tmp_path, speakers) as platform:
            record = await run(platform, asking(), target="agent")
            with pytest.raises(DecisionNotAllowedError, match="JSON object"):
                await answer(platform, record.id, Decision.EDITED, "four")
            record = await answer(platform, record.id, Decision.EDITED, '{"amount": 4}')
            assert record.status is RunStatus.COMPLETED
            assert [heard.split()[0] for heard in HEARD["pay"]] == ["4"]
            speakers.lines = {"root": [calls(("pay", {"amount": 5})), "done"]}
            record = await run(platform, asking(), target="agent")
            record = await answer(platform, record.id, Decision.EDITED, '{"amount": "four"}')
            (failed,) = await events(platform, record, ev.ToolCallFailed)
            assert failed.error_type == "ToolArgumentValidationError"
            assert len(HEARD["pay"]) == 1

    told(story)


def test_a_refusal_is_told_to_the_model(tmp_path: Path) -> None:
    async def story() -> None:
        speakers = pays()
        async with opened(tmp_path, speakers) as platform:
            record = await run(platform, asking(), target="agent")
            record = await answer(platform, record.id, Decision.REJECTED, "not today")
            assert record.status is RunStatus.COMPLETED
            assert speakers.told_to("root")[-1][-1] == ("tool", "Error: a person refused this call: not today")
            assert HEARD["pay"] == []

    told(story)


def test_an_approval_survives_the_end_of_the_process(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path, pays()) as platform:
            record = await run(platform, asking(), target="agent")
        async with opened(tmp_path, Speakers({"root": "done"})) as platform:
            record = await answer(platform, record.id)
            assert record.status is RunStatus.COMPLETED
            assert len(HEARD["pay"]) == 1

    told(story)


# --- denials --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("on_deny", "status"), [("fail", RunStatus.FAILED), ("tell_model", RunStatus.COMPLETED)])
def test_a_denial_ends_the_run_or_is_told_to_the_model(tmp_path: Path, on_deny: str, status: RunStatus) -> None:
    async def story() -> None:
        speakers = pays()
        plan = compiled(with_tools("pay", policies={"tool": {"deny": ["pay"], "on_deny": on_deny}}))
        async with opened(tmp_path, speakers) as platform:
            record = await run(platform, plan, target="agent")
            assert record.status is status
            assert len(await events(platform, record, ev.ToolPolicyDenied)) == 1
            assert HEARD["pay"] == []
            if status is RunStatus.COMPLETED:
                assert "deny list" in speakers.told_to("root")[-1][-1][1]

    told(story)


# --- agents behind tools --------------------------------------------------------------------------------------------


def test_an_agent_answers_the_calls_of_another_one(tmp_path: Path) -> None:
    async def story() -> None:
        speakers = Speakers({"root": [calls(("ask", {"input": "why?"})), "done"], "expert": "because"}, tokens=3)
        plan = compiled(with_tools("ask"), tools={"ask": {"description": "Knows.", "agent": "expert"}}, expert={})
        async with opened(tmp_path, speakers) as platform:
            record = await run(platform, plan, target="agent")
            assert (record.status, record.output_text) == (RunStatus.COMPLETED, "done")
            assert speakers.told_to("expert") == [[("user", "why?")]]
            assert speakers.told_to("root")[-1][-1] == ("tool", "because")
            started = [event.key for event in await events(platform, record, ev.StepStarted)]
            assert started == ["main/root#1", "main/root#1/ask#1"]

    told(story)


def test_an_agent_that_the_policy_denies_is_not_asked(tmp_path: Path) -> None:
    async def story() -> None:
        speakers = Speakers({"root": [calls(("ask", {"input": "why?"})), "done"]})
        plan = compiled(
            with_tools("ask", policies={"tool": {"deny": ["ask"]}}),
            tools={"ask": {"description": "Knows.", "agent": "expert"}},
            expert={},
        )
        async with opened(tmp_path, speakers) as platform:
            record = await run(platform, plan, target="agent")
            assert record.error_type == "tool_policy_denied"
            assert speakers.told_to("expert") == []

    told(story)


def test_wrong_arguments_for_an_agent_are_told_to_the_model(tmp_path: Path) -> None:
    async def story() -> None:
        speakers = Speakers({"root": [calls(("ask", {"question": "why?"})), "done"]})
        plan = compiled(with_tools("ask"), tools={"ask": {"description": "Knows.", "agent": "expert"}}, expert={})
        async with opened(tmp_path, speakers) as platform:
            record = await run(platform, plan, target="agent")
            assert record.status is RunStatus.COMPLETED
            assert "'input' is missing" in speakers.told_to("root")[-1][-1][1]

    told(story)


# --- plans and schemas ----------------------------------------------------------------------------------------------


def test_plan_act_tells_the_model_its_tools_and_then_its_plan(tmp_path: Path) -> None:
    async def story() -> None:
        speakers = Speakers({"root": ["1. look", calls(("look", {})), "done"]})
        plan = compiled(with_tools("look", strategy="plan-act", system_prompt="Be kind."))
        async with opened(tmp_path, speakers) as platform:
            record = await run(platform, plan, target="agent")
            assert record.output_text == "done"
            planning, acting, _ = speakers.told_to("root")
            assert planning[0][1].startswith("Be kind.")
            assert "- look: Looks." in planning[0][1]
            assert acting[0][1].endswith("1. look")
            assert [role for role, _ in acting] == ["system", "user"]

    told(story)


SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


@pytest.mark.parametrize("good", ['{"n": 1}', '```json\n{"n": 1}\n```', '  {"n": 1}\n'])
def test_an_answer_has_to_fit_its_schema(tmp_path: Path, good: str) -> None:
    async def story() -> None:
        speakers = Speakers({"root": ["one", '{"n": "one"}', good]})
        async with opened(tmp_path, speakers) as platform:
            record = await run(platform, compiled({"output_schema": SCHEMA}), target="agent")
            assert record.output_text == '{"n": 1}'
            asked = [conversation[-1][1] for conversation in speakers.told_to("root")[1:]]
            assert "it is no JSON." in asked[0]
            assert "$.n: expected integer, got string." in asked[1]

    told(story)


def test_an_agent_whose_answers_never_fit_fails_by_name(tmp_path: Path) -> None:
    async def story() -> None:
        speakers = Speakers({"root": "secret words"})
        async with opened(tmp_path, speakers) as platform:
            record = await run(platform, compiled({"output_schema": SCHEMA, "output_retries": 1}), target="agent")
            assert record.error_type == "output_invalid"
            assert len(speakers.told) == 2
            assert "secret words" not in (record.error_message or "")

    told(story)


# --- runtimes with a loop of their own ------------------------------------------------------------------------------


class Looping:
    """Calls tools within its turn, as the loop of a model library does."""

    def __init__(self, *wishes: tuple[str, dict[str, Any]], gate: asyncio.Event | None = None) -> None:
        self.wishes = wishes
        self.gate = gate
        self.heard: list[str] = []
        self.turns = 0

    def create(self, agent: AgentPlan) -> "Looping":
        return self

    async def turn(self, request: TurnRequest) -> Turn:
        self.turns += 1
        assert request.call_tool is not None
        for place, (name, args) in enumerate(self.wishes):
            self.heard.append(await request.call_tool(ToolCall(f"c{place}", name, args)))
        if self.gate is not None:
            await self.gate.wait()
        return Turn("done")

    async def aclose(self) -> None:
        pass


@asynccontextmanager
async def looping(path: Path, runtime: Looping, **more: Any):  # type: ignore[no-untyped-def]
    async with opened(path, runtime, **more) as platform:  # type: ignore[arg-type]
        yield platform


def test_calls_within_a_turn_are_guarded_and_journaled(tmp_path: Path) -> None:
    async def story() -> None:
        runtime = Looping(("look", {}), ("pay", {"amount": "much"}), ("pay", {"amount": 5}))
        async with looping(tmp_path, runtime) as platform:
            record = await run(platform, compiled(with_tools("pay", "look")), target="agent")
            assert (record.status, record.output_text) == (RunStatus.COMPLETED, "done")
            assert runtime.heard[0] == "seen"
            assert runtime.heard[1].startswith("Error: The arguments of tool 'pay' do not fit")
            assert runtime.heard[2] == "paid 5"
            started = await events(platform, record, ev.ToolCallStarted)
            assert [(event.tool_name, event.number) for event in started] == [("look", 1), ("pay", 2), ("pay", 3)]
            assert HEARD["pay"][0].endswith(":3")

    told(story)


def test_a_denial_within_a_turn_ends_the_attempt(tmp_path: Path) -> None:
    async def story() -> None:
        runtime = Looping(("pay", {"amount": 5}))
        plan = compiled(with_tools("pay", policies={"tool": {"deny": ["pay"]}}))
        async with looping(tmp_path, runtime) as platform:
            record = await run(platform, plan, target="agent")
            assert (record.status, record.error_type) == (RunStatus.FAILED, "tool_policy_denied")
            assert len(await events(platform, record, ev.ToolPolicyDenied)) == 1

    told(story)


def test_a_tool_that_needs_approval_is_refused_within_a_turn(tmp_path: Path) -> None:
    async def story() -> None:
        runtime = Looping(("pay", {"amount": 5}))
        async with looping(tmp_path, runtime) as platform:
            plan = asking(policies={"tool": {"on_deny": "tell_model"}})
            record = await run(platform, plan, target="agent")
            assert record.status is RunStatus.COMPLETED
            assert "a person has to agree to it" in runtime.heard[0]
            assert HEARD["pay"] == []

    told(story)


def test_a_turn_that_is_left_knows_what_its_calls_gave(tmp_path: Path) -> None:
    async def story() -> None:
        gate = asyncio.Event()
        runtime = Looping(("look", {}), ("pay", {"amount": 5}), gate=gate)
        plan = compiled(with_tools("pay", "look"))
        async with looping(tmp_path, runtime, timeout=0, grace_seconds=0.05) as platform:
            record = await platform.start(Submission(plan, "tea", target="agent"), hold=True)

            async def both_called() -> bool:
                return len(runtime.heard) == 2

            await until(both_called)
        gate.set()
        async with looping(tmp_path, runtime) as platform:
            record = await platform.run_to_rest(record.id, patience=PATIENCE)
            assert (record.status, record.output_text) == (RunStatus.COMPLETED, "done")
        assert runtime.turns == 2
        assert runtime.heard == ["seen", "paid 5"] * 2
        assert (len(HEARD["look"]), len(HEARD["pay"])) == (1, 1)

    told(story)


def test_steps_follow_a_turn_with_calls_of_its_own(tmp_path: Path) -> None:
    async def story() -> None:
        runtime = Looping(("look", {}))
        plan = compiled({}, step("worker", "agent"), step("upper"), worker=with_tools("look"))
        async with looping(tmp_path, runtime) as platform:
            assert (await run(platform, plan)).output_text == "DONE"

    told(story)


# --- what it took ---------------------------------------------------------------------------------------------------


def spending(tokens: int, dollars: float, *wishes: tuple[str, dict[str, Any]]) -> Turn:
    turn = calls(*wishes, text="" if wishes else "done")
    return replace(turn, usage=Usage(tokens, 1, 1, cached_tokens=2, cost_usd=dollars))


def test_a_run_tells_what_it_and_each_agent_used(tmp_path: Path) -> None:
    async def story() -> None:
        speakers = Speakers(
            {"root": [spending(10, 0.1, ("ask", {"input": "?"})), spending(20, 0.2)], "expert": spending(5, 0.05)}
        )
        plan = compiled(with_tools("ask"), tools={"ask": {"description": "Knows.", "agent": "expert"}}, expert={})
        async with opened(tmp_path, speakers) as platform:
            record = await run(platform, plan, target="agent")
            usage = (await platform.result(record.id)).metadata["usage"]
            assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (35, 3, 38)
            assert (usage["cached_tokens"], usage["requests"], usage["cost_usd"]) == (6, 3, 0.35)
            assert usage["agents"]["root"]["cost_usd"] == 0.3
            assert usage["agents"]["expert"]["input_tokens"] == 5
            assert (await platform.run_view(record.id))["usage"] == usage
            steps = await events(platform, record, ev.StepCompleted)
            assert [step.usage and step.usage.cost_usd for step in steps] == [0.05, 0.3]

    told(story)


def test_a_budget_in_money_asks_a_person_and_goes_on(tmp_path: Path) -> None:
    async def story() -> None:
        speakers = Speakers({"root": [spending(1, 0.6, ("look", {})), spending(1, 0.6)]})
        plan = compiled(with_tools("look"), budget={"cost_usd": 0.5, "on_budget": "ask"})
        async with opened(tmp_path, speakers) as platform:
            record = await run(platform, plan, target="agent")
            assert record.status is RunStatus.BLOCKED
            task = await task_of(platform, record.id)
            assert task.request.prompt.startswith("The run used 0.6 US dollars; its budget is 0.5.")
            record = await answer(platform, record.id)
            assert (record.status, record.output_text) == (RunStatus.COMPLETED, "done")

    told(story)


def test_an_agent_over_its_budget_fails_the_run_by_name(tmp_path: Path) -> None:
    async def story() -> None:
        speakers = Speakers({"root": [spending(10, 0, ("look", {})), spending(1, 0)]})
        async with opened(tmp_path, speakers) as platform:
            record = await run(platform, compiled(with_tools("look", budget={"tokens": 5})), target="agent")
            assert record.error_type == "budget_exceeded"
            assert record.error_message == "Agent 'root' used 11 tokens; its budget is 5."

    told(story)


def test_a_tool_that_this_platform_lacks_fails_the_step_and_not_the_model(tmp_path: Path) -> None:
    async def story() -> None:
        plan = compiled(with_tools("look"))
        lacking = replace(plan.tools["look"], implementation="tests.platform.speakers.nowhere")
        speakers = Speakers({"root": [calls(("look", {})), "done"]})
        async with opened(tmp_path, speakers) as platform:
            record = await run(platform, replace(plan, tools={**plan.tools, "look": lacking}), target="agent")
            assert (record.status, record.error_type) == (RunStatus.FAILED, "tool_unavailable")
            assert len(speakers.told) == 1

    told(story)
