"""Calls that a person has to agree to."""

import json

import pytest

from kneo_serv.engine import CallTool, approval_digest, decide
from kneo_serv.engine.guards import under_review
from kneo_serv.model import event as ev
from kneo_serv.model.message import ToolCall
from kneo_serv.model.plan import AgentPlan, Plan, RequestType, Strategy, StrategyType
from kneo_serv.model.run import CallPhase, StepState
from kneo_serv.model.task import Decision
from kneo_serv.model.tool import Effect
from tests.engine.simulation import World, run, tool_answers
from tests.engine.worlds import Denied, Fails, Says, Script, agent, function, plan, sequential

ASKS: Script = {"a": [Says("I pay", ("pay",), asks=True), Says("done")], "pay": "paid"}


def _plan(effect: Effect | None = None, **how: object) -> Plan:
    return plan(
        sequential(agent("a"), function("z")),
        agents={"a": AgentPlan("a", strategy=Strategy(StrategyType.REACT, **how))},  # type: ignore[arg-type]
        tools={"pay": effect, "look": Effect.IDEMPOTENT},
    )


def _asking(world: World) -> StepState:
    assert world.run.frame is not None
    (state,) = world.run.frame.live.values()
    return state


def _begun(world: World) -> list[str]:
    return [started.tool_name for started in world.events(ev.ToolCallStarted)]


def test_nothing_is_called_before_a_person_agreed() -> None:
    world = run(_plan(), ASKS)
    assert world.outcome == ("blocked", None)
    assert _begun(world) == []
    (asked,) = world.events(ev.HumanAsked)
    assert (asked.about, asked.subject, asked.request.type) == ("approval", "call_0", RequestType.REVIEW)
    assert json.loads(under_review(_asking(world))) == {"input": "in"}
    assert world.resume().outcome == ("completed", "done>z")
    assert world.begun == ["a", "pay", "a", "z"]


def test_an_approval_names_exactly_one_call() -> None:
    world = run(_plan(), ASKS)
    (asked,) = world.events(ev.HumanAsked)
    call = ToolCall("call_0", "pay", {"input": "in"})
    digest = approval_digest(world.plan, asked.key, 1, call)
    assert asked.request.metadata["arguments_digest"] == digest
    world.answer()
    (command,) = decide(world.plan, world.run, world.now)
    assert isinstance(command, CallTool)
    assert command.approved == digest
    others = [
        approval_digest(world.plan, asked.key, 2, call),
        approval_digest(world.plan, asked.key, 1, ToolCall("call_0", "pay", {"input": "other"})),
        approval_digest(world.plan, asked.key, 1, ToolCall("call_0", "look", {"input": "in"})),
        approval_digest(plan(None), asked.key, 1, call),
    ]
    assert digest not in others[:3]
    assert others[3] == digest  # plans of one hash are one plan


def test_the_model_hears_a_refusal_and_goes_on() -> None:
    world = run(_plan(), ASKS).resume(decision=Decision.REJECTED, content="too much")
    assert world.outcome == ("completed", "done>z")
    assert tool_answers(world.sent[1]) == ["Error: a person refused this call: too much"]
    assert "pay" not in world.begun


def test_a_refusal_stops_an_agent_that_stops_on_tool_errors() -> None:
    world = run(_plan(stop_on_tool_error=True), ASKS).resume(decision=Decision.REJECTED)
    assert world.outcome == ("failed", "tool_error")


def test_a_person_may_write_other_arguments() -> None:
    world = run(_plan(), ASKS)
    world.answer(decision=Decision.EDITED, content='{"input": "less"}')
    (command,) = decide(world.plan, world.run, world.now)
    assert isinstance(command, CallTool)
    assert command.call.arguments == {"input": "less"}
    assert command.approved == approval_digest(world.plan, command.key, 1, command.call)
    world.leg(ev.LegReason.RESUME)
    assert world.go().outcome == ("completed", "done>z")
    assert tool_answers(world.sent[1]) == ['[A person changed the arguments to {"input": "less"}]\npaid']


def test_arguments_that_are_no_object_are_never_called_with() -> None:
    world = run(_plan(), ASKS).resume(decision=Decision.EDITED, content="[1]")
    assert "pay" not in world.begun
    assert tool_answers(world.sent[1]) == ["Error: the reviewer's arguments are no JSON object"]


def test_a_person_may_give_the_result_instead() -> None:
    world = run(_plan(), ASKS).resume(decision=Decision.PROVIDED, content="paid by hand")
    assert world.outcome == ("completed", "done>z")
    assert tool_answers(world.sent[1]) == ["paid by hand"]
    assert "pay" not in world.begun


def test_other_calls_of_the_turn_do_not_wait_for_the_person() -> None:
    world = World(_plan(), {"a": "done"})
    world.advance()
    flight = world.flights.pop()
    calls = (ToolCall("c1", "pay", {}), ToolCall("c2", "look", {}))
    world.add(ev.ModelTurnCompleted(flight.effect.key, "a", 1, "", calls, approvals=("c1",)))
    world.go()
    assert _begun(world) == ["look"]
    assert world.asked == ["main/a#1"]
    assert world.resume().outcome == ("completed", "done>z")
    assert _begun(world) == ["look", "pay"]


def test_one_question_comes_after_the_other() -> None:
    script: Script = {"a": [Says(tools=("pay", "pay"), asks=True), Says("done")], "pay": ["first", "second"]}
    world = run(_plan(), script)
    assert len(world.events(ev.HumanAsked)) == 1
    world.resume()
    assert _begun(world) == ["pay"]
    assert len(world.events(ev.HumanAsked)) == 2
    assert world.resume().outcome == ("completed", "done>z")
    assert tool_answers(world.sent[1]) == ["first", "second"]


def test_one_at_a_time_means_that_later_calls_wait_for_the_person_too() -> None:
    world = World(_plan(parallel_tool_calls=False), {"a": "done"})
    world.advance()
    flight = world.flights.pop()
    calls = (ToolCall("c1", "pay", {}), ToolCall("c2", "look", {}))
    world.add(ev.ModelTurnCompleted(flight.effect.key, "a", 1, "", calls, approvals=("c1",)))
    assert _begun(world.go()) == []
    world.resume()
    assert _begun(world) == ["pay", "look"]


def test_an_answer_counts_also_when_a_crash_comes_before_the_call() -> None:
    world = run(_plan(), ASKS)
    world.answer()
    world.interrupt().go()
    assert world.outcome == ("completed", "done>z")
    assert len(world.events(ev.HumanAsked)) == 1
    assert world.begun.count("pay") == 1


@pytest.mark.parametrize("effect", [None, Effect.ONCE])
def test_an_approved_call_in_doubt_is_not_called_again_by_itself(effect: Effect | None) -> None:
    world = run(_plan(effect), ASKS)
    world.answer()
    world.advance()
    assert [flight.name for flight in world.flights] == ["pay"]
    world.interrupt().go()
    assert world.outcome == ("blocked", None)
    assert world.events(ev.HumanAsked)[-1].request.metadata["needs_review"]
    assert world.begun.count("pay") == 1
    assert world.resume().outcome == ("completed", "done>z")
    assert world.begun.count("pay") == 2


def test_an_approved_call_that_is_harmless_to_repeat_is_repeated() -> None:
    world = run(_plan(Effect.KEYED), ASKS)
    world.answer()
    world.advance()
    assert world.interrupt().go().outcome == ("completed", "done>z")
    assert [started.number for started in world.events(ev.ToolCallStarted)] == [1, 1]


def test_an_approval_is_used_up_by_its_call() -> None:
    script: Script = {"a": [Says("I pay", ("pay",), asks=True), Says("done")], "pay": [Fails(), "paid"]}
    world = run(_plan(stop_on_tool_error=True), script).resume()
    assert world.run.error_type == "tool_error"
    world.carry_on()
    assert world.stand.status == "blocked"
    assert world.resume().outcome == ("completed", "done>z")


def test_the_question_of_a_failed_run_is_asked_anew_when_it_is_continued() -> None:
    world = run(_plan(), ASKS)
    first = world.events(ev.HumanAsked)[0]
    world.add(ev.RunFailed("boom", "by hand"))
    world.carry_on()
    again = world.events(ev.HumanAsked)[-1]
    assert (again.about, again.subject) == (first.about, first.subject)
    assert again.continuation_id != first.continuation_id
    assert world.resume().outcome == ("completed", "done>z")


def test_a_denied_call_fails_the_step_or_is_told_as_the_policy_says() -> None:
    from dataclasses import replace

    from kneo_serv.model.tool import OnDeny, ToolPolicy

    script: Script = {"a": [Says(tools=("look",)), Says("done")], "look": Denied("not today")}
    assert run(_plan(), script).outcome == ("failed", "tool_policy_denied")
    told = _plan()
    lenient = replace(told.agents["a"], tool_policy=ToolPolicy(on_deny=OnDeny.TELL_MODEL))
    world = run(replace(told, agents={**told.agents, "a": lenient}), script)
    assert world.outcome == ("completed", "done>z")
    assert tool_answers(world.sent[1]) == ["Error: not today"]


@pytest.mark.parametrize(("effect", "status"), [(Effect.ONCE, "blocked"), (None, "completed")])
def test_a_call_that_ran_out_of_time_is_in_doubt_where_it_must_not_happen_twice(
    effect: Effect | None, status: str
) -> None:
    script: Script = {"a": [Says(tools=("pay",)), Says("done")]}
    world = World(_plan(effect), script)
    world.advance()
    world.land()
    world.advance()
    flight = world.flights.pop()
    assert isinstance(flight.effect, CallTool)
    world.add(ev.ToolCallFailed(flight.effect.key, "a", "call_0", "pay", "StepTimeoutError", "slow", uncertain=True))
    assert world.go().outcome[0] == status
    if status == "blocked":
        assert _asking(world).calls[0].phase is CallPhase.READY
        assert world.resume(decision=Decision.PROVIDED, content="it was paid").outcome == ("completed", "done>z")
        assert tool_answers(world.sent[1]) == ["it was paid"]
