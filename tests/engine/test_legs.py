"""Runs that are continued after they failed, from any place in any type of workflow."""

from collections.abc import Sequence

import pytest

from kneo_serv.engine import JournalFault, decide, evolve
from kneo_serv.model import event as ev
from kneo_serv.model.ids import RunId, StepKey
from kneo_serv.model.plan import Flow, HumanPlan, OnError, OnReject, Step
from kneo_serv.model.run import Run, RunStatus
from kneo_serv.model.task import Decision
from tests.engine.simulation import World, run
from tests.engine.worlds import (
    Fails,
    Script,
    concurrent,
    edge,
    function,
    graph,
    group_chat,
    handoff,
    human,
    plan,
    sequential,
    workflow,
)


def _steps(**policy: OnError) -> tuple[Step, ...]:
    return tuple(function(step_id, **policy) for step_id in "abc")


FLOWS: Sequence[tuple[Flow, list[str], str]] = [
    (sequential(*_steps()), ["a", "b", "c"], "in>a>b>c"),
    (concurrent(*_steps()), ["a", "b", "c"], "in>c"),
    (handoff(*_steps(), order=("b", "a", "b")), ["b", "a", "b"], "in>b>a>b"),
    (group_chat(*_steps()[:2], rounds=2), ["a", "b", "a", "b"], "in>a>b>a>b"),
    (graph(*_steps(), edges=(edge("a", "b"), edge("b", "c"))), ["a", "b", "c"], "in>a>b>c"),
]
"""A workflow, the steps that it does, and what it comes to."""


@pytest.mark.parametrize(
    ("flow", "order", "text", "place"),
    [
        pytest.param(flow, order, text, place, id=f"{flow.type}-{place}")
        for flow, order, text in FLOWS
        for place in range(len(order))
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_a_continued_run_goes_on_at_the_failed_step(
    flow: Flow, order: list[str], text: str, place: int, nested: bool
) -> None:
    failing = order[place]
    turns_before = order[:place].count(failing)
    whole = plan(sequential(workflow("w")), flows={"w": flow}) if nested else plan(flow)

    def says(heard: str) -> str:
        return f"{heard}>{failing}"

    world = run(whole, {failing: [*[says] * turns_before, Fails()]})
    assert world.outcome == ("failed", "boom")
    assert world.carry_on().outcome == ("completed", text)
    assert sorted(world.begun) == sorted([*order, failing])


def test_siblings_that_had_finished_are_not_repeated() -> None:
    world = run(plan(concurrent(*_steps())), {"b": [Fails()]})
    assert world.carry_on().outcome == ("completed", "in>c")
    assert world.begun == ["a", "b", "c", "b"]


def test_a_question_that_failed_with_its_run_is_asked_anew() -> None:
    world = run(plan(concurrent(function("a"), human("h"))), {"a": [Fails()]})
    assert world.outcome == ("failed", "boom")
    world.carry_on()
    assert world.asked == ["main/h#1"]
    before, after = world.events(ev.HumanAsked)
    assert before.continuation_id != after.continuation_id
    assert world.resume(None, Decision.EDITED, "mine").outcome == ("completed", "mine")


def test_an_answer_that_came_before_the_failure_still_counts() -> None:
    flow = concurrent(function("a"), human("h"), function("b"))
    world = World(plan(flow), {"a": [Fails()]})
    world.advance()
    world.land_named("a")
    world.answer("h", Decision.EDITED, "mine")
    world.go()
    assert world.outcome == ("failed", "boom")
    assert world.carry_on().outcome == ("completed", "in>b")
    assert len(world.events(ev.HumanAsked)) == 1


def test_a_rejected_question_is_asked_again_when_the_run_is_continued() -> None:
    world = run(plan(sequential(human("h"), function("b")), humans={"h": HumanPlan(on_reject=OnReject.FAIL)}))
    world.resume(None, Decision.REJECTED)
    assert world.carry_on().asked == ["main/h#1"]
    assert world.resume().outcome == ("completed", "in>b")


def test_a_continued_run_gets_its_retries_again() -> None:
    script: Script = {"a": [Fails(), Fails(), Fails(), "done"]}
    world = run(plan(sequential(function("a", max_retries=1))), script)
    assert world.outcome == ("failed", "boom")
    assert world.carry_on().outcome == ("completed", "done")
    assert [started.attempt for started in world.events(ev.StepStarted)] == [1, 2, 3, 4]


def test_a_stand_in_that_failed_is_tried_again_itself() -> None:
    steps = function("a", on_error=OnError.FALLBACK, fallback="b"), function("b")
    world = run(plan(sequential(*steps)), {"a": Fails(), "b": [Fails()]})
    assert world.carry_on().outcome == ("completed", "in>b>b")
    assert world.begun == ["a", "b", "b", "b"]


def test_a_run_may_be_continued_again_and_again() -> None:
    world = run(plan(sequential(*_steps())), {"a": [Fails()], "b": [Fails(), Fails()], "c": [Fails()]})
    for _ in range(4):
        assert world.outcome == ("failed", "boom")
        world.carry_on()
    assert world.outcome == ("completed", "in>a>b>c")


def test_a_parked_run_keeps_its_open_questions_when_it_is_continued() -> None:
    world = run(plan(concurrent(human("h"), function("a"))))
    world.add(ev.RunContinued("operator"))
    world.leg(ev.LegReason.CONTINUE)
    world.go()
    assert len(world.events(ev.HumanAsked)) == 1
    assert world.resume().outcome == ("completed", "in>a")


@pytest.mark.parametrize(
    "end",
    [
        ev.RunCancelled("enough"),
        ev.RunTimedOut(5, 1005.0, "running"),
        ev.RunFailed("dead_letter", "lost"),
        ev.RunCompleted("x"),
    ],
)
def test_nothing_begins_after_an_end(end: ev.Event) -> None:
    world = World(plan(concurrent(function("a"), function("b"), human("h"))))
    world.advance()
    world.add(end)
    assert decide(world.plan, world.run, world.now) == []
    world.land()
    assert world.run.status.is_terminal
    assert decide(world.plan, world.run, world.now) == []


def test_a_deadline_that_ends_the_run() -> None:
    world = run(plan(sequential(human("h"))))
    asked = world.events(ev.HumanAsked)[0]
    world.add(ev.RunExpired(asked.continuation_id, "too late"))
    assert (world.run.status, world.run.error_type) == (RunStatus.EXPIRED, "human_task_expired")


@pytest.mark.parametrize(
    "event",
    [
        ev.StepCompleted(StepKey("main/b#1"), "b", "x"),
        ev.StepCompleted(StepKey("main/a#1/x#1"), "x", "x"),
        ev.ToolCallCompleted(StepKey("main/a#1"), "a", "no such call", "t", "x"),
        ev.EdgeTaken(StepKey("main/w#1"), "a", "b"),
    ],
)
def test_an_event_about_nothing_live_is_a_fault_of_the_journal(event: ev.Event) -> None:
    world = World(plan(sequential(function("a"), function("b"))))
    world.advance()
    with pytest.raises(JournalFault, match="nothing of this key is live"):
        evolve(world.plan, world.run, ev.Recorded(world.run.seq + 1, world.now, event))


def test_nothing_happens_to_a_run_that_was_not_created() -> None:
    whole = plan(sequential(function("a")))
    event = ev.StepCompleted(StepKey("main/a#1"), "a", "x")
    with pytest.raises(JournalFault, match="not created"):
        evolve(whole, Run(RunId("r")), ev.Recorded(1, 0.0, event))
    assert decide(whole, Run(RunId("r")), 0.0) == []
