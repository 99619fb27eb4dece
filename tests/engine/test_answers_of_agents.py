"""Plans that agents make for themselves, and answers that have to fit a schema."""

from dataclasses import replace

import pytest

from kneo_serv.engine import RunAgentTurn
from kneo_serv.model import event as ev
from kneo_serv.model.message import Role, ToolCall
from kneo_serv.model.plan import AgentPlan, Plan, Strategy, StrategyType
from kneo_serv.model.task import Decision
from kneo_serv.model.tool import Effect
from tests.engine.simulation import World, run
from tests.engine.worlds import REACT, Fails, Says, Script, agent, function, plan, sequential

PLAN_ACT = Strategy(StrategyType.PLAN_ACT)


def _plan(strategy: Strategy = REACT, effect: Effect | None = None, **agent_plan: object) -> Plan:
    return plan(
        sequential(agent("a", max_retries=1), function("z")),
        agents={"a": AgentPlan("a", strategy=strategy, **agent_plan)},  # type: ignore[arg-type]
        tools={"t": effect},
    )


def _turns(world: World) -> list[RunAgentTurn]:
    return [flight.effect for flight in world.flights if isinstance(flight.effect, RunAgentTurn)]


def test_plan_act_makes_a_plan_first_and_then_carries_it_out() -> None:
    world = World(_plan(PLAN_ACT), {"a": ["1. call t", Says(tools=("t",)), "done"]})
    world.advance()
    (planning,) = _turns(world)
    assert (planning.planning, planning.outline, planning.turn) == (True, None, 1)
    world.land()
    world.advance()
    (acting,) = _turns(world)
    assert (acting.planning, acting.outline, acting.turn) == (False, "1. call t", 2)
    assert [message.role for message in acting.messages] == [Role.USER]
    assert world.go().outcome == ("completed", "done>z")
    assert len(world.events(ev.StepStarted)) == 2


def test_the_plan_is_no_turn_of_those_that_are_bounded() -> None:
    bounded = replace(PLAN_ACT, max_iterations=1)
    assert run(_plan(bounded), {"a": ["plan", "done"]}).outcome == ("completed", "done>z")
    made = plan(sequential(agent("a")), agents={"a": AgentPlan("a", strategy=bounded)}, tools={"t": None})
    assert run(made, {"a": ["plan", Says(tools=("t",))]}).outcome == ("failed", "max_iterations")


def test_a_plan_survives_a_crash_and_a_lost_answer() -> None:
    world = World(_plan(PLAN_ACT), {"a": ["plan", Fails(), "done"]})
    world.advance()
    world.land()
    world.advance()
    world.interrupt()
    world.advance()
    assert _turns(world)[0].outline == "plan"
    assert world.go().outcome == ("completed", "done>z")
    assert world.begun == ["a", "a", "a", "a", "z"]


def test_wishes_for_tools_in_the_plan_are_passed_over() -> None:
    world = run(_plan(PLAN_ACT), {"a": [Says("plan", ("t",)), "done"]})
    assert world.outcome == ("completed", "done>z")
    assert "t" not in world.begun


def test_an_answer_that_does_not_fit_is_asked_for_again_with_the_reason() -> None:
    world = run(_plan(output_schema={}), {"a": [Says("nope", misfit="$: expected object."), Says("{}")]})
    assert world.outcome == ("completed", "{}>z")
    asked_again = world.sent[1]
    assert [message.role for message in asked_again] == [Role.USER, Role.ASSISTANT, Role.USER]
    assert asked_again[1].content == "nope"
    assert "$: expected object." in asked_again[2].content


@pytest.mark.parametrize("retries", [0, 1])
def test_an_agent_whose_answers_never_fit_fails(retries: int) -> None:
    script: Script = {"a": Says("nope", misfit="$: expected object.")}
    made = plan(sequential(agent("a")), agents={"a": AgentPlan("a", output_schema={}, output_retries=retries)})
    world = run(made, script)
    assert world.outcome == ("failed", "output_invalid")
    assert world.run.error_message == "The answer does not fit output_schema: $: expected object."
    assert world.begun == ["a"] * (retries + 1)
    world.script = {"a": Says("{}")}
    assert world.carry_on().outcome == ("completed", "{}")


def test_asking_again_is_no_turn_of_those_that_are_bounded() -> None:
    script: Script = {"a": [Says("nope", misfit="no."), Says("nope", misfit="no."), Says("{}")]}
    made = _plan(replace(REACT, max_iterations=1), output_schema={})
    assert run(made, script).outcome == ("completed", "{}>z")


# --- calls within a turn --------------------------------------------------------------------------------------------


def _inner(world: World, number: int, *, output: str | None = None, name: str = "t") -> None:
    """A runtime with a loop of its own calls a tool, and perhaps has its answer."""
    (turn,) = _turns(world)
    call = ToolCall(f"inner_{number}", name, {"n": number})
    world.add(ev.ToolCallStarted(turn.key, "a", call.id, name, number, inner=call))
    if output is not None:
        world.add(ev.ToolCallCompleted(turn.key, "a", call.id, name, output))


def test_calls_within_a_turn_leave_the_turn_at_work() -> None:
    world = World(_plan(), {"a": "done"})
    world.advance()
    _inner(world, 1, output="one")
    _inner(world, 2)
    assert world.stand.status == "running"
    assert world.go().outcome == ("completed", "done>z")
    assert world.begun == ["a", "z"]


def test_an_interrupted_turn_knows_what_its_calls_gave_before() -> None:
    world = World(_plan(), {"a": "done"})
    world.advance()
    _inner(world, 1, output="one")
    _inner(world, 2)
    world.interrupt()
    world.advance()
    (turn,) = _turns(world)
    assert [(call.call.arguments["n"], call.output) for call in turn.settled] == [(1, "one")]
    assert turn.call_count == 2
    assert [message.role for message in turn.messages] == [Role.USER]
    assert world.go().outcome == ("completed", "done>z")


@pytest.mark.parametrize(("decision", "known"), [(Decision.APPROVED, []), (Decision.PROVIDED, ["it happened"])])
def test_a_call_in_doubt_within_a_turn_waits_for_a_person(decision: Decision, known: list[str]) -> None:
    world = World(_plan(effect=Effect.ONCE), {"a": "done"})
    world.advance()
    _inner(world, 1)
    world.interrupt().go()
    assert world.outcome == ("blocked", None)
    assert world.begun == ["a"]
    world.answer(decision=decision, content="it happened")
    world.leg(ev.LegReason.RESUME)
    world.advance()
    (turn,) = _turns(world)
    assert [call.output for call in turn.settled] == known
    assert world.go().outcome == ("completed", "done>z")


def test_a_person_may_stop_a_run_whose_inner_call_is_in_doubt() -> None:
    world = World(_plan(effect=Effect.ONCE), {"a": "done"})
    world.advance()
    _inner(world, 1)
    world.interrupt().go()
    assert world.resume(decision=Decision.REJECTED).outcome == ("failed", "effect_uncertain")
