"""What a run, and an agent within it, may use."""

from dataclasses import replace

import pytest

from kneo_serv.model import event as ev
from kneo_serv.model.plan import AgentPlan, Budget, Limits, OnBudget, OnError, Plan
from kneo_serv.model.task import Decision
from tests.engine.simulation import World, run
from tests.engine.worlds import REACT, Says, Script, agent, concurrent, function, human, plan, sequential


def _plan(budget: Budget | None = None, *, run_budget: Budget | None = None) -> Plan:
    return plan(
        sequential(agent("a"), agent("b"), function("z")),
        agents={"a": AgentPlan("a", strategy=REACT, budget=budget), "b": AgentPlan("b")},
        tools={"t": None},
        limits=Limits(budget=run_budget),
    )


TWO_TURNS: Script = {"a": [Says(tools=("t",), tokens=60, dollars=0.6), Says("one", tokens=60, dollars=0.6)]}


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        (Budget(tokens=50), "used 60 tokens; its budget is 50"),
        (Budget(cost_usd=0.5), "used 0.6 US dollars; its budget is 0.5"),
        (Budget(calls=1), "used 1 questions to models; its budget is 1"),
    ],
)
@pytest.mark.parametrize("scope", ["agent", "run"])
def test_a_budget_that_is_used_up_ends_the_run_before_the_next_question(budget: Budget, said: str, scope: str) -> None:
    world = run(_plan(budget) if scope == "agent" else _plan(run_budget=budget), TWO_TURNS)
    assert world.outcome == ("failed", "budget_exceeded")
    assert world.run.error_message == f"{'Agent ' + repr('a') if scope == 'agent' else 'The run'} {said}."
    assert world.begun == ["a", "t"]


def test_what_fits_exactly_is_within_the_budget() -> None:
    script: Script = {"a": [Says(tools=("t",), tokens=60), Says("one", tokens=60)], "b": Says("two")}
    assert run(_plan(Budget(tokens=121)), script).outcome == ("completed", "two>z")
    assert run(_plan(run_budget=Budget(calls=3)), script).outcome == ("completed", "two>z")
    assert run(_plan(run_budget=Budget(calls=2)), script).outcome == ("failed", "budget_exceeded")


def test_a_budget_of_one_agent_does_not_bind_another() -> None:
    assert run(_plan(Budget(calls=2)), {**TWO_TURNS, "b": Says("two", tokens=10_000)}).outcome[0] == "completed"


def test_all_steps_of_an_agent_use_one_budget() -> None:
    made = plan(sequential(agent("x", "a"), agent("y", "a")), agents={"a": AgentPlan("a", budget=Budget(calls=1))})
    world = run(made)
    assert world.outcome == ("failed", "budget_exceeded")
    assert world.completed() == ["x#1"]


def test_no_on_error_absorbs_a_budget() -> None:
    made = plan(
        sequential(agent("x", "a", on_error=OnError.CONTINUE), agent("y", "a", on_error=OnError.CONTINUE)),
        agents={"a": AgentPlan("a", budget=Budget(calls=1))},
    )
    assert run(made).outcome == ("failed", "budget_exceeded")


@pytest.mark.parametrize("scope", ["agent", "run"])
def test_a_person_may_grant_as_much_again(scope: str) -> None:
    budget = Budget(tokens=50, on_budget=OnBudget.ASK)
    world = run(_plan(budget) if scope == "agent" else _plan(run_budget=budget), TWO_TURNS)
    assert world.outcome[0] == "blocked"
    (asked,) = world.events(ev.HumanAsked)
    assert asked.about == "budget"
    assert "60 tokens; its budget is 50" in asked.request.prompt
    world.resume()
    if scope == "run":
        # The second agent finds 120 of 100 used.
        assert world.outcome[0] == "blocked"
        world.resume()
    assert world.outcome == ("completed", "one>b>z")


def test_a_person_may_refuse_more() -> None:
    budget = Budget(tokens=50, on_budget=OnBudget.ASK)
    world = run(_plan(budget), TWO_TURNS).resume(decision=Decision.REJECTED, content="enough")
    assert world.outcome == ("failed", "budget_exceeded")
    assert world.run.error_message == "The budget is used up, and a person refused more: enough."


def test_time_counts_while_at_work_and_not_while_people_are_waited_for() -> None:
    made = plan(
        sequential(agent("x", "a"), human("h"), agent("y", "a")),
        agents={"a": AgentPlan("a", budget=Budget(seconds=10))},
        limits=Limits(budget=Budget(seconds=20)),
    )
    world = World(made)
    world.advance()
    world.now += 6
    world.land()
    world.advance()
    assert world.stand.status == "blocked"
    world.now += 100_000
    world.answer()
    world.now += 1
    world.leg(ev.LegReason.RESUME)
    world.advance()
    assert [flight.name for flight in world.flights] == ["a"]
    assert world.run.seconds == 6
    assert world.run.spent["a"].seconds == 6
    world.now += 5
    world.land()
    assert world.run.seconds == 11
    world.advance()
    assert world.run.spent["a"].seconds == 11
    assert world.run.status == "completed"


def test_an_agent_that_took_too_long_asks_no_more() -> None:
    world = World(_plan(Budget(seconds=10)), TWO_TURNS)
    world.advance()
    world.now += 11
    world.land()
    world.advance()
    world.land()
    world.advance()
    assert world.outcome == ("failed", "budget_exceeded")
    assert world.run.error_message == "Agent 'a' used 11 seconds; its budget is 10."


def test_a_slow_function_uses_the_time_of_its_run() -> None:
    made = plan(sequential(function("slow"), function("z")), limits=Limits(budget=Budget(seconds=5)))
    world = World(made)
    world.advance()
    world.now += 6
    world.land()
    world.advance()
    assert world.outcome == ("failed", "budget_exceeded")


def test_what_agents_use_side_by_side_is_told_apart() -> None:
    made = plan(concurrent(agent("x", "a"), agent("y", "b")), agents={"a": AgentPlan("a"), "b": AgentPlan("b")})
    world = World(made, {"a": Says("one", tokens=1), "b": Says("two", tokens=2)})
    world.advance()
    world.now += 3
    world.land()
    world.now += 4
    world.land()
    world.advance()
    assert {name: spent.usage.input_tokens for name, spent in world.run.spent.items()} == {"a": 1, "b": 2}
    assert world.run.usage.input_tokens == 3
    assert world.run.seconds == 7
    assert [event.usage and event.usage.input_tokens for event in world.events(ev.StepCompleted)] == [1, 2]


def test_a_fork_counts_from_its_beginning() -> None:
    world = run(_plan(Budget(tokens=50, on_budget=OnBudget.ASK)), TWO_TURNS)
    from kneo_serv.engine import evolve
    from kneo_serv.model.ids import PlanHash, RunId

    fork = evolve(
        world.plan,
        world.run,
        ev.Recorded(world.run.seq + 1, world.now, ev.RunForked(RunId("parent"), 1, 1, PlanHash("plan"))),
    )
    assert (fork.seconds, dict(fork.spent), dict(fork.grants), dict(fork.clocks)) == (0.0, {}, {}, {})
    assert replace(fork.usage, requests=0) == replace(fork.usage)
