"""How a run stands: at work, waiting for a timer, or resting on people."""

from kneo_serv.engine import posture
from kneo_serv.model import event as ev
from kneo_serv.model.ids import RunId
from kneo_serv.model.plan import AgentPlan, FunctionPlan, Strategy, StrategyType
from kneo_serv.model.run import Phase, Run, RunStatus
from kneo_serv.model.tool import Effect
from tests.engine.simulation import World, run
from tests.engine.worlds import Fails, Says, agent, concurrent, function, human, plan, sequential, workflow


def _stand(world: World) -> tuple[str, str]:
    return world.stand.status.value, world.stand.phase.value


RUNNABLE = ("running", "runnable")
TIMER = ("running", "waiting_timer")
BLOCKED = ("blocked", "waiting_human")


def test_a_run_that_was_just_created_is_runnable() -> None:
    assert posture(Run(RunId("r"))).phase is Phase.RUNNABLE
    assert _stand(World(plan(sequential(function("a"))))) == RUNNABLE


def test_a_run_at_work_tells_its_step() -> None:
    world = World(plan(sequential(function("a"), function("b"))))
    world.advance()
    assert (world.stand.step_id, world.stand.step_index) == ("a", 0)
    world.land_named("a")
    assert (world.stand.step_id, world.stand.step_index) == ("b", 1)


def test_a_run_between_two_steps_is_runnable() -> None:
    world = World(plan(sequential(function("a"), function("b"))))
    world.advance()
    world.land()
    assert _stand(world) == RUNNABLE


def test_a_branch_between_two_steps_is_no_rest() -> None:
    flows = {"w": sequential(function("a"), function("b"))}
    world = World(plan(concurrent(workflow("w"), human("h")), flows=flows))
    world.advance()
    world.land()  # as when a platform shuts down: the outcome is journaled, nothing else begins
    assert _stand(world) == RUNNABLE


def test_a_run_is_blocked_only_when_every_branch_waits_for_a_person() -> None:
    world = World(plan(concurrent(human("h1"), function("a"), human("h2"))))
    world.advance()
    assert _stand(world) == RUNNABLE
    assert world.stand.continuation_id == "cont_2"
    world.land_named("a")
    assert _stand(world) == BLOCKED
    world.answer("h1")
    assert _stand(world) == RUNNABLE
    world.advance()
    assert _stand(world) == BLOCKED


def test_a_branch_at_depth_keeps_the_run_from_resting() -> None:
    world = World(plan(concurrent(human("h"), workflow("w")), flows={"w": concurrent(human("g"), function("a"))}))
    world.advance()
    assert _stand(world) == RUNNABLE
    world.land_named("a")
    assert _stand(world) == BLOCKED


def test_an_interrupted_branch_is_runnable_beside_a_question() -> None:
    world = World(plan(concurrent(human("h"), function("a"))))
    world.advance()
    world.interrupt()
    assert _stand(world) == RUNNABLE


def test_a_retry_is_waited_for() -> None:
    world = World(plan(sequential(function("a", max_retries=1, backoff_seconds=4))), {"a": [Fails()]})
    world.advance()
    world.land_named("a")
    assert _stand(world) == TIMER
    assert world.stand.retry_at == 1004


def test_a_retry_beside_a_question_is_waited_for() -> None:
    flow = concurrent(human("h"), function("a", max_retries=1))
    world = World(plan(flow), {"a": [Fails()]})
    world.advance()
    world.land_named("a")
    assert _stand(world) == TIMER
    assert world.stand.continuation_id is not None
    world.go()
    assert _stand(world) == BLOCKED


def test_the_earliest_of_several_retries_counts() -> None:
    flow = concurrent(
        function("a", max_retries=1, backoff_seconds=9),
        function("b", max_retries=1, backoff_seconds=3),
        workflow("w"),
    )
    world = World(
        plan(flow, flows={"w": sequential(function("c", max_retries=1, backoff_seconds=6))}),
        {name: [Fails()] for name in "abc"},
    )
    world.advance()
    for name in "abc":
        world.land_named(name)
    assert _stand(world) == TIMER
    assert world.stand.retry_at == 1003


def test_a_retry_is_told_also_while_another_branch_is_at_work() -> None:
    world = World(plan(concurrent(function("a", max_retries=1), function("b"))), {"a": [Fails()]})
    world.advance()
    world.land_named("a")
    assert _stand(world) == RUNNABLE
    assert world.stand.retry_at == 1000.5
    world.tick()
    world.advance()
    assert [flight.name for flight in world.flights] == ["b", "a"]


def test_a_failed_branch_waits_for_a_retry_beside_it() -> None:
    flow = concurrent(function("a"), function("b", max_retries=1), human("h"))
    world = World(plan(flow), {"a": Fails("bad"), "b": [Fails()]})
    world.advance()
    world.land_named("a")
    world.land_named("b")
    assert _stand(world) == TIMER
    assert world.go().outcome == ("failed", "bad")


def test_a_failed_branch_beside_a_question_is_no_rest() -> None:
    world = World(plan(concurrent(function("a"), human("h"))), {"a": Fails()})
    world.advance()
    world.land()
    assert _stand(world) == RUNNABLE


def test_a_failed_branch_at_depth_is_no_rest() -> None:
    flows = {"w": concurrent(function("a"), human("g"))}
    world = World(plan(concurrent(workflow("w", max_retries=1), human("h")), flows=flows), {"a": [Fails()]})
    world.advance()
    world.land()
    assert _stand(world) == RUNNABLE
    world.advance()
    assert _stand(world) == TIMER
    world.go()
    assert _stand(world) == BLOCKED


def test_a_question_about_an_uncertain_call_is_a_rest() -> None:
    world = World(
        plan(
            sequential(agent("a")),
            agents={"a": AgentPlan("a", strategy=Strategy(StrategyType.REACT))},
            tools={"pay": Effect.ONCE, "t": None},
        ),
        {"a": Says(tools=("pay", "t"))},
    )
    world.advance()
    world.land_named("a")
    assert _stand(world) == RUNNABLE
    world.interrupt().go()
    assert _stand(world) == BLOCKED


def test_a_continued_run_is_runnable() -> None:
    world = run(plan(concurrent(function("a"), human("h"), function("b", max_retries=1))), {"a": [Fails()]})
    world.add(ev.RunContinued())
    assert _stand(world) == RUNNABLE


def test_an_ended_run_stands_still() -> None:
    world = run(plan(sequential(function("a"))))
    assert (world.stand.status, world.stand.phase) == (RunStatus.COMPLETED, Phase.ENDED)


def test_what_nobody_is_asked_about_any_more_waits_for_the_retry_beside_it() -> None:
    made = plan(
        concurrent(function("pay"), function("bad"), function("again", max_retries=1)),
        functions={"pay": FunctionPlan("app:pay", Effect.ONCE)},
    )
    world = World(made, {"bad": Fails(), "again": [Fails(), "done"]})
    world.advance()
    world.land_named("bad")
    world.land_named("again")
    world.interrupt().advance()
    assert world.stand.phase == "waiting_timer"
    assert world.go().outcome == ("failed", "boom")
