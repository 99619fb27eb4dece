"""Nested workflows: frames inside the same run, with people at any depth."""

import pytest

from kneo_serv.engine import evolve, withdrawn
from kneo_serv.model import event as ev
from kneo_serv.model.plan import ROOT, AgentPlan, FunctionPlan, OnError, Plan
from kneo_serv.model.task import Decision
from kneo_serv.model.tool import Effect
from tests.engine.simulation import World, run
from tests.engine.worlds import (
    Fails,
    agent,
    concurrent,
    edge,
    function,
    graph,
    human,
    plan,
    sequential,
    workflow,
)


def test_the_end_of_the_inner_is_the_text_of_the_outer_step() -> None:
    world = run(
        plan(
            sequential(function("a"), workflow("w"), function("z")), flows={"w": sequential(function("b"), agent("c"))}
        )
    )
    assert world.outcome == ("completed", "in>a>b>c>z")
    assert world.completed() == ["a#1", "w#1/b#1", "w#1/c#1", "w#1", "z#1"]


def test_a_workflow_answers_for_an_agent() -> None:
    world = run(
        plan(
            sequential(agent("a"), function("z")),
            agents={"a": AgentPlan("a", as_agent="w")},
            flows={"w": sequential(function("b"), human("h"))},
        )
    )
    assert world.asked == ["main/a#1/h#1"]
    assert world.resume().outcome == ("completed", "in>b>z")


def test_a_workflow_answers_for_the_root_agent() -> None:
    inner = {"w": sequential(human("h"))}
    world = World(plan(None, agents={ROOT: AgentPlan("root", as_agent="w")}, flows=inner), target="agent").go()
    assert world.asked == ["main/root#1/h#1"]
    assert world.resume(None, Decision.EDITED, "ok").outcome == ("completed", "ok")


def _deep() -> Plan:
    return plan(
        sequential(workflow("w1"), function("end")),
        flows={
            "w1": concurrent(workflow("w2"), human("h1")),
            "w2": graph(function("a"), workflow("w3"), edges=(edge("a", "w3"),)),
            "w3": sequential(human("h2"), function("b"), human("h3"), function("c")),
        },
    )


def test_people_are_asked_at_any_depth_and_answer_in_any_order() -> None:
    world = run(_deep())
    assert world.asked == ["main/w1#1/w2#1/w3#1/h2#1", "main/w1#1/h1#1"]
    world.resume("h2", Decision.EDITED, "x")
    assert world.asked == ["main/w1#1/w2#1/w3#1/h3#1", "main/w1#1/h1#1"]
    world.resume("h1", Decision.EDITED, "y")
    assert world.asked == ["main/w1#1/w2#1/w3#1/h3#1"]
    world.resume("h3")
    assert world.outcome == ("completed", "y>end")
    assert world.begun == ["a", "b", "c", "end"]


def test_an_interruption_at_depth_resumes_the_innermost_step_alone() -> None:
    world = run(_deep())
    world.answer("h2", Decision.EDITED, "x")
    world.leg(ev.LegReason.RESUME)
    world.advance()
    assert [flight.name for flight in world.flights] == ["b"]
    world.interrupt().go()
    assert world.begun == ["a", "b", "b"]


def test_another_attempt_of_a_nested_workflow_gets_fresh_keys() -> None:
    inner = {"w": sequential(function("b"), function("c"))}
    world = run(plan(sequential(workflow("w", max_retries=1)), flows=inner), {"c": [Fails(), "ok"]})
    assert world.outcome == ("completed", "ok")
    assert world.completed() == ["w#1/b#1", "w#1@2/b#1", "w#1@2/c#1", "w#1"]


def test_a_continued_nested_workflow_does_not_repeat_its_finished_steps() -> None:
    inner = {"w": sequential(function("b"), workflow("v"), function("d")), "v": sequential(function("c"))}
    world = run(plan(sequential(workflow("w"), function("z")), flows=inner), {"c": [Fails()]})
    assert world.outcome == ("failed", "boom")
    assert world.run.failed_step == "w"
    assert world.carry_on().outcome == ("completed", "in>b>c>d>z")
    assert world.begun == ["b", "c", "c", "d", "z"]


def test_a_continued_nested_workflow_gets_its_retries_again() -> None:
    inner = {"w": sequential(function("b", max_retries=1), function("c"))}
    world = run(plan(sequential(workflow("w", max_retries=1)), flows=inner), {"b": [Fails()] * 5})
    assert world.begun == ["b"] * 4
    assert world.carry_on().outcome == ("completed", "in>b>c")
    assert world.begun == ["b"] * 6 + ["c"]


def test_a_failure_inside_is_absorbed_outside() -> None:
    inner = {"w": sequential(function("b"), function("c"))}
    outer = sequential(function("a"), workflow("w", on_error=OnError.CONTINUE), function("z"))
    world = run(plan(outer, flows=inner), {"c": Fails()})
    assert world.outcome == ("completed", "in>a>z")


def test_a_workflow_stands_in_for_a_step() -> None:
    outer = sequential(function("a", on_error=OnError.FALLBACK, fallback="w"), workflow("w"))
    world = run(plan(outer, flows={"w": sequential(function("b"))}), {"a": Fails()})
    assert world.outcome == ("completed", "in>b>b")
    assert world.completed() == ["a#1~w/b#1", "a#1~w", "w#1/b#1", "w#1"]


def test_the_same_workflow_may_be_used_twice() -> None:
    outer = concurrent(workflow("x", "w"), workflow("y", "w"))
    world = run(plan(outer, flows={"w": sequential(human("h"), function("b"))}))
    assert world.asked == ["main/x#1/h#1", "main/y#1/h#1"]


def test_a_question_in_a_workflow_that_is_given_up_is_withdrawn() -> None:
    inner = {"w": concurrent(function("b"), human("h"))}
    outer = sequential(workflow("w", on_error=OnError.CONTINUE), human("end"))
    world = run(plan(outer, flows=inner), {"b": Fails()})
    assert world.asked == ["main/end#1"]
    place = next(
        place
        for place, recorded in enumerate(world.journal)
        if isinstance(recorded.event, ev.StepFailed) and recorded.event.key == "main/w#1"
    )
    event = world.journal[place].event
    assert isinstance(event, ev.StepFailed)
    gone = withdrawn(world.runs[place - 1], event)
    assert [state.key for state in gone] == ["main/w#1/h#1"]


def test_nothing_is_withdrawn_when_the_run_fails_since_it_may_be_continued() -> None:
    world = run(plan(sequential(workflow("w")), flows={"w": concurrent(function("b"), human("h"))}), {"b": Fails()})
    (inner, outer) = world.events(ev.StepFailed)
    assert (inner.key, outer.key) == ("main/w#1/b#1", "main/w#1")
    assert withdrawn(world.runs[-3], outer) == []


@pytest.mark.parametrize("step_id", ["a/b", "a#2", "a~b", "a@2", "a%2F", "ä"])
def test_any_id_makes_a_key_of_its_own(step_id: str) -> None:
    world = run(plan(sequential(workflow(step_id, "w"), function("z")), flows={"w": sequential(function(step_id))}))
    assert world.outcome == ("completed", f"in>{step_id}>z")


def test_a_person_decides_about_an_uncertain_effect_at_depth() -> None:
    world = World(
        plan(
            sequential(workflow("w")),
            flows={"w": sequential(function("pay"))},
            functions={"pay": FunctionPlan("app:pay", Effect.ONCE)},
        )
    )
    world.advance()
    world.interrupt().go()
    assert world.asked == ["main/w#1/pay#1"]
    assert world.resume(None, Decision.PROVIDED, "paid").outcome == ("completed", "paid")


def test_an_event_that_does_not_follow_is_a_fault_of_the_journal() -> None:
    world = run(plan(sequential(human("h"))))
    for event in (
        ev.StepCompleted(world.events(ev.HumanAsked)[0].key, "h", "x", 0),
        ev.LegStarted("worker", 9, ev.LegReason.START),
    ):
        with pytest.raises(ValueError, match="does not follow"):
            evolve(world.plan, world.run, ev.Recorded(99, 0.0, event))
