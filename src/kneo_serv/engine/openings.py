"""How frames begin, and what their steps are given."""

from collections.abc import Mapping
from typing import Any

from kneo_serv.engine.branches import TooManyItemsError, aggregated, items_of
from kneo_serv.engine.expressions import ExpressionError
from kneo_serv.engine.frames import branch_to, flow_of, is_inline, step_of
from kneo_serv.engine.joins import join_counts
from kneo_serv.engine.speakers import question
from kneo_serv.engine.variables import defaults, render, shown
from kneo_serv.model.ids import StepKey
from kneo_serv.model.plan import Flow, FlowType, Plan, Step
from kneo_serv.model.run import Frame, Run


def opened(
    plan: Plan, flow_key: str, key: StepKey, text: str, *, given: str, variables: Mapping[str, Any] | None = None
) -> Frame:
    """The frame of a workflow that begins. With `variables` it shares those of the workflow around it.

    A list that cannot be read is left out; whoever decides what comes next finds out why.
    """
    flow = plan.flows.get(flow_key)
    if flow is None:
        return Frame(flow_key, key, text)
    values = defaults(flow) if variables is None else shown(variables)
    items = None
    if flow.type is FlowType.MAP:
        try:
            items = items_of(flow, text, given=given, variables=values)
        except (ExpressionError, TooManyItemsError):
            items = None
    return Frame(flow_key, key, text, visits=join_counts(flow), variables=values, items=items)


def nested(plan: Plan, frame: Frame, step: Step, flow_key: str, key: StepKey, text: str, *, given: str) -> Frame:
    """The frame that a step of another frame opens."""
    if is_inline(frame, step):
        return opened(plan, flow_key, key, text, given=given, variables=frame.variables)
    return opened(plan, flow_key, key, text, given=text)


def given_to(plan: Plan, run: Run, frame_key: StepKey) -> str:
    """What the workflow of this frame was given; for branches and mapped steps, what the one around them was."""
    given, frame = run.input_text, run.frame
    while frame is not None and frame.key != frame_key:
        state = branch_to(frame, frame_key)
        if state is None:
            raise KeyError(frame_key)
        given = given if is_inline(frame, step_of(flow_of(plan, frame), state)) else state.input_text
        frame = state.frame
    return given


def input_of(flow: Flow, frame: Frame, step: Step, index: int | None, given: str) -> str:
    """What a step that begins now is given."""
    if flow.aggregator is not None and step.id == flow.aggregator.id:
        return aggregated(flow, frame)
    if flow.speaker is not None and step.id == flow.speaker.id:
        return question(flow, frame)
    text = frame.text if frame.items is None or index is None else frame.items[index]
    return text if step.input is None else render(step.input, text=text, given=given, variables=shown(frame.variables))
