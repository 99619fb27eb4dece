"""Agents that answer the tool calls of other agents."""

from dataclasses import replace

import pytest

from kneo_serv.model import event as ev
from kneo_serv.model.plan import AgentPlan, Guardrail, HumanPlan, OnReject, Plan, StrategyType
from kneo_serv.model.task import Decision
from tests.engine.simulation import World, last, run, tool_answers
from tests.engine.worlds import (
    REACT,
    Fails,
    Says,
    Script,
    agent,
    backed_by,
    function,
    human,
    plan,
    sequential,
)

ASKS: Script = {"boss": [Says("I ask", ("ask_expert",), given="why?"), Says("done")], "expert": "because"}


def _plan(**agents: AgentPlan) -> Plan:
    return plan(
        sequential(agent("boss"), function("z")),
        agents={
            "boss": AgentPlan("boss", strategy=REACT, tools=("ask_expert", "ask_clerk")),
            "expert": AgentPlan("expert"),
            "clerk": AgentPlan("clerk"),
            **agents,
        },
        flows={"review": sequential(function("draft"), human("look"))},
        tools={"ask_expert": backed_by("expert"), "ask_clerk": backed_by("clerk"), "t": None},
    )


def test_an_agent_answers_a_call_and_its_work_is_journaled_in_its_place() -> None:
    world = run(_plan(), ASKS)
    assert world.outcome == ("completed", "done>z")
    assert world.begun == ["boss", "expert", "boss", "z"]
    assert world.sent[1][0].content == "why?"
    assert tool_answers(world.sent[2]) == ["because"]
    assert world.completed() == ["boss#1/ask_expert#1", "boss#1", "z#1"]
    assert [event.tool_name for event in world.events(ev.ToolCallCompleted)] == ["ask_expert"]


def test_several_agents_answer_side_by_side_in_any_order() -> None:
    script: Script = {"boss": [Says(tools=("ask_expert", "ask_clerk", "t")), Says("done")]}
    for choose in (lambda _: 0, last):
        world = run(_plan(), script, choose=choose)
        assert world.outcome == ("completed", "done>z")
        assert tool_answers(world.sent[-1]) == ["in>expert", "in>clerk", "t>t"]


def test_the_same_agent_may_answer_twice_in_one_turn() -> None:
    script: Script = {"boss": [Says(tools=("ask_expert", "ask_expert")), Says("done")], "expert": ["one", "two"]}
    world = run(_plan(), script)
    assert tool_answers(world.sent[-1]) == ["one", "two"]
    assert [started.number for started in world.events(ev.ToolCallStarted)] == [1, 2]


def test_an_agent_behind_a_tool_has_tools_of_its_own_at_any_depth() -> None:
    expert = AgentPlan("expert", strategy=REACT, tools=("ask_clerk", "t"))
    script: Script = {**ASKS, "expert": [Says(tools=("ask_clerk", "t")), Says("I know")]}
    world = run(_plan(expert=expert), script)
    assert world.outcome == ("completed", "done>z")
    assert tool_answers(world.sent[-1]) == ["I know"]
    assert world.completed()[0] == "boss#1/ask_expert#1/ask_clerk#1"


def test_a_failing_agent_is_an_error_of_the_tool() -> None:
    world = run(_plan(), {**ASKS, "expert": Fails("boom")})
    assert world.outcome == ("completed", "done>z")
    assert tool_answers(world.sent[-1]) == ["Error: it failed"]
    assert [event.error_type for event in world.events(ev.ToolCallFailed)] == ["boom"]


def test_a_failing_agent_stops_one_that_stops_on_tool_errors() -> None:
    boss = AgentPlan("boss", strategy=replace(REACT, stop_on_tool_error=True), tools=("ask_expert",))
    world = run(_plan(boss=boss), {**ASKS, "expert": [Fails("boom"), "because"]})
    assert world.outcome == ("failed", "tool_error")
    assert world.carry_on().outcome == ("completed", "done>z")
    assert world.begun == ["boss", "expert", "expert", "boss", "z"]


def test_a_refusal_by_a_guardrail_of_the_agent_is_never_absorbed() -> None:
    guard = Guardrail("g", "output", "keyword", config={"keywords": ["because"]})
    world = run(_plan(expert=AgentPlan("expert", guardrails=(guard,))), ASKS)
    assert world.outcome == ("failed", "guardrail_violation")


def test_guardrails_of_workflows_do_not_look_at_what_a_tool_says() -> None:
    made = _plan()
    guard = Guardrail("g", "workflow", "keyword", config={"keywords": ["because"]})
    root = AgentPlan("root", guardrails=(guard,))
    assert run(replace(made, agents={**made.agents, "@root": root}), ASKS).outcome == ("completed", "done>z")


def test_people_in_a_workflow_behind_a_tool_are_asked_and_the_run_rests() -> None:
    world = run(_plan(expert=AgentPlan("expert", as_agent="review")), ASKS)
    assert world.outcome == ("blocked", None)
    assert world.asked == ["main/boss#1/ask_expert#1/look#1"]
    assert world.resume(decision=Decision.EDITED, content="reviewed").outcome == ("completed", "done>z")
    assert tool_answers(world.sent[-1]) == ["reviewed"]
    assert world.begun == ["boss", "draft", "boss", "z"]


def test_two_tools_wait_for_people_and_are_answered_in_any_order() -> None:
    reviewed = {name: AgentPlan(name, as_agent="review") for name in ("expert", "clerk")}
    script: Script = {"boss": [Says(tools=("ask_expert", "ask_clerk")), Says("done")]}
    world = run(_plan(**reviewed), script)
    first, second = world.asked
    for key, text in ((second, "two"), (first, "one")):
        state = next(state for state in _open(world) if state.key == key)
        world.answer_task(state, Decision.EDITED, text)
        world.leg(ev.LegReason.RESUME)
        world.go()
    assert world.outcome == ("completed", "done>z")
    assert tool_answers(world.sent[-1]) == ["one", "two"]


def test_a_rejection_that_fails_the_workflow_behind_a_tool_is_told_to_the_model() -> None:
    made = _plan(expert=AgentPlan("expert", as_agent="review"))
    made = replace(made, humans={"look": HumanPlan(on_reject=OnReject.FAIL)})
    world = run(made, ASKS).resume(decision=Decision.REJECTED, content="no")
    assert world.outcome == ("completed", "done>z")
    assert tool_answers(world.sent[-1]) == ["Error: Rejected by human reviewer: no"]


def test_nobody_is_waited_for_once_the_asking_agent_has_failed() -> None:
    boss = AgentPlan("boss", strategy=replace(REACT, stop_on_tool_error=True), tools=("ask_expert",))
    made = _plan(boss=boss, expert=AgentPlan("expert", as_agent="review"))
    world = World(made, {"boss": [Says(tools=("ask_expert", "t")), Says("done")], "t": [Fails(), "T"]})
    world.advance()
    world.land_named("boss")
    world.land_named("draft")
    assert len(world.asked) == 1
    world.land_named("t")
    assert world.outcome == ("failed", "tool_error")
    world.carry_on()
    assert world.asked == ["main/boss#1/ask_expert#1/look#1"]
    assert world.resume(decision=Decision.EDITED, content="reviewed").outcome == ("completed", "done>z")
    assert tool_answers(world.sent[-1]) == ["reviewed", "T"]
    assert world.begun == ["boss", "t", "draft", "t", "boss", "z"]


@pytest.mark.parametrize("landed", range(6))
def test_a_crash_at_any_moment_repeats_nothing_that_was_finished(landed: int) -> None:
    expert = AgentPlan("expert", strategy=REACT, tools=("t",))
    script: Script = {**ASKS, "expert": [Says(tools=("t",)), Says("because")]}
    world = World(_plan(expert=expert), script)
    world.advance()
    for _ in range(landed):
        world.land()
        world.advance()
    began = len(world.begun)
    lost = [flight.name for flight in world.flights]
    world.interrupt().go()
    assert world.outcome == ("completed", "done>z")
    assert world.begun[began : began + len(lost)] == lost
    assert len(world.begun) == 6 + len(lost)


def test_a_call_that_the_guard_did_not_admit_goes_the_way_of_all_tools() -> None:
    world = World(_plan(), {"boss": "done"})
    world.advance()
    flight = world.flights.pop()
    from kneo_serv.model.message import ToolCall

    calls = (ToolCall("c", "ask_expert", {"input": "why?"}),)
    world.add(ev.ModelTurnCompleted(flight.effect.key, "boss", 1, "", calls))
    world.advance()
    assert [flight.name for flight in world.flights] == ["ask_expert"]
    assert "expert" not in world.begun


def test_plan_act_agents_may_be_tools_too() -> None:
    expert = AgentPlan("expert", strategy=replace(REACT, type=StrategyType.PLAN_ACT))
    world = run(_plan(expert=expert), {**ASKS, "expert": ["1. think", "because"]})
    assert tool_answers(world.sent[-1]) == ["because"]


def _open(world: World):  # type: ignore[no-untyped-def]
    from kneo_serv.engine import open_tasks

    return open_tasks(world.run)
