"""Agents: model turns, tool calls, and where a crash finds them."""

from collections.abc import Mapping
from typing import Any

import pytest

from kneo_serv.engine import RunAgentTurn, decide
from kneo_serv.model import event as ev
from kneo_serv.model.message import Role
from kneo_serv.model.plan import ROOT, AgentPlan, OnError, Plan, Strategy, StrategyType
from kneo_serv.model.task import Decision
from kneo_serv.model.tool import Effect
from tests.engine.simulation import World, last, run, tool_answers
from tests.engine.worlds import Denied, Fails, Says, Script, agent, function, plan, sequential


def _react(
    *, tools: Mapping[str, Effect | None] | None = None, policy: dict[str, Any] | None = None, **how: Any
) -> Plan:
    """An agent `a` that may call tools, and a function `z` after it."""
    return plan(
        sequential(agent("a", **(policy or {})), function("z")),
        agents={"a": AgentPlan("a", strategy=Strategy(StrategyType.REACT, **how))},
        tools=tools or {"t": None, "u": None, "v": None},
    )


def _calls(world: World) -> list[tuple[str, int]]:
    return [(started.tool_name, started.number) for started in world.events(ev.ToolCallStarted)]


def test_the_root_agent_runs_alone() -> None:
    world = World(plan(None), text="hi", target="agent").go()
    assert world.outcome == ("completed", "hi>@root")
    assert world.completed() == ["root#1"]


def test_a_model_sees_the_answers_in_the_order_of_its_calls() -> None:
    script: Script = {"a": [Says("let me see", ("t", "u")), Says("done")], "t": "T", "u": "U"}
    for choose in (lambda _: 0, last):
        world = run(_react(), script, choose=choose)
        assert world.outcome == ("completed", "done>z")
        assert [message.role for message in world.sent[1]] == [Role.USER, Role.ASSISTANT, Role.TOOL, Role.TOOL]
        assert tool_answers(world.sent[1]) == ["T", "U"]
        assert world.sent[1][1].content == "let me see"


def test_calls_are_numbered_through_the_step() -> None:
    world = run(_react(), {"a": [Says(tools=("t", "u")), Says(tools=("t",)), Says("done")]})
    assert _calls(world) == [("t", 1), ("u", 2), ("t", 3)]
    assert [started.turn for started in world.events(ev.ModelTurnStarted)] == [1, 2, 3]


def test_one_step_start_covers_all_turns() -> None:
    world = run(_react(), {"a": [Says(tools=("t",)), Says("done")]})
    assert [started.step_id for started in world.events(ev.StepStarted)] == ["a", "z"]


def test_calls_of_one_turn_run_side_by_side_unless_the_agent_says_otherwise() -> None:
    for parallel, width in ((True, 3), (False, 1)):
        world = World(_react(parallel_tool_calls=parallel), {"a": [Says(tools=("t", "u", "v")), Says("done")]})
        world.advance()
        world.land()
        world.advance()
        assert len(world.flights) == width
        assert world.go().begun == ["a", "t", "u", "v", "a", "z"]


def test_the_strategy_simple_takes_the_first_word_as_the_last() -> None:
    world = run(plan(sequential(agent("a"), function("z"))), {"a": Says("I need to search.", ("t",))})
    assert world.outcome == ("completed", "I need to search.>z")
    assert world.begun == ["a", "z"]


def test_a_failed_tool_is_told_to_the_model() -> None:
    world = run(_react(), {"a": [Says(tools=("t",)), Says("sorry")], "t": Fails()})
    assert world.outcome == ("completed", "sorry>z")
    assert tool_answers(world.sent[1]) == ["Error: it failed"]


def test_a_failed_tool_stops_the_agent_that_wants_it_so() -> None:
    world = run(_react(stop_on_tool_error=True), {"a": Says(tools=("t", "u")), "t": Fails()})
    assert world.outcome == ("failed", "tool_error")
    assert world.begun == ["a", "t", "u"]


@pytest.mark.parametrize("answer", [Fails(), Denied()])
def test_no_further_tool_is_called_once_the_step_is_lost(answer: Fails | Denied) -> None:
    strategy = _react(stop_on_tool_error=True, parallel_tool_calls=False)
    world = run(strategy, {"a": Says(tools=("t", "u")), "t": answer})
    assert world.outcome[0] == "failed"
    assert world.begun == ["a", "t"]


def test_a_denied_call_ends_the_step_as_a_violation() -> None:
    world = run(
        _react(policy={"on_error": OnError.CONTINUE, "max_retries": 3}), {"a": Says(tools=("t", "u")), "t": Denied()}
    )
    assert world.outcome == ("failed", "tool_policy_denied")
    assert world.run.violation
    assert world.begun == ["a", "t", "u"]


def test_an_agent_ends_when_its_turns_are_used_up() -> None:
    world = run(_react(max_iterations=2), {"a": Says(tools=("t",))})
    assert world.outcome == ("failed", "max_iterations")
    assert world.begun == ["a", "t", "a", "t"]


def test_another_attempt_gets_all_turns_again_in_a_new_conversation() -> None:
    world = run(_react(max_iterations=1, policy={"max_retries": 1}), {"a": [Says(tools=("t",)), Says("done")]})
    assert world.outcome == ("completed", "done>z")
    assert [message.role for message in world.sent[1]] == [Role.USER]
    assert [(started.attempt, started.step_id) for started in world.events(ev.StepStarted)][:2] == [(1, "a"), (2, "a")]


def test_a_retry_after_a_lost_answer_keeps_the_finished_calls() -> None:
    script: Script = {"a": [Says(tools=("t",)), Fails(), Says("done")], "t": "T"}
    world = run(_react(policy={"max_retries": 1}), script)
    assert world.outcome == ("completed", "done>z")
    assert world.begun == ["a", "t", "a", "a", "z"]
    assert tool_answers(world.sent[2]) == ["T"]


def test_a_retry_after_a_failed_tool_begins_the_conversation_anew() -> None:
    script: Script = {"a": [Says(tools=("t",)), Says(tools=("t",)), Says("done")], "t": [Fails(), "T"]}
    world = run(_react(stop_on_tool_error=True, policy={"max_retries": 1}), script)
    assert world.outcome == ("completed", "done>z")
    assert _calls(world) == [("t", 1), ("t", 2)]


def test_an_interrupted_model_turn_is_asked_again_under_the_same_attempt() -> None:
    world = World(_react(), {"a": [Says(tools=("t",)), Says("done")]})
    world.advance()
    world.land()
    world.advance()
    world.land()
    world.advance()
    assert world.interrupt().go().outcome == ("completed", "done>z")
    assert [started.turn for started in world.events(ev.ModelTurnStarted)] == [1, 2, 2]
    assert len([started for started in world.events(ev.StepStarted) if started.step_id == "a"]) == 1


def test_an_interruption_among_calls_resumes_at_the_unfinished_ones() -> None:
    world = World(_react(), {"a": [Says(tools=("t", "u", "v")), Says("done")], "t": "T", "u": "U", "v": "V"})
    world.advance()
    world.land_named("a")
    world.land_named("u")
    assert world.interrupt().go().outcome == ("completed", "done>z")
    assert world.begun == ["a", "t", "u", "v", "t", "v", "a", "z"]
    assert tool_answers(world.sent[1]) == ["T", "U", "V"]
    assert _calls(world) == [("t", 1), ("u", 2), ("v", 3), ("t", 1), ("v", 3)]


@pytest.mark.parametrize(
    ("decision", "content", "told", "times"),
    [(Decision.APPROVED, None, ["T", "P"], 2), (Decision.PROVIDED, "paid", ["T", "paid"], 1)],
)
def test_a_person_decides_about_the_uncertain_call_and_no_other(
    decision: Decision, content: str | None, told: list[str], times: int
) -> None:
    tools = {"t": None, "pay": Effect.ONCE}
    world = World(_react(tools=tools), {"a": [Says(tools=("t", "pay")), Says("done")], "t": "T", "pay": "P"})
    world.advance()
    world.land_named("a")
    world.interrupt().go()  # both calls were in flight; only one of them must not happen twice
    assert world.asked == ["main/a#1"]
    assert world.resume(None, decision, content).outcome == ("completed", "done>z")
    assert tool_answers(world.sent[1]) == told
    assert world.begun.count("pay") == times
    assert world.begun.count("t") == 2


def test_each_uncertain_call_is_asked_about() -> None:
    tools = {"pay": Effect.ONCE}
    world = World(_react(tools=tools), {"a": [Says(tools=("pay", "pay")), Says("done")]})
    world.advance()
    world.land_named("a")
    world.interrupt().go()
    world.resume(None, Decision.PROVIDED, "first")
    assert world.asked == ["main/a#1"]
    assert world.resume(None, Decision.PROVIDED, "second").outcome == ("completed", "done>z")
    assert tool_answers(world.sent[1]) == ["first", "second"]
    assert world.begun.count("pay") == 2


def test_a_person_is_asked_only_when_the_other_calls_have_ended() -> None:
    tools = {"t": None, "pay": Effect.ONCE}
    world = World(_react(tools=tools), {"a": [Says(tools=("pay", "t")), Says("done")]})
    world.advance()
    world.land_named("a")
    world.land_named("t")
    world.interrupt().go()
    assert world.resume(None, Decision.PROVIDED, "paid").outcome == ("completed", "done>z")
    assert world.begun.count("t") == 1


def test_a_rejected_uncertain_call_ends_the_step() -> None:
    world = World(_react(tools={"pay": Effect.ONCE}), {"a": Says(tools=("pay",))})
    world.advance()
    world.land_named("a")
    world.interrupt().go()
    assert world.resume(None, Decision.REJECTED).outcome == ("failed", "effect_uncertain")


@pytest.mark.parametrize(
    ("script", "begun_again"),
    [
        # The model's answer was lost: every call has its answer, also the failed one that the model heard of.
        ({"a": [Says(tools=("t", "u")), Fails(), Says("done")], "u": Fails()}, ["a", "z"]),
        # The call was what the step failed of.
        ({"a": [Says(tools=("t", "u")), Says("done")], "u": [Denied(), "U"]}, ["u", "a", "z"]),
    ],
)
def test_a_continued_agent_repeats_only_what_it_failed_of(script: Script, begun_again: list[str]) -> None:
    world = run(_react(), script)
    assert world.outcome[0] == "failed"
    before = len(world.begun)
    assert world.carry_on().outcome == ("completed", "done>z")
    assert world.begun[before:] == begun_again


def test_a_continued_agent_repeats_the_failed_call_that_stopped_it() -> None:
    script: Script = {"a": [Says(tools=("t", "u")), Says("done")], "u": [Fails(), "U"]}
    world = run(_react(stop_on_tool_error=True), script)
    assert world.carry_on().outcome == ("completed", "done>z")
    assert world.begun == ["a", "t", "u", "u", "a", "z"]
    assert [started.attempt for started in world.events(ev.StepStarted) if started.step_id == "a"] == [1, 2]


def test_a_continued_agent_without_turns_left_gets_them_again() -> None:
    world = run(_react(max_iterations=1), {"a": [Says(tools=("t",)), Says("done")]})
    assert world.carry_on().outcome == ("completed", "done>z")


def test_the_conversation_belongs_to_one_step() -> None:
    steps = sequential(agent("a"), agent("b"))
    world = run(plan(steps))
    assert world.outcome == ("completed", "in>a>b")
    assert [[message.content for message in asked] for asked in world.sent] == [["in"], ["in>a"]]


def test_a_command_names_the_agent_and_the_attempt() -> None:
    world = World(plan(None), target="agent")
    (command,) = decide(world.plan, world.run, world.now)
    assert isinstance(command, RunAgentTurn)
    assert (command.agent, command.attempt, command.turn) == (ROOT, 1, 1)


def test_a_tool_that_is_not_there_fails_the_step_and_is_called_when_the_run_is_continued() -> None:
    world = run(_react(), {"a": [Says(tools=("t", "u")), Says("done")], "t": [Fails("missing"), "T"], "u": "U"})
    assert world.outcome == ("failed", "tool_unavailable")
    assert world.carry_on().outcome == ("completed", "done>z")
    assert tool_answers(world.sent[1]) == ["T", "U"]
    assert world.begun == ["a", "t", "u", "t", "a", "z"]
