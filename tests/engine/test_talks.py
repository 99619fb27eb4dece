"""Handing over, chats with a chair, mapping between steps, and expressions in workflows."""

from dataclasses import replace
from typing import Any

import pytest

from kneo_serv.engine import RunAgentTurn
from kneo_serv.model import event as ev
from kneo_serv.model.plan import AgentPlan, Condition, OnError, Strategy, Variable, VariableType
from kneo_serv.model.task import Decision
from tests.engine.simulation import World, run, tool_answers
from tests.engine.worlds import (
    REACT,
    Fails,
    Says,
    agent,
    edge,
    function,
    graph,
    group_chat,
    handoff,
    human,
    mapped,
    plan,
    sequential,
    workflow,
)

# --- transfers --------------------------------------------------------------------------------------------------------


def _desks(*steps: Any, turns: int | None = 10, strategy: Strategy = Strategy(), **fields: Any) -> Any:
    steps = steps or (agent("a"), agent("b"), agent("c"))
    agents = {name: AgentPlan(name, f"I am {name}.", strategy=strategy) for name in "abc"}
    return plan(handoff(*steps, transfer=True, max_iterations=turns, **fields), agents=agents)


@pytest.mark.parametrize("strategy", [Strategy(), REACT])
def test_the_named_participant_goes_on_and_who_names_nobody_ends_it(strategy: Strategy) -> None:
    world = run(_desks(strategy=strategy), {"a": Says("to c", ("transfer_to_c",)), "c": "done"})
    assert world.outcome == ("completed", "done")
    assert world.begun == ["a", "c"]


def test_an_agent_is_offered_all_others() -> None:
    world = World(_desks())
    world.advance()
    effect = world.flights[0].effect
    assert isinstance(effect, RunAgentTurn)
    assert [(tool.name, tool.description) for tool in effect.transfers] == [
        ("transfer_to_b", "I am b."),
        ("transfer_to_c", "I am c."),
    ]


def test_nobody_can_hand_over_in_the_last_turn() -> None:
    world = World(_desks(turns=1))
    world.advance()
    effect = world.flights[0].effect
    assert isinstance(effect, RunAgentTurn)
    assert effect.transfers == ()


def test_a_handoff_is_bounded() -> None:
    world = run(_desks(turns=5), {"a": Says("1", ("transfer_to_b",)), "b": Says("2", ("transfer_to_a",))})
    assert world.outcome == ("completed", "1")
    assert len(world.begun) == 5


def test_the_first_transfer_counts_and_other_calls_are_not_made() -> None:
    says = Says("go", ("search", "transfer_to_c", "transfer_to_b"))
    world = run(_desks(strategy=REACT), {"a": says, "c": "done"})
    assert world.begun == ["a", "c"]


def test_without_a_text_the_input_goes_on() -> None:
    assert run(_desks(), {"a": Says("", ("transfer_to_b",))}).outcome == ("completed", "in>b")


@pytest.mark.parametrize("strategy", [Strategy(), REACT])
@pytest.mark.parametrize(("wish", "why"), [("transfer_to_a", "yourself"), ("transfer_to_x", "no participant 'x'")])
def test_a_transfer_that_leads_nowhere_is_told_to_the_model(strategy: Strategy, wish: str, why: str) -> None:
    world = run(_desks(strategy=strategy), {"a": [Says("", (wish,)), "I stay"]})
    assert world.outcome == ("completed", "I stay")
    (told,) = tool_answers(world.sent[1])
    assert why in told


def test_who_is_no_agent_has_the_last_word() -> None:
    steps = agent("a"), human("h"), agent("b")
    world = run(_desks(*steps), {"a": Says("please", ("transfer_to_h",))})
    assert world.resume("h", Decision.EDITED, "no").outcome == ("completed", "no")


def test_a_crash_does_not_forget_whom_a_turn_handed_over_to() -> None:
    world = World(_desks(), {"a": Says("to c", ("transfer_to_c",)), "c": "done"})
    world.advance()
    world.land()
    world.interrupt()
    assert world.go().begun == ["a", "c"]


# --- group chat -------------------------------------------------------------------------------------------------------


def _chat(**fields: Any) -> Any:
    chat = group_chat(function("a"), function("b"), function("c"), speaker=agent("@speaker", "chair"), **fields)
    return plan(chat)


def test_the_chair_names_who_speaks_and_its_words_do_not_flow() -> None:
    world = run(_chat(), {"chair": ["c", "It is A's turn", "nobody"]})
    assert world.outcome == ("completed", "in>c>a>b")
    assert world.sent[0][0].content == '{"text":"in","participants":["a","b","c"],"turn":1}'
    assert world.completed()[:2] == ["%40speaker#1", "c#1"]


def test_a_chair_that_fails_fails_the_chat_and_may_be_asked_again() -> None:
    world = run(_chat(), {"chair": [Fails("gone"), "b", "b", "b"]})
    assert world.outcome == ("failed", "gone")
    assert world.carry_on().outcome == ("completed", "in>b>b>b")


def test_a_chat_ends_when_its_condition_holds() -> None:
    chat = group_chat(function("a"), function("b"), rounds=5, until=Condition("output_contains", "b>a"))
    assert run(plan(chat)).outcome == ("completed", "in>a>b>a")


def test_a_chat_sees_what_its_person_decided() -> None:
    chat = group_chat(human("h"), function("a"), rounds=5, until=Condition("decision_is", "approved"))
    world = run(plan(chat)).resume("h", Decision.EDITED, "x")
    assert world.resume("h").outcome == ("completed", "x>a")


# --- mapping ----------------------------------------------------------------------------------------------------------


def _with(flow: Any, **variables: Variable) -> Any:
    return replace(flow, variables=variables)


def test_an_input_is_made_of_texts_and_variables() -> None:
    flow = _with(
        sequential(
            function("a", output="x"),
            function("b"),
            function("c", input="{{text}}|{{ input }}|{{ variables.x }}|{{ variables.j.k.1 }}|{{ variables.j.no }}"),
        ),
        x=Variable(),
        j=Variable(VariableType.JSON, {"k": [1, {"v": None}]}),
    )
    assert run(plan(flow)).outcome == ("completed", 'in>a>b|in|in>a|{"v":null}|null>c')


def test_a_nested_workflow_has_variables_and_an_input_of_its_own() -> None:
    inner = _with(sequential(function("b", input="{{ variables.x }}/{{ input }}", output="x")), x=Variable(default="i"))
    outer = _with(
        sequential(workflow("w", input="[{{ text }}]"), function("z", input="{{ variables.x }}")), x=Variable()
    )
    world = run(plan(outer, flows={"w": inner}))
    assert world.outcome == ("completed", "null>z")
    assert world.events(ev.StepCompleted)[0].output_text == "i/[in]>b"


def test_a_retry_and_a_person_see_the_same_input() -> None:
    flow = _with(sequential(function("a", input="<{{ text }}>", max_retries=1), human("h", input="? {{ text }}")))
    world = run(plan(flow), {"a": [Fails()]})
    assert world.resume().outcome == ("completed", "? <in>>a")


@pytest.mark.parametrize(
    ("policy", "outcome", "calls"),
    [
        ({}, ("failed", "variable_type"), 1),
        ({"max_retries": 1}, ("completed", "3"), 2),
        ({"on_error": OnError.CONTINUE}, ("completed", "0"), 1),
    ],
)
@pytest.mark.parametrize("make", [function, agent])
def test_an_output_that_does_not_fit_fails_by_the_steps_policy(
    make: Any, policy: dict[str, Any], outcome: tuple[str, str], calls: int
) -> None:
    steps = make("a", output="n", **policy), function("z", input="{{ variables.n }}")
    flow = _with(sequential(*steps), n=Variable(VariableType.INTEGER, 0))
    world = run(plan(flow), {"a": ["three", "3"], "z": lambda text: text})
    assert world.outcome == outcome
    assert world.begun.count("a") == calls
    if outcome[0] == "failed":
        assert "'n' of type integer" in (world.run.error_message or "")
        assert world.carry_on().outcome == ("completed", "3")


def test_a_person_whose_words_do_not_fit_is_asked_again() -> None:
    flow = _with(sequential(human("h", output="n", max_retries=1)), n=Variable(VariableType.INTEGER))
    world = run(plan(flow)).resume("h", Decision.EDITED, "many")
    assert world.asked == ["main/h#1"]
    assert world.resume("h", Decision.EDITED, "4").outcome == ("completed", "4")


def test_a_rejection_is_no_output() -> None:
    flow = _with(sequential(human("h", output="n")), n=Variable(VariableType.INTEGER))
    assert run(plan(flow)).resume("h", Decision.REJECTED, "no").outcome[0] == "completed"


def test_a_nested_workflow_whose_text_does_not_fit_begins_again() -> None:
    flow = _with(sequential(workflow("w", output="n", max_retries=1)), n=Variable(VariableType.INTEGER))
    world = run(plan(flow, flows={"w": sequential(function("a"))}), {"a": ["x", "7"]})
    assert world.outcome == ("completed", "7")
    assert world.completed() == ["w#1/a#1", "w#1@2/a#1", "w#1"]


# --- expressions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "taken"),
    [
        ("variables.n >= 8 && text.size() < 50", True),
        ("text == 'in>b' && input == 'in' && status == 'completed'", False),
        ("decision == null && metadata == {}", True),
    ],
)
def test_an_edge_looks_through_an_expression(expression: str, taken: bool) -> None:
    nodes = graph(function("a", output="n"), function("b"), edges=(edge("a", "b", Condition("cel", expression)),))
    world = run(plan(_with(nodes, n=Variable(VariableType.INTEGER))), {"a": "9"})
    assert (world.begun == ["a", "b"]) is taken


@pytest.mark.parametrize("expression", ["variables.absent == 1", "text", "1 / 0 == 1"])
def test_an_expression_without_an_answer_fails_the_workflow_and_is_named(expression: str) -> None:
    nodes = graph(function("a"), function("b"), edges=(edge("a", "b", Condition("cel", expression)),))
    world = run(plan(nodes))
    assert world.outcome == ("failed", "expression_failed")
    assert expression in (world.run.error_message or "")
    inner = run(plan(sequential(workflow("w", on_error=OnError.CONTINUE)), flows={"w": nodes}))
    assert inner.outcome == ("completed", "in")


def test_a_variable_is_what_a_condition_compares() -> None:
    nodes = graph(
        function("a", output="n"), function("b"), edges=(edge("a", "b", Condition("variable_equals", 9, "n")),)
    )
    assert run(plan(_with(nodes, n=Variable(VariableType.INTEGER))), {"a": "9"}).begun == ["a", "b"]


@pytest.mark.parametrize(
    ("over", "outcome"),
    [
        ("variables.l.map(x, x + 1)", ("completed", '["2>f","3>f"]')),
        ("text", ("failed", "expression_failed")),
        ("variables.none", ("failed", "expression_failed")),
    ],
)
def test_a_list_may_be_an_expression(over: str, outcome: tuple[str, str]) -> None:
    flow = _with(mapped(function("f"), over=over), l=Variable(VariableType.JSON, [1, 2]))
    assert run(plan(flow)).outcome == outcome
