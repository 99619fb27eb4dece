"""Limits of a run, and the purity of decisions."""

import pytest

from kneo_serv.engine import decide
from kneo_serv.model.plan import AgentPlan, Limits, Strategy, StrategyType
from kneo_serv.model.run import RunStatus
from tests.engine.simulation import World, run
from tests.engine.worlds import Fails, Says, agent, concurrent, contains, edge, function, graph, human, plan, sequential


def test_a_run_that_uses_too_many_tokens_fails() -> None:
    flow = sequential(agent("a"), agent("b"), function("c"))
    script = {"a": Says("x", tokens=60), "b": Says("y", tokens=41)}
    world = run(plan(flow, limits=Limits(token_budget=100)), script)
    assert world.outcome == ("failed", "token_budget_exceeded")
    assert world.begun == ["a", "b"]
    assert run(plan(flow, limits=Limits(token_budget=101)), script).outcome[0] == "completed"


def test_tokens_of_lost_attempts_count() -> None:
    strategy = Strategy(StrategyType.REACT, max_iterations=1)
    whole = plan(
        sequential(agent("a", max_retries=5)),
        agents={"a": AgentPlan("a", strategy=strategy)},
        tools={"t": None},
        limits=Limits(token_budget=100),
    )
    world = run(whole, {"a": Says(tools=("t",), tokens=60)})
    assert world.outcome == ("failed", "token_budget_exceeded")
    assert world.run.usage.total_tokens == 120


def test_a_limit_waits_for_what_has_begun() -> None:
    world = World(plan(concurrent(agent("a"), function("b")), limits=Limits(token_budget=1)), {"a": Says(tokens=2)})
    world.advance()
    world.land_named("a")
    assert world.run.status is RunStatus.RUNNING
    world.land_named("b")
    assert world.outcome == ("failed", "token_budget_exceeded")


def test_a_limit_does_not_wait_for_people() -> None:
    world = run(plan(concurrent(agent("a"), human("h")), limits=Limits(token_budget=1)), {"a": Says(tokens=2)})
    assert world.outcome == ("failed", "token_budget_exceeded")


def test_a_run_with_too_many_events_fails() -> None:
    loop = graph(function("a"), edges=(edge("a", "a", contains("in")),), max_steps=1_000)
    world = run(plan(loop, limits=Limits(max_events=100)))
    assert world.outcome == ("failed", "limit_exceeded")
    assert world.run.seq <= 105


def test_a_limit_that_was_passed_meanwhile_is_told_at_the_next_leg() -> None:
    world = World(plan(sequential(function("a")), limits=Limits(max_events=3)))
    world.advance()
    assert world.flights
    assert world.interrupt().go().outcome == ("failed", "limit_exceeded")


def test_deciding_changes_nothing_and_says_the_same_again() -> None:
    world = World(plan(concurrent(function("a"), human("h"), agent("b"))))
    before = world.run
    commands = decide(world.plan, world.run, world.now)
    assert len(commands) == 3
    assert decide(world.plan, world.run, world.now) == commands
    assert world.run == before


@pytest.mark.parametrize("later", [0.0, 0.25])
def test_the_time_is_an_argument(later: float) -> None:
    world = World(plan(sequential(function("a", max_retries=1))), {"a": [Fails()]})
    world.advance()
    world.land()
    (wait,) = decide(world.plan, world.run, world.now + later)
    assert type(wait).__name__ == "Wait"
    (call,) = decide(world.plan, world.run, world.now + 0.5)
    assert type(call).__name__ == "CallFunction"
