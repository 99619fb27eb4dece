"""What people decide, and what goes on then."""

import pytest

from kneo_serv.engine import answer_text, find, refusal
from kneo_serv.model import event as ev
from kneo_serv.model.ids import StepKey
from kneo_serv.model.plan import Condition, FunctionPlan, HumanPlan, OnReject, RequestType
from kneo_serv.model.run import RunStatus
from kneo_serv.model.task import Decision
from kneo_serv.model.tool import Effect
from tests.engine.simulation import World, run
from tests.engine.worlds import (
    agent,
    concurrent,
    edge,
    function,
    graph,
    group_chat,
    human,
    plan,
    sequential,
)


@pytest.mark.parametrize(
    ("decision", "content", "option", "text"),
    [
        (Decision.APPROVED, "ignored", None, "input"),
        (Decision.REJECTED, "too long", None, "Rejected by human reviewer: too long"),
        (Decision.REJECTED, None, None, "Rejected by human reviewer: "),
        (Decision.EDITED, "better", None, "better"),
        (Decision.EDITED, "", None, "input"),
        (Decision.SELECTED, "content", "red", "red"),
        (Decision.SELECTED, "content", None, "content"),
        (Decision.SELECTED, None, None, "input"),
        (Decision.PROVIDED, "given", None, "given"),
        (Decision.PROVIDED, None, None, "input"),
    ],
)
def test_the_text_that_goes_on(decision: Decision, content: str | None, option: str | None, text: str) -> None:
    assert answer_text(decision, "input", content=content, selected_option=option) == text
    world = run(plan(sequential(human("h"))), text="input")
    world.answer(None, decision, content, option=option)
    assert world.go().outcome == ("completed", text)


_ALLOWED = {
    RequestType.APPROVAL: {Decision.APPROVED, Decision.REJECTED, Decision.EDITED},
    RequestType.REVIEW: {Decision.APPROVED, Decision.REJECTED, Decision.EDITED, Decision.PROVIDED},
    RequestType.CORRECTION: {Decision.APPROVED, Decision.REJECTED, Decision.EDITED},
    RequestType.SELECTION: {Decision.SELECTED, Decision.REJECTED},
    RequestType.FREEFORM: {Decision.PROVIDED, Decision.REJECTED},
}


@pytest.mark.parametrize("request_type", RequestType)
@pytest.mark.parametrize("decision", Decision)
def test_each_type_of_request_takes_its_own_decisions(request_type: RequestType, decision: Decision) -> None:
    why = refusal(request_type, ("red",), decision, content="text", selected_option="red")
    assert (why is None) == (decision in _ALLOWED[request_type])


@pytest.mark.parametrize(
    ("request_type", "decision", "content", "option"),
    [
        (RequestType.APPROVAL, Decision.EDITED, None, None),
        (RequestType.APPROVAL, Decision.EDITED, "  ", None),
        (RequestType.FREEFORM, Decision.PROVIDED, "", None),
        (RequestType.SELECTION, Decision.SELECTED, None, None),
        (RequestType.SELECTION, Decision.SELECTED, "red", None),
        (RequestType.SELECTION, Decision.SELECTED, None, "green"),
    ],
)
def test_an_answer_without_what_it_needs_is_refused(
    request_type: RequestType, decision: Decision, content: str | None, option: str | None
) -> None:
    assert refusal(request_type, ("red", "blue"), decision, content=content, selected_option=option)


def test_a_question_carries_what_its_component_says() -> None:
    component = HumanPlan(
        description="Look", assignee="ann", timeout_seconds=60, options=("x",), context={"team": "blue"}
    )
    world = run(plan(sequential(function("a"), human("h")), humans={"h": component}))
    (asked,) = world.events(ev.HumanAsked)
    assert (asked.request.title, asked.request.prompt, asked.request.requested_by) == ("Look", "Look", "h")
    assert (asked.request.assignee, asked.request.options, asked.request.context) == ("ann", ("x",), {"team": "blue"})
    assert asked.expires_at == 1060
    assert asked.index == 1


@pytest.mark.parametrize("timeout", [None, 0, -5])
def test_a_question_without_a_time_limit_never_expires(timeout: float | None) -> None:
    world = run(plan(sequential(human("h")), humans={"h": HumanPlan(timeout_seconds=timeout)}))
    (asked,) = world.events(ev.HumanAsked)
    assert asked.expires_at is None


def test_an_interruption_while_a_person_thinks_changes_nothing() -> None:
    world = run(plan(sequential(human("h"), function("b"))))
    world.interrupt().go()
    assert world.asked == ["main/h#1"]
    assert len(world.events(ev.HumanAsked)) == 1
    assert world.resume(None, Decision.EDITED, "new").outcome == ("completed", "new>b")


def test_a_rejection_goes_on_as_a_text_by_default() -> None:
    world = run(plan(sequential(human("h"), function("b"))))
    assert world.resume(None, Decision.REJECTED, "no").outcome == ("completed", "Rejected by human reviewer: no>b")


def test_a_rejection_fails_the_run_where_it_shall() -> None:
    world = run(plan(sequential(human("h"), function("b")), humans={"h": HumanPlan(on_reject=OnReject.FAIL)}))
    assert world.resume(None, Decision.REJECTED, "no").outcome == ("failed", "human_rejected")
    assert world.run.failed_step == "h"
    assert world.begun == []


def test_a_rejection_leads_back_in_a_sequence_under_new_keys() -> None:
    component = HumanPlan(on_reject=OnReject.GOTO, reject_goto="b")
    world = run(plan(sequential(function("a"), function("b"), human("h"), function("c")), humans={"h": component}))
    assert world.resume(None, Decision.REJECTED, "1").asked == ["main/h#2"]
    assert world.resume(None, Decision.REJECTED, "2").asked == ["main/h#3"]
    text = "Rejected by human reviewer: 2>b"
    assert world.resume(None, Decision.EDITED, text).outcome == ("completed", f"{text}>c")
    assert world.completed() == ["a#1", "b#1", "h#1", "b#2", "h#2", "b#3", "h#3", "c#3"]


def test_a_rejection_leads_to_a_node_of_a_graph() -> None:
    component = HumanPlan(on_reject=OnReject.GOTO, reject_goto="a")
    nodes = graph(function("a"), human("h"), function("c"), edges=(edge("a", "h"), edge("h", "c")))
    world = run(plan(nodes, humans={"h": component}))
    assert world.resume(None, Decision.REJECTED, "again").asked == ["main/h#2"]
    assert world.resume().outcome == ("completed", "Rejected by human reviewer: again>a>c")


def test_a_person_is_asked_once_per_round_of_a_chat() -> None:
    world = run(plan(group_chat(function("a"), human("h"), rounds=2)))
    assert world.asked == ["main/h#1"]
    assert world.resume().asked == ["main/h#2"]
    assert world.resume(None, Decision.EDITED, "end").outcome == ("completed", "end")
    assert len({asked.continuation_id for asked in world.events(ev.HumanAsked)}) == 2


def test_edges_see_what_a_person_decided() -> None:
    condition = Condition("metadata_equals", "rejected", key="human_response")
    nodes = graph(human("h"), function("no"), function("yes"), edges=(edge("h", "no", condition), edge("h", "yes")))
    assert run(plan(nodes)).resume(None, Decision.REJECTED).begun == ["no"]
    assert run(plan(nodes)).resume().begun == ["yes"]


def test_an_escalated_question_can_still_be_answered() -> None:
    world = run(plan(sequential(human("h"))))
    state = find(world.run.frame, StepKey("main/h#1"))
    assert state is not None
    assert state.task is not None
    world.add(ev.HumanEscalated(state.key, "h", state.task.continuation_id, 1100.0))
    assert world.stand.status is RunStatus.BLOCKED
    assert world.resume().outcome == ("completed", "in")


def test_several_people_answer_in_any_order() -> None:
    people = plan(concurrent(human("h1"), human("h2"), human("h3")))
    for order in (["h1", "h2", "h3"], ["h3", "h1", "h2"], ["h2", "h3", "h1"]):
        world = run(people)
        assert world.asked == ["main/h1#1", "main/h2#1", "main/h3#1"]
        for place, step_id in enumerate(order):
            assert len(world.asked) == 3 - place
            world.resume(step_id, Decision.EDITED, f"by {step_id}")
        assert world.outcome == ("completed", "by h3")


@pytest.mark.parametrize(
    ("decision", "content", "outcome", "calls"),
    [
        (Decision.APPROVED, None, ("completed", "in>pay>b"), ["pay", "pay", "b"]),
        (Decision.PROVIDED, "paid", ("completed", "paid>b"), ["pay", "b"]),
        (Decision.EDITED, "paid", ("completed", "paid>b"), ["pay", "b"]),
        (Decision.REJECTED, None, ("failed", "effect_uncertain"), ["pay"]),
    ],
)
def test_a_person_decides_about_an_effect_that_a_crash_left_uncertain(
    decision: Decision, content: str | None, outcome: tuple[str, str], calls: list[str]
) -> None:
    once = {"pay": FunctionPlan("app:pay", Effect.ONCE)}
    world = World(plan(sequential(function("pay"), function("b")), functions=once))
    world.advance()
    world.interrupt().go()
    assert world.stand.status is RunStatus.BLOCKED
    (asked,) = world.events(ev.HumanAsked)
    assert asked.request.metadata == {"needs_review": True}
    assert asked.request.type is RequestType.REVIEW
    assert world.resume(None, decision, content).outcome == outcome
    assert world.begun == calls


def test_a_continued_run_asks_again_about_an_uncertain_effect() -> None:
    once = {"pay": FunctionPlan("app:pay", Effect.ONCE)}
    world = World(plan(sequential(function("pay")), functions=once))
    world.advance()
    world.interrupt().go()
    world.resume(None, Decision.REJECTED)
    assert world.carry_on().asked == ["main/pay#1"]
    assert world.resume(None, Decision.PROVIDED, "paid").outcome == ("completed", "paid")
    assert world.begun == ["pay"]


@pytest.mark.parametrize("effect", [None, Effect.IDEMPOTENT, Effect.KEYED])
def test_other_effects_are_simply_tried_again(effect: Effect | None) -> None:
    world = World(plan(sequential(function("f")), functions={"f": FunctionPlan("app:f", effect)}))
    world.advance()
    assert world.interrupt().go().outcome == ("completed", "in>f")
    assert world.begun == ["f", "f"]


def test_an_agent_after_a_person_gets_the_new_text() -> None:
    world = run(plan(sequential(human("h"), agent("a"))))
    assert world.resume(None, Decision.EDITED, "new").outcome == ("completed", "new>a")
