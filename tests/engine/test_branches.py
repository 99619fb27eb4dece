"""Side by side: how many are waited for, how many work at once, lists, and what becomes of all texts."""

import json
from dataclasses import replace
from typing import Any

import pytest

from kneo_serv.engine import open_tasks, withdrawn
from kneo_serv.engine.branches import MAX_ITEMS
from kneo_serv.model import event as ev
from kneo_serv.model.plan import Aggregation, Flow, FunctionPlan, Join, JoinType, OnError, Plan, Variable, VariableType
from kneo_serv.model.run import Phase
from kneo_serv.model.task import Decision
from kneo_serv.model.tool import Effect
from tests.engine.simulation import World, first, last, run
from tests.engine.worlds import Fails, Script, agent, concurrent, function, human, mapped, plan, sequential, workflow

ANY, TWO = Join(JoinType.ANY), Join(JoinType.N_OF, 2)


def _three(**fields: Any) -> Flow:
    return concurrent(function("a"), function("b"), function("c"), **fields)


# --- joins ------------------------------------------------------------------------------------------------------------


def test_the_first_to_finish_ends_the_race_and_others_are_late() -> None:
    world = World(plan(sequential(workflow("w"), function("z")), flows={"w": _three(join=ANY)}))
    world.advance()
    world.land_named("b")
    assert [event.step_id for event in world.events(ev.LateOutcome)] == ["a", "c"]
    assert world.go().outcome == ("completed", "in>b>z")


def test_two_of_three_are_enough() -> None:
    world = World(plan(_three(join=TWO, aggregation=Aggregation.JSON)))
    world.advance()
    world.land_named("c")
    assert world.outcome[0] == "running"
    world.land_named("a")
    assert world.outcome == ("completed", '{"a":"in>a","c":"in>c"}')


def test_who_failed_and_went_on_counts_as_finished() -> None:
    flow = concurrent(function("a", on_error=OnError.CONTINUE), human("h"), join=ANY)
    assert run(plan(flow), {"a": Fails()}).outcome == ("completed", "in")


@pytest.mark.parametrize("choose", [first, last])
@pytest.mark.parametrize(
    ("join", "failing", "outcome"),
    [
        (ANY, "ab", ("completed", "in>c")),
        (ANY, "abc", ("failed", "a")),
        (TWO, "a", ("completed", "in>c")),
        (TWO, "bc", ("failed", "b")),
    ],
)
def test_the_workflow_breaks_when_enough_can_no_longer_finish(
    choose: Any, join: Join, failing: str, outcome: tuple[str, str]
) -> None:
    script: Script = {name: Fails(name) for name in failing}
    assert run(plan(_three(join=join)), script, choose=choose).outcome == outcome


def test_a_failure_that_may_be_borne_does_not_disturb_those_who_are_asked() -> None:
    flow = concurrent(function("a"), human("h"), human("i"), join=ANY)
    world = run(plan(flow), {"a": Fails("bad")})
    assert (world.stand.phase, len(world.asked)) == (Phase.WAITING_HUMAN, 2)
    assert world.interrupt().go().resume("i", Decision.EDITED, "mine").outcome == ("completed", "mine")


def test_a_continued_join_gives_all_who_failed_another_try() -> None:
    world = run(plan(_three(join=TWO)), {"a": [Fails()], "b": [Fails()]})
    assert world.outcome[0] == "failed"
    assert world.carry_on().outcome[0] == "completed"


@pytest.mark.parametrize("deep", [False, True])
def test_the_questions_of_the_others_are_withdrawn(deep: bool) -> None:
    flow = concurrent(function("a"), workflow("w") if deep else human("h"), join=ANY)
    world = World(plan(flow, flows={"w": sequential(human("h"))} if deep else {}))
    world.advance()
    before = world.run
    world.land_named("a")
    end = world.events(ev.StepCompleted)[0]
    assert [state.step_id for state in withdrawn(before, end)] == ["h"]
    assert world.outcome == ("completed", "in>a")


# --- how many at once -------------------------------------------------------------------------------------------------


def test_no_more_are_at_work_than_allowed_and_they_begin_in_declared_order() -> None:
    world = World(plan(_three(max_concurrency=2)))
    world.advance()
    assert world.begun == ["a", "b"]
    world.land_named("b")
    assert world.begun == ["a", "b", "c"]
    assert world.go().outcome == ("completed", "in>c")


def test_who_waits_for_a_person_holds_no_place() -> None:
    flow = concurrent(human("h"), workflow("w"), function("a"), function("b"), max_concurrency=1)
    world = run(plan(flow, flows={"w": sequential(human("i"))}))
    assert (world.begun, len(world.asked)) == (["a", "b"], 2)
    assert world.resume("i").resume("h").outcome == ("completed", "in>b")


# --- what becomes of the texts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("choose", [first, last])
@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "in>c"),
        ({"aggregation": Aggregation.CONCAT}, "in>a\n\nin>b\n\nin>c"),
        ({"aggregation": Aggregation.JSON}, '{"a":"in>a","b":"in>b","c":"in>c"}'),
        (
            {"aggregation": Aggregation.STEP, "aggregator": function("@aggregator", "f")},
            '{"a":"in>a","b":"in>b","c":"in>c"}>f',
        ),
    ],
)
def test_texts_are_joined_in_declared_order(choose: Any, fields: dict[str, Any], text: str) -> None:
    assert run(plan(_three(**fields)), choose=choose).outcome == ("completed", text)


def test_an_aggregator_is_a_step_with_retries_of_its_own() -> None:
    flow = _three(aggregation=Aggregation.STEP, aggregator=agent("@aggregator", "f", max_retries=1))
    world = run(plan(flow), {"f": [Fails(), "done"]})
    assert world.outcome == ("completed", "done")
    assert world.completed()[-1] == "%40aggregator#1"
    failed = run(plan(flow), {"f": [Fails("x"), Fails("x")]})
    assert failed.outcome == ("failed", "x")
    assert failed.carry_on().outcome[0] == "completed"
    assert failed.begun.count("a") == 1


# --- lists ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ('["a", 1, {"b": [null]}]', ["a", "1", '{"b":[null]}']),
        ("one\n\n  two \n", ["one", "two"]),
        ('{"a": 1}', ['{"a": 1}']),
        ("", []),
        ("[]", []),
    ],
)
def test_a_text_is_a_list_or_else_its_lines(text: str, items: list[str]) -> None:
    world = run(plan(mapped(function("f"))), text=text)
    assert world.outcome == ("completed", json.dumps([f"{item}>f" for item in items], separators=(",", ":")))
    assert world.completed() == [f"f#{place}" for place in range(1, len(items) + 1)]


@pytest.mark.parametrize("choose", [first, last])
@pytest.mark.parametrize("most", [None, 1, 2])
def test_results_stand_in_the_order_of_the_list(choose: Any, most: int | None) -> None:
    flow = mapped(workflow("w"), aggregation=Aggregation.CONCAT, max_concurrency=most)
    world = run(plan(flow, flows={"w": sequential(function("f"), function("g"))}), text="1\n2\n3", choose=choose)
    assert world.outcome == ("completed", "1>f>g\n\n2>f>g\n\n3>f>g")


def test_an_item_that_failed_and_went_on_keeps_its_place() -> None:
    def picky(text: str) -> Any:
        return Fails() if text == "2" else f"{text}!"

    flow = mapped(function("f", on_error=OnError.CONTINUE))
    assert run(plan(flow), {"f": picky}, text="1\n2\n3").outcome == ("completed", '["1!","2","3!"]')


@pytest.mark.parametrize(
    ("aggregation", "text"), [(Aggregation.JSON, "[]"), (Aggregation.CONCAT, ""), (Aggregation.LAST, "")]
)
def test_nothing_comes_of_an_empty_list(aggregation: Aggregation, text: str) -> None:
    assert run(plan(mapped(function("f"), aggregation=aggregation)), text="").outcome == ("completed", text)


def test_a_list_that_is_too_long_is_an_error() -> None:
    world = run(plan(mapped(function("f"))), text="x\n" * (MAX_ITEMS + 1))
    assert world.outcome == ("failed", "limit_exceeded")


def test_people_are_asked_about_each_item_and_answer_in_any_order() -> None:
    world = run(plan(mapped(human("h"))), text="1\n2")
    one = world.asked[0]
    world.answer_task(open_tasks(world.run)[1], Decision.EDITED, "two")
    world.leg(ev.LegReason.RESUME)
    world.go()
    assert world.asked == [one]
    assert world.resume("h", Decision.EDITED, "one").outcome == ("completed", '["one","two"]')


# --- variables around branches ----------------------------------------------------------------------------------------


def _inline(inner: Flow, *behind: Any) -> Plan:
    variables = {"x": Variable(default="old"), "y": Variable(VariableType.INTEGER, 0)}
    outer = replace(sequential(workflow("p", "@root/p"), *behind), variables=variables)
    whole = plan(outer, flows={"@root/p": replace(inner, variables=variables)})
    # A step of kind parallel or map is told by the key of its workflow.
    key = next(iter(whole.flows))
    steps = tuple(replace(step, ref=f"{key}/p") if step.id == "p" else step for step in outer.steps)
    return replace(whole, flows={key: replace(outer, steps=steps), f"{key}/p": whole.flows["@root/p"]})


@pytest.mark.parametrize("choose", [first, last])
def test_branches_see_what_was_before_them_and_the_last_listed_writes_last(choose: Any) -> None:
    inner = concurrent(
        function("a", input="{{ variables.x }}", output="x"),
        function("b", input="{{ variables.x }}/{{ input }}", output="x"),
    )
    whole = _inline(inner, function("z", input="{{ variables.x }}+{{ text }}"))
    assert run(whole, choose=choose).outcome == ("completed", "old/in>b+old/in>b>z")


def test_what_an_approved_branch_lets_pass_is_its_output() -> None:
    whole = _inline(concurrent(human("h", output="x"), function("a")), function("z", input="{{ variables.x }}"))
    assert run(whole).resume().outcome == ("completed", "in>z")


# --- doubt ------------------------------------------------------------------------------------------------------------


def test_a_person_is_asked_before_what_ran_out_of_time_is_done_once_more() -> None:
    once = {"pay": FunctionPlan("app:pay", Effect.ONCE)}
    world = run(plan(sequential(function("pay", max_retries=1)), functions=once), {"pay": [Fails(uncertain=True)]})
    assert (world.begun, world.asked) == (["pay"], ["main/pay#1"])
    assert world.resume().outcome == ("completed", "in>pay")
    sure = run(plan(sequential(function("pay", max_retries=1)), functions=once), {"pay": [Fails()]})
    assert sure.outcome == ("completed", "in>pay")
