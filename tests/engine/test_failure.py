"""Steps in a row: the text that flows, and what follows when a step fails."""

from typing import Any

import pytest

from kneo_serv.engine.failure import MAX_BACKOFF_SECONDS
from kneo_serv.model import event as ev
from kneo_serv.model.plan import OnError
from tests.engine.simulation import World, run
from tests.engine.worlds import Fails, function, human, plan, sequential, workflow


def test_each_step_gets_the_text_of_the_one_before() -> None:
    world = run(plan(sequential(function("a"), function("b"), function("c"))))
    assert world.outcome == ("completed", "in>a>b>c")
    assert world.completed() == ["a#1", "b#1", "c#1"]


def test_the_end_of_a_step_and_the_beginning_of_the_next_follow_each_other_at_once() -> None:
    world = run(plan(sequential(function("a"), function("b"))))
    assert [recorded.event.KIND for recorded in world.journal] == [
        "run_created",
        "leg_started",
        "step_started",
        "step_completed",
        "step_started",
        "step_completed",
        "run_completed",
    ]


def test_a_failed_step_is_tried_as_often_as_it_says() -> None:
    world = run(plan(sequential(function("a", max_retries=2))), {"a": [Fails(), Fails(), "third"]})
    assert world.outcome == ("completed", "third")
    assert [started.attempt for started in world.events(ev.StepStarted)] == [1, 2, 3]


@pytest.mark.parametrize("on_error", [OnError.FAIL, OnError.RETRY])
def test_a_run_fails_when_no_attempt_is_left(on_error: OnError) -> None:
    world = run(plan(sequential(function("a", max_retries=1, on_error=on_error), function("b"))), {"a": Fails("bad")})
    assert world.outcome == ("failed", "bad")
    assert world.begun == ["a", "a"]
    assert world.run.failed_step == "a"


def test_a_negative_number_of_retries_means_none() -> None:
    assert run(plan(sequential(function("a", max_retries=-3))), {"a": Fails()}).begun == ["a"]


def test_the_wait_before_a_retry_doubles_up_to_a_cap() -> None:
    world = run(plan(sequential(function("a", max_retries=9, backoff_seconds=0.5))), {"a": Fails()})
    failures = [recorded for recorded in world.journal if isinstance(recorded.event, ev.StepFailed)]
    waits = [
        failure.event.retry_at - failure.at
        for failure in failures
        if isinstance(failure.event, ev.StepFailed) and failure.event.retry_at is not None
    ]
    assert waits == [0.5, 1, 2, 4, 8, 16, 32, MAX_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS]


def test_a_retry_after_thousands_of_failures_still_has_a_wait() -> None:
    world = World(plan(sequential(function("a", max_retries=1_500))), {"a": Fails()}, checks=False)
    assert world.go().outcome == ("failed", "boom")
    assert len(world.begun) == 1_501


def test_nothing_is_tried_before_its_time() -> None:
    world = World(plan(sequential(function("a", max_retries=1))), {"a": [Fails()]})
    world.advance()
    world.land()
    world.now += 0.4
    world.advance()
    assert world.flights == []
    world.now += 0.1
    world.advance()
    assert len(world.flights) == 1


def test_a_time_limit_is_final_whatever_retries_are_left() -> None:
    world = run(plan(sequential(function("a", max_retries=5))), {"a": Fails("StepTimeoutError", final=True)})
    assert world.outcome == ("failed", "StepTimeoutError")
    assert world.begun == ["a"]


def test_a_time_limit_is_still_absorbed_by_on_error() -> None:
    steps = function("a", on_error=OnError.CONTINUE), function("b")
    assert run(plan(sequential(*steps)), {"a": Fails(final=True)}).outcome == ("completed", "in>b")


def test_on_error_continue_passes_the_input_on() -> None:
    steps = function("a"), function("b", on_error=OnError.CONTINUE, max_retries=1), function("c")
    world = run(plan(sequential(*steps)), {"b": Fails()})
    assert world.outcome == ("completed", "in>a>c")
    assert world.begun == ["a", "b", "b", "c"]


def test_a_fallback_stands_in_on_the_same_input_and_runs_again_in_its_own_turn() -> None:
    steps = function("a"), function("b", on_error=OnError.FALLBACK, fallback="c"), function("c")
    world = run(plan(sequential(*steps)), {"b": Fails()})
    assert world.outcome == ("completed", "in>a>c>c")
    assert world.completed() == ["a#1", "b#1~c", "c#1"]
    (stand_in,) = [started for started in world.events(ev.StepStarted) if started.fallback_for is not None]
    assert (stand_in.step_id, stand_in.fallback_for) == ("c", "b")


def test_a_stand_in_has_retries_of_its_own_but_not_its_on_error() -> None:
    steps = (
        function("a", on_error=OnError.FALLBACK, fallback="b"),
        function("b", on_error=OnError.CONTINUE, max_retries=2),
    )
    world = run(plan(sequential(*steps)), {"a": Fails("first"), "b": Fails("second")})
    assert world.outcome == ("failed", "second")
    assert world.begun == ["a", "b", "b", "b"]
    assert world.run.failed_step == "b"


def test_a_person_may_stand_in() -> None:
    steps = function("a", on_error=OnError.FALLBACK, fallback="h"), human("h")
    world = run(plan(sequential(*steps)), {"a": Fails()})
    assert world.asked == ["main/a#1~h"]
    assert world.resume().asked == ["main/h#1"]
    assert world.resume().outcome == ("completed", "in")


@pytest.mark.parametrize(
    "policy", [{"on_error": OnError.CONTINUE}, {"on_error": OnError.FALLBACK, "fallback": "b"}, {"max_retries": 3}]
)
def test_a_violation_is_never_absorbed(policy: dict[str, Any]) -> None:
    steps = function("a", **policy), function("b")
    world = run(plan(sequential(*steps)), {"a": Fails("guardrail_violation", violation=True)})
    assert world.outcome == ("failed", "guardrail_violation")
    assert world.run.violation
    assert world.begun == ["a"]


def test_a_violation_in_a_nested_workflow_is_not_absorbed_outside() -> None:
    outer = sequential(workflow("w", on_error=OnError.CONTINUE, max_retries=2), function("b"))
    world = run(plan(outer, flows={"w": sequential(function("a"))}), {"a": Fails("denied", violation=True)})
    assert world.outcome == ("failed", "denied")
    assert world.run.violation
    assert world.begun == ["a"]


def test_an_interrupted_attempt_does_not_count_as_a_failure() -> None:
    world = World(plan(sequential(function("a", max_retries=1))), {"a": [Fails(), "done"]})
    world.advance()
    assert world.interrupt().go().outcome == ("completed", "done")
    assert [started.attempt for started in world.events(ev.StepStarted)] == [1, 2, 3]


def test_a_finished_step_is_not_done_again_after_an_interruption() -> None:
    world = World(plan(sequential(function("a"), function("b"))))
    world.advance()
    world.land()
    world.advance()
    assert world.interrupt().go().outcome == ("completed", "in>a>b")
    assert world.begun == ["a", "b", "b"]
