"""Guardrails: what a text has to pass, in which order, and what follows when it does not."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kneo_serv.engine import Verdict, open_tasks
from kneo_serv.model import event as ev
from kneo_serv.model.message import Role
from kneo_serv.model.plan import ROOT, AgentPlan, Flow, Guardrail, Plan, Strategy
from kneo_serv.model.run import RunStatus
from kneo_serv.model.task import Decision
from tests.engine.simulation import World, last, run
from tests.engine.worlds import (
    REACT,
    Fails,
    Says,
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

REFUSED = Verdict(passed=False, reason="too loud")


def words(stage: str, action: str = "block", *keywords: str, **config: Any) -> Guardrail:
    return Guardrail("words", stage, "keyword", action, config={"keywords": keywords or ("bad",), **config})


def asks(stage: str, action: str = "block", ref: str = "judge", **config: Any) -> Guardrail:
    return Guardrail(ref, stage, "function", action, ref, config)


def alone(*guardrails: Guardrail, strategy: Strategy | None = None) -> Plan:
    """The root agent alone."""
    return plan(None, agents={ROOT: AgentPlan("root", guardrails=guardrails, strategy=strategy or Strategy())},
                tools={"t": None, "u": None})  # fmt: skip


def within(flow: Flow, *guardrails: Guardrail, **more: Any) -> Plan:
    """A workflow whose steps all pass the root agent's guardrails."""
    return plan(flow, agents={ROOT: AgentPlan("root", guardrails=guardrails), **more.pop("agents", {})}, **more)


def asked(the_plan: Plan, script: Script | None = None, text: str = "in") -> World:
    return World(the_plan, script or {}, text, target="agent").go()


def findings(world: World) -> list[str]:
    return [f"{event.guardrail_id} {event.outcome}" for event in world.events(ev.GuardrailApplied)]


def message(world: World) -> str:
    return world.run.error_message or ""


# --- stages ---------------------------------------------------------------------------------------------------------


def test_a_text_that_passes_leaves_no_event() -> None:
    world = asked(alone(words("input"), words("output")), text="good")
    assert world.outcome == ("completed", "good>@root")
    assert findings(world) == []


def test_a_blocked_input_never_reaches_the_model() -> None:
    world = asked(alone(words("input")), text="a BAD word")
    assert world.outcome == ("failed", "guardrail_violation")
    assert message(world) == "Guardrail 'words' failed: Blocked keywords found: ['bad']"
    assert world.begun == []


def test_a_blocked_output_fails_the_run() -> None:
    world = asked(alone(words("output")), {ROOT: "so bad"})
    assert world.outcome == ("failed", "guardrail_violation")
    assert world.run.violation


def test_a_message_never_holds_the_text() -> None:
    world = asked(alone(words("output")), {ROOT: "bad: the secret recipe"})
    assert "recipe" not in message(world)


def test_guardrails_are_asked_in_their_order() -> None:
    guards = (asks("input", ref="first"), words("input", "warn", "in"), asks("input", ref="second"))
    world = asked(alone(*guards), {"first": "ok", "second": "ok"})
    assert world.begun == ["first", "second", ROOT]
    assert findings(world) == ["first passed", "words warned", "second passed"]


def test_a_model_sees_tool_results_only_after_their_guardrails() -> None:
    world = asked(
        alone(words("tool", "redact", "token"), strategy=REACT),
        {ROOT: [Says(tools=("t", "u")), "done"], "t": "the token", "u": "fine"},
    )
    assert world.outcome == ("completed", "done")
    answers = [said.content for said in world.sent[-1] if said.role is Role.TOOL]
    assert answers == ["[redacted by tool result guardrail]", "fine"]


def test_the_error_of_a_tool_is_a_result_too() -> None:
    world = asked(
        alone(words("tool", "redact", "failed", replacement="***"), strategy=REACT),
        {ROOT: [Says(tools=("t",)), "done"], "t": Fails()},
    )
    assert [said.content for said in world.sent[-1] if said.role is Role.TOOL] == ["Error: it ***"]


def test_a_blocked_tool_result_fails_the_step_and_is_not_asked_for_again() -> None:
    world = asked(alone(words("tool"), strategy=REACT), {ROOT: Says(tools=("t",)), "t": "bad"})
    assert world.outcome == ("failed", "guardrail_violation")
    world.carry_on()
    assert world.outcome == ("failed", "guardrail_violation")
    assert world.begun.count("t") == 1


def test_tool_results_are_looked_at_side_by_side() -> None:
    world = World(alone(asks("tool"), strategy=REACT), {ROOT: [Says(tools=("t", "u")), "done"]}, target="agent")
    world.advance()
    for name in (ROOT, "t", "u"):
        world.land_named(name)
    assert [flight.name for flight in world.flights] == ["judge", "judge"]
    assert world.go(last).outcome == ("completed", "done")


FLOWS = {
    "sequential": sequential(function("f")),
    "graph": graph(function("f")),
    "concurrent": concurrent(function("f")),
    "handoff": handoff(function("f")),
    "group chat": group_chat(function("f")),
}


@pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS)
def test_the_stage_workflow_holds_in_every_type_of_workflow(flow: Flow) -> None:
    assert run(within(flow, words("workflow")), {"f": "bad"}).outcome == ("failed", "guardrail_violation")
    redacted = run(within(flow, words("workflow", "redact", replacement="***")), {"f": "a bad day"})
    assert redacted.outcome == ("completed", "a *** day")


def test_the_stage_workflow_holds_for_every_kind_of_step() -> None:
    guard = words("workflow", "redact", replacement="***")
    for step in (function("x"), agent("x")):
        assert run(within(sequential(step), guard), {"x": "bad"}).outcome == ("completed", "***")
    asking = run(within(sequential(human("x")), guard))
    assert asking.resume("x", Decision.EDITED, "a bad edit").outcome == ("completed", "a *** edit")


def test_the_stage_workflow_holds_in_nested_workflows_too() -> None:
    nested = within(sequential(workflow("w")), words("workflow", "redact", replacement="***"),
                    flows={"w": sequential(function("f"), function("g"))})  # fmt: skip
    world = run(nested, {"f": "bad", "g": lambda heard: f"{heard} bad"})
    assert world.outcome == ("completed", "*** ***")


def test_the_output_of_a_nested_workflow_is_looked_at_as_a_whole() -> None:
    plans = within(sequential(workflow("w")), asks("workflow"), flows={"w": sequential(function("f"))})
    world = run(plans, {"judge": [Verdict(passed=True), REFUSED]})
    assert world.begun == ["f", "judge", "judge"]
    assert world.outcome == ("failed", "guardrail_violation")


def test_what_flows_on_is_the_revised_text() -> None:
    world = run(
        within(sequential(agent("a"), function("f")), words("workflow", "redact", replacement="***")), {"a": "bad"}
    )
    assert world.outcome == ("completed", "***>f")


def test_conditions_see_the_revised_text() -> None:
    flow = graph(agent("a"), function("f"), function("g"), edges=(
        edge("a", "f", contains("bad")), edge("a", "g", contains("clean"))))  # fmt: skip
    world = run(within(flow, words("workflow", "redact", replacement="clean")), {"a": "bad"})
    assert world.outcome == ("completed", "clean>g")


def test_the_root_agents_own_stages_hold_only_where_it_runs_itself() -> None:
    guards = (words("input"), words("output"))
    assert run(within(sequential(agent("a")), *guards), {"a": "bad"}).outcome == ("completed", "bad")
    by_ref = within(sequential(agent("a", ROOT)), *guards)
    assert run(by_ref, {ROOT: "bad"}).outcome == ("failed", "guardrail_violation")


def test_a_component_agent_brings_its_own_guardrails() -> None:
    guarded = {"a": AgentPlan("a", guardrails=(words("output"),))}
    assert run(within(sequential(agent("a")), agents=guarded), {"a": "bad"}).outcome[0] == "failed"


def test_the_agents_guardrails_come_before_those_of_the_workflow() -> None:
    guarded = {"a": AgentPlan("a", guardrails=(asks("output", ref="own"),))}
    world = run(within(sequential(agent("a")), asks("workflow", ref="whole"), agents=guarded))
    assert world.begun == ["a", "own", "whole"]


# --- actions --------------------------------------------------------------------------------------------------------


def test_a_warning_lets_the_text_go_on_and_says_so() -> None:
    world = run(within(sequential(function("f")), words("workflow", "warn")), {"f": "bad"})
    assert world.outcome == ("completed", "bad")
    assert findings(world) == ["words warned"]


@pytest.mark.parametrize("on_error", ["continue", "retry", "fallback"])
def test_no_policy_for_errors_absorbs_a_violation(on_error: str) -> None:
    policy: dict[str, Any] = {
        "on_error": on_error,
        "max_retries": 3,
        "fallback": "g" if on_error == "fallback" else None,
    }
    world = run(within(sequential(function("f", **policy), function("g")), words("workflow")), {"f": "bad"})
    assert world.outcome == ("failed", "guardrail_violation")
    assert world.begun == ["f"]


def test_revise_takes_the_functions_own_words() -> None:
    revised = Verdict(passed=False, reason="rude", revised_text="please")
    assert asked(alone(asks("output", "revise")), {"judge": revised}).outcome == ("completed", "please")
    assert asked(alone(asks("output", "revise")), {"judge": REFUSED}).outcome[0] == "failed"


def test_redaction_replaces_what_was_found_or_everything() -> None:
    digits = Guardrail("digits", "output", "regex", "redact", config={"patterns": [r"\d+"], "replacement": "#"})
    assert asked(alone(digits), {ROOT: "call 555 or 777"}).outcome == ("completed", "call # or #")
    whole = replace(digits, config={"patterns": [r"\d+"]})
    assert asked(alone(whole), {ROOT: "call 555"}).outcome == ("completed", "[redacted by output guardrail]")


def test_a_redacted_input_is_what_the_model_gets() -> None:
    world = asked(alone(words("input", "redact", replacement="***")), text="bad day")
    assert world.sent[0][0].content == "*** day"


def test_retry_asks_the_model_again_with_the_reason() -> None:
    world = asked(alone(words("output", "retry")), {ROOT: ["bad", "good"]})
    assert world.outcome == ("completed", "good")
    roles = [(said.role, said.content) for said in world.sent[1]]
    assert roles[1] == (Role.ASSISTANT, "bad")
    assert roles[2][0] is Role.USER
    assert "Blocked keywords found: ['bad']" in roles[2][1]


def test_retry_blocks_after_its_last_time() -> None:
    world = asked(alone(words("output", "retry", max_retries=2)), {ROOT: "bad"})
    assert world.outcome == ("failed", "guardrail_violation")
    assert world.begun == [ROOT] * 3
    assert findings(world) == ["words retry", "words retry", "words blocked"]


def test_retry_of_the_stage_workflow_asks_an_agent_again_and_blocks_a_function() -> None:
    guard = words("workflow", "retry")
    assert run(within(sequential(agent("a")), guard), {"a": ["bad", "good"]}).outcome == ("completed", "good")
    assert run(within(sequential(function("f")), guard), {"f": ["bad", "good"]}).outcome[0] == "failed"


def test_a_retry_is_no_turn_of_the_strategy() -> None:
    world = asked(alone(words("output", "retry"), strategy=Strategy(max_iterations=1)), {ROOT: ["bad", "good"]})
    assert world.outcome == ("completed", "good")


def test_what_is_said_again_passes_all_guardrails_again() -> None:
    guards = (words("output", "block", "worse"), words("output", "retry"))
    assert asked(alone(*guards), {ROOT: ["bad", "worse"]}).outcome[0] == "failed"


@pytest.mark.parametrize("action", ["human_review", "escalate"])
def test_a_person_is_asked_about_the_text(action: str) -> None:
    world = asked(alone(words("output", action, assignee="anna")), {ROOT: "bad"})
    assert world.outcome == ("blocked", None)
    (question,) = world.events(ev.HumanAsked)
    assert question.request.metadata == {"guardrail_id": "words", "stage": "output"}
    assert (question.request.type, question.request.assignee) == ("review", "anna")


@pytest.mark.parametrize(
    ("decision", "content", "text"),
    [(Decision.APPROVED, None, "bad"), (Decision.EDITED, "better", "better"), (Decision.PROVIDED, "new", "new")],
)
def test_the_persons_text_goes_on(decision: Decision, content: str | None, text: str) -> None:
    for flow in (sequential(agent("x"), function("g")), sequential(function("x"), function("g"))):
        world = run(within(flow, words("workflow", "human_review")), {"x": "bad", "g": lambda heard: f"<{heard}>"})
        world.resume("x", decision, content)
        if decision is Decision.APPROVED:
            world.resume("g", decision)
        assert world.outcome == ("completed", f"<{text}>")


def test_a_rejected_text_fails_the_step_as_a_violation() -> None:
    world = run(within(sequential(function("f", on_error="continue")), words("workflow", "escalate")), {"f": "bad"})
    world.resume("f", Decision.REJECTED, "no")
    assert world.outcome == ("failed", "guardrail_violation")
    assert message(world) == "Guardrail 'words' failed: the reviewer rejected the text: no"


def test_a_person_may_be_asked_about_inputs_and_tool_results() -> None:
    world = asked(alone(words("input", "human_review")), text="bad")
    assert world.resume(None, Decision.EDITED, "good").outcome == ("completed", "good>@root")
    plans = alone(words("tool", "human_review"), strategy=REACT)
    world = asked(plans, {ROOT: [Says(tools=("t", "u")), "done"], "t": "bad", "u": "bad"})
    world.resume(None, Decision.EDITED, "first")
    assert world.resume(None, Decision.EDITED, "second").outcome == ("completed", "done")
    assert [said.content for said in world.sent[-1] if said.role is Role.TOOL] == ["first", "second"]


def test_a_reviewed_text_still_has_to_pass_the_guardrails_behind() -> None:
    guards = (words("output", "human_review"), words("output", "block", "worse"))
    world = asked(alone(*guards), {ROOT: "bad"})
    assert world.resume(None, Decision.EDITED, "worse").outcome[0] == "failed"


def test_a_review_of_a_human_step_does_not_forget_what_its_person_decided() -> None:
    flow = concurrent(function("f"), human("h"))
    world = run(within(flow, words("workflow", "human_review", "in")), {"f": "good"})
    world.resume("h")
    assert world.resume("h").outcome == ("completed", "good")


# --- crashes and ends -----------------------------------------------------------------------------------------------


def test_a_check_that_a_crash_interrupted_is_done_again_and_one_that_ended_is_not() -> None:
    guards = (asks("workflow", ref="first"), asks("workflow", ref="second"))
    world = World(within(sequential(function("f")), *guards))
    world.advance()
    world.land_named("f")
    world.land_named("first")
    world.interrupt()
    assert world.go().outcome == ("completed", "in>f")
    assert world.begun == ["f", "first", "second", "second"]


def test_nothing_is_called_again_when_a_refused_run_is_continued() -> None:
    world = run(within(sequential(function("f")), asks("workflow")), {"judge": [REFUSED]})
    assert world.outcome == ("failed", "guardrail_violation")
    world.carry_on()
    assert world.outcome == ("completed", "in>f")
    assert world.begun == ["f", "judge", "judge"]


def test_a_model_may_find_other_words_when_a_refused_run_is_continued() -> None:
    world = asked(alone(words("output"), strategy=REACT), {ROOT: [Says(tools=("t",)), "bad", "good"]})
    world.carry_on()
    assert world.outcome == ("completed", "good")
    assert world.begun == [ROOT, "t", ROOT, ROOT]


def test_a_person_is_asked_anew_when_a_refused_answer_is_continued() -> None:
    world = run(within(sequential(human("h")), words("workflow")))
    world.resume("h", Decision.EDITED, "bad")
    assert world.outcome == ("failed", "guardrail_violation")
    world.carry_on()
    assert world.resume("h", Decision.EDITED, "good").outcome == ("completed", "good")


def test_a_withdrawn_question_about_a_text_is_asked_anew() -> None:
    flow = concurrent(function("f"), function("g"))
    world = run(within(flow, words("workflow", "human_review")), {"f": "bad", "g": [Fails(), "fine"]}, choose=first_f)
    assert world.run.status is RunStatus.FAILED
    world.carry_on()
    assert world.asked == ["main/f#1"]
    assert world.resume("f").outcome == ("completed", "fine")
    assert world.begun == ["f", "g", "g"]


def first_f(_: int) -> int:
    return 0


def test_tokens_of_a_judging_agent_count() -> None:
    from kneo_serv.model.message import Usage

    world = asked(alone(asks("output")), {"judge": Verdict(passed=True, usage=Usage(3, 4, 1))})
    assert world.run.usage.total_tokens == 7


def test_guards_that_cannot_decide_do_not_let_pass() -> None:
    broken = Guardrail("g", "output", "regex", config={"patterns": ["("]})
    assert asked(alone(broken)).outcome == ("failed", "guardrail_violation")
    assert asked(alone(replace(broken, type="magic"))).outcome == ("failed", "guardrail_violation")
    long = Guardrail("g", "output", "regex", config={"patterns": ["x"]})
    assert asked(alone(long), {ROOT: "y" * 1_000_001}).outcome == ("failed", "guardrail_violation")


def test_the_cost_of_a_step_stays_the_same_with_guardrails() -> None:
    def weight(count: int) -> int:
        flow = sequential(*(function(f"f{number}") for number in range(count)))
        world = World(within(flow, asks("workflow"), words("workflow")), {}, checks=False).go()
        return len(world.journal)

    assert weight(40) - weight(30) == weight(20) - weight(10)


@settings(max_examples=60, deadline=None)
@given(moves=st.lists(st.integers(0, 5), max_size=40))
def test_kills_change_neither_the_end_nor_what_was_finished(moves: list[int]) -> None:
    every = tuple(
        asks(stage, "retry" if stage == "output" else "redact", stage) for stage in ("input", "tool", "output")
    )
    flow = concurrent(agent("a"), workflow("w"))
    plans = within(flow, asks("workflow", "human_review", "whole"),
                   agents={"a": AgentPlan("a", guardrails=every, strategy=REACT)},
                   flows={"w": sequential(function("f"), human("h"))}, tools={"t": None, "u": None})  # fmt: skip
    script: Script = {
        "a": lambda heard: "final" if "redacted" in heard else Says("x", tools=("t", "u")),
        "tool": REFUSED,
        "whole": lambda heard: Verdict(passed="f" in heard, reason="dull"),
    }
    world = World(plans, script)
    world.advance()
    for move in moves:
        if move == 0:
            world.interrupt()
            world.advance()
        elif world.flights:
            world.land(move % len(world.flights))
            world.advance()
    for _ in range(10):
        world.go()
        if world.run.status.is_terminal:
            break
        for state in open_tasks(world.run):
            world.answer_task(state, Decision.EDITED, "f after all")
        world.leg(ev.LegReason.RESUME)
    assert world.outcome == ("completed", "f after all")
    ended = [(event.key, event.stage, event.place, event.call_id) for event in world.events(ev.GuardrailApplied)]
    assert len(ended) == len(set(ended))
