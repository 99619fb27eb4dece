"""What comes next: side by side, handed on, in rounds, and along edges."""

from typing import Any

import pytest

from kneo_serv.model import event as ev
from kneo_serv.model.plan import AgentPlan, Condition, HumanPlan, OnError, Plan, Step
from kneo_serv.model.task import Decision
from tests.engine.simulation import World, first, last, run
from tests.engine.worlds import (
    Fails,
    Script,
    agent,
    concurrent,
    contains,
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

# --- concurrent -------------------------------------------------------------------------------------------------------


def test_all_participants_see_the_same_input_and_the_last_listed_has_the_word() -> None:
    world = World(plan(concurrent(function("a"), agent("b"), function("c"))))
    world.advance()
    assert [flight.name for flight in world.flights] == ["a", "b", "c"]
    assert world.go().outcome == ("completed", "in>c")


@pytest.mark.parametrize("choose", [first, last])
def test_it_never_matters_who_is_faster(choose: Any) -> None:
    world = run(plan(sequential(workflow("w"), function("z")), flows={"w": concurrent(*_three())}), choose=choose)
    assert world.outcome == ("completed", "in>c>z")


def _three(**policy: Any) -> tuple[Step, ...]:
    return tuple(function(step_id, **policy) for step_id in "abc")


def test_who_failed_and_went_on_has_nothing_to_say() -> None:
    flow = concurrent(function("a"), function("b"), function("c", on_error=OnError.CONTINUE))
    assert run(plan(flow), {"c": Fails()}).outcome == ("completed", "in>b")


def test_who_only_approved_has_nothing_to_say() -> None:
    flow = concurrent(function("a"), human("h"))
    assert run(plan(flow)).resume().outcome == ("completed", "in>a")
    assert run(plan(flow)).resume(None, Decision.EDITED, "mine").outcome == ("completed", "mine")
    assert run(plan(flow)).resume(None, Decision.REJECTED, "no").outcome[1] == "Rejected by human reviewer: no"


def test_where_nobody_said_anything_the_input_goes_on() -> None:
    flow = concurrent(*_three(on_error=OnError.CONTINUE))
    world = run(plan(flow), {name: Fails() for name in "abc"})
    assert world.outcome == ("completed", "in")


def test_a_run_fails_only_when_the_attempts_in_flight_have_ended() -> None:
    world = World(plan(concurrent(*_three())), {"a": Fails("bad")})
    world.advance()
    world.land_named("a")
    assert world.run.status.value == "running"
    world.land_named("c")
    assert world.run.status.value == "running"
    world.land_named("b")
    assert world.outcome == ("failed", "bad")
    assert world.completed() == ["c#1", "b#1"]


def test_branches_come_to_their_end_before_the_run_fails() -> None:
    flows = {"w": sequential(function("b", max_retries=1), function("c"))}
    world = run(plan(concurrent(function("a"), workflow("w")), flows=flows), {"a": Fails("bad"), "b": [Fails()]})
    assert world.outcome == ("failed", "bad")
    assert world.begun == ["a", "b", "b", "c"]


@pytest.mark.parametrize("choose", [first, last])
def test_the_first_listed_failure_is_told(choose: Any) -> None:
    script: Script = {"a": Fails("one"), "b": Fails("two"), "c": Fails("three")}
    assert run(plan(concurrent(*_three())), script, choose=choose).outcome == ("failed", "one")


@pytest.mark.parametrize("choose", [first, last])
def test_stand_ins_keep_the_places_of_those_they_stand_in_for(choose: Any) -> None:
    steps = (
        function("a", on_error=OnError.FALLBACK, fallback="x"),
        function("b", on_error=OnError.FALLBACK, fallback="y"),
        function("x"),
        function("y"),
    )
    script: Script = {"a": Fails(), "b": Fails(), "x": [Fails("one"), Fails("one")], "y": [Fails("two"), Fails("two")]}
    assert run(plan(concurrent(*steps)), script, choose=choose).outcome == ("failed", "one")


@pytest.mark.parametrize("choose", [first, last])
def test_a_violation_is_told_before_other_failures(choose: Any) -> None:
    outer = sequential(workflow("w", on_error=OnError.CONTINUE))
    script: Script = {"a": Fails("one"), "b": Fails("refused", violation=True)}
    world = run(plan(outer, flows={"w": concurrent(*_three())}), script, choose=choose)
    assert world.outcome == ("failed", "refused")
    assert world.run.violation


def test_nobody_is_waited_for_once_a_branch_has_failed() -> None:
    world = run(plan(concurrent(function("a"), human("h"))), {"a": Fails("bad")})
    assert world.outcome == ("failed", "bad")


def test_an_answered_branch_does_not_wait_for_the_others() -> None:
    flows = {"w": sequential(human("h"), function("b"))}
    world = World(plan(concurrent(function("a"), workflow("w")), flows=flows))
    world.advance()
    world.answer("h")
    world.advance()
    assert [flight.name for flight in world.flights] == ["a", "b"]
    assert world.go().outcome == ("completed", "in>b")


def test_a_finished_branch_stays_finished_while_others_wait() -> None:
    world = run(plan(concurrent(function("a"), human("h1"), human("h2"))))
    world.interrupt().go()
    world.resume("h2")
    world.interrupt().go()
    world.resume("h1", Decision.EDITED, "x")
    assert world.begun == ["a"]
    assert world.outcome == ("completed", "x")


# --- handoff and group chat -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "visited"),
    [
        ({}, "abc"),
        ({"order": ("c", "a", "c", "a")}, "caca"),
        ({"order": ("c", "a"), "selector": "round_robin"}, "abc"),
        ({"order": ("c", "a", "b"), "max_iterations": 2}, "ca"),
        ({"max_iterations": 9}, "abc"),
        ({"selector": "round_robin", "max_iterations": 1}, "a"),
    ],
)
def test_the_order_of_a_handoff_is_fixed_beforehand(fields: dict[str, Any], visited: str) -> None:
    world = run(plan(handoff(*_three(), **fields)))
    assert world.outcome == ("completed", "in>" + ">".join(visited))
    assert world.begun == list(visited)


def test_who_speaks_again_gets_a_key_of_its_own() -> None:
    world = run(plan(handoff(*_three(), order=("c", "a", "c"))))
    assert world.completed() == ["c#1", "a#1", "c#2"]


def test_a_chat_goes_round() -> None:
    world = run(plan(group_chat(function("a"), agent("b"), rounds=3)))
    assert world.outcome == ("completed", "in" + ">a>b" * 3)
    assert world.completed() == ["a#1", "b#1", "a#2", "b#2", "a#3", "b#3"]


@pytest.mark.parametrize("flow", [handoff, group_chat])
def test_who_fails_and_goes_on_hands_the_input_on(flow: Any) -> None:
    steps = function("a"), function("b", on_error=OnError.CONTINUE), function("c")
    assert run(plan(flow(*steps)), {"b": Fails()}).outcome == ("completed", "in>a>c")


# --- graph ------------------------------------------------------------------------------------------------------------


def test_the_first_matching_edge_is_taken() -> None:
    nodes = graph(
        *_three(),
        function("d"),
        edges=(edge("a", "b", contains("nothing")), edge("a", "c"), edge("a", "d"), edge("c", "d", contains(">c"))),
    )
    world = run(plan(nodes))
    assert world.outcome == ("completed", "in>a>c>d")
    assert [(taken.source, taken.target) for taken in world.events(ev.EdgeTaken)] == [("a", "c"), ("c", "d")]


def test_a_graph_ends_where_no_edge_matches() -> None:
    assert run(plan(graph(*_three(), edges=(edge("a", "b", contains("no")),)))).outcome == ("completed", "in>a")


def test_a_graph_begins_at_its_start() -> None:
    assert run(plan(graph(*_three(), start="b", edges=(edge("b", "c"),)))).begun == ["b", "c"]


def _loop(max_steps: int = 50) -> Plan:
    return plan(graph(*_three(), edges=(edge("a", "b"), edge("b", "a", contains("more"))), max_steps=max_steps))


def test_a_loop_gives_each_visit_a_key() -> None:
    world = run(_loop(), {"b": ["more", "more", "enough"]})
    assert world.outcome == ("completed", "enough")
    assert world.completed() == ["a#1", "b#1", "a#2", "b#2", "a#3", "b#3"]


def test_a_graph_that_does_not_end_is_stopped() -> None:
    world = run(_loop(max_steps=5), {"b": "more"})
    assert world.outcome == ("failed", "max_iterations")
    assert len(world.begun) == 5


def test_a_graph_may_use_exactly_its_steps() -> None:
    assert run(_loop(max_steps=2), {"b": "enough"}).outcome == ("completed", "enough")


def test_a_continued_graph_gets_its_steps_again() -> None:
    world = run(_loop(max_steps=3), {"b": ["more", "more", "enough"]})
    assert world.outcome == ("failed", "max_iterations")
    assert world.carry_on().outcome == ("completed", "enough")
    assert world.completed() == ["a#1", "b#1", "a#2", "b#2", "a#3", "b#3"]


def test_nodes_before_a_pause_count_after_it() -> None:
    nodes = graph(function("a"), human("h"), edges=(edge("a", "h"), edge("h", "a")), max_steps=3)
    world = run(plan(nodes))
    assert world.resume().outcome == ("failed", "max_iterations")


def test_a_person_in_a_loop_is_asked_again_under_a_new_key() -> None:
    world = run(plan(graph(function("a"), human("h"), edges=(edge("a", "h"), edge("h", "a", contains("again"))))))
    assert world.resume(None, Decision.EDITED, "again").asked == ["main/h#2"]
    assert world.resume(None, Decision.EDITED, "end").outcome == ("completed", "end")


def test_the_failed_nodes_own_edges_apply_after_its_fallback() -> None:
    nodes = graph(
        function("a", on_error=OnError.FALLBACK, fallback="b"),
        *_three()[1:],
        function("d"),
        edges=(edge("a", "c"), edge("b", "d")),
    )
    world = run(plan(nodes), {"a": Fails()})
    assert world.outcome == ("completed", "in>b>c")
    assert world.completed() == ["a#1~b", "c#1"]


@pytest.mark.parametrize(("script", "taken"), [({"a": Fails()}, "b"), ({}, "c")])
def test_an_edge_sees_that_a_node_failed_and_went_on(script: Script, taken: str) -> None:
    edges = (edge("a", "b", Condition("status_is", "failed")), edge("a", "c", Condition("status_is", "completed")))
    nodes = graph(function("a", on_error=OnError.CONTINUE), *_three()[1:], edges=edges)
    assert run(plan(nodes), script).begun == ["a", taken]


def test_a_failure_is_forgotten_at_the_next_node() -> None:
    edges = (edge("a", "b"), edge("b", "c", Condition("status_is", "completed")))
    nodes = graph(function("a", on_error=OnError.CONTINUE), *_three()[1:], edges=edges)
    assert run(plan(nodes), {"a": Fails()}).begun == ["a", "b", "c"]


def test_an_edge_sees_who_answered() -> None:
    is_bob = Condition("metadata_equals", "bob", key="agent_name")
    nodes = graph(agent("a"), function("b"), edges=(edge("a", "b", is_bob),))
    assert run(plan(nodes, agents={"a": AgentPlan("bob")})).begun == ["a", "b"]
    assert run(plan(nodes, agents={"a": AgentPlan("ann")})).begun == ["a"]


def test_an_edge_sees_the_person_who_stood_in() -> None:
    approved = Condition("metadata_equals", "approved", key="human_response")
    nodes = graph(
        function("a", on_error=OnError.FALLBACK, fallback="h"),
        human("h"),
        function("b"),
        edges=(edge("a", "b", approved),),
    )
    assert run(plan(nodes), {"a": Fails()}).resume().begun == ["a", "b"]


@pytest.mark.parametrize(
    ("condition", "taken"),
    [
        (Condition("always"), True),
        (Condition("never"), False),
        (Condition("output_contains", "IN>A"), True),
        (Condition("output_contains", "IN>A", case_sensitive=True), False),
        (Condition("output_equals", "In>a"), True),
        (Condition("output_equals", "in"), False),
        (Condition("variable_equals", "x", key="x"), False),
        (Condition("metadata_equals", None, key="absent"), False),
        (Condition("not", conditions=(Condition("never"),)), True),
        (Condition("all_of", conditions=(Condition("always"), Condition("never"))), False),
        (Condition("any_of", conditions=(Condition("never"), Condition("always"))), True),
    ],
)
def test_each_condition(condition: Condition, taken: bool) -> None:
    nodes = graph(function("a"), function("b"), edges=(edge("a", "b", condition),))
    assert (run(plan(nodes)).begun == ["a", "b"]) is taken


def test_a_condition_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(ValueError, match="no_such"):
        run(plan(graph(function("a"), edges=(edge("a", "a", Condition("no_such")),))))


def test_the_deadline_of_a_question_in_a_loop_counts_from_each_asking() -> None:
    nodes = graph(human("h"), edges=(edge("h", "h", contains("again")),))
    world = run(plan(nodes, humans={"h": HumanPlan(timeout_seconds=10)}))
    world.now += 5
    world.resume(None, Decision.EDITED, "again")
    assert [asked.expires_at for asked in world.events(ev.HumanAsked)] == [1010, 1015]
