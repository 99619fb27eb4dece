"""Folding of what happens to one step instance, inside the frame that holds it."""

from typing import assert_never

from kneo_serv.engine.answers import answer_text
from kneo_serv.engine.approvals import answered_approval
from kneo_serv.engine.budgets import BUDGET_EXCEEDED
from kneo_serv.engine.frames import (
    CALLS_FLOW,
    agent_of,
    call_key,
    flow_of,
    holds_calls,
    in_place_of,
    step_named,
    step_of,
    with_step,
    without_step,
)
from kneo_serv.engine.guards import reviewed
from kneo_serv.engine.joins import has_enough
from kneo_serv.engine.keys import fallback_key, nested_key
from kneo_serv.engine.openings import input_of, nested
from kneo_serv.engine.speakers import named
from kneo_serv.engine.transfers import handed_text, misdirected, transfer, transfer_of
from kneo_serv.engine.turns import conversation, doubtful_call, is_planning, needs_tools
from kneo_serv.engine.variables import kept
from kneo_serv.model import event as ev
from kneo_serv.model.message import Message, Role
from kneo_serv.model.plan import Flow, FlowType, OnReject, Plan, StepKind
from kneo_serv.model.quick import replace
from kneo_serv.model.run import CallPhase, CallState, Frame, Screening, StepPhase, StepState, TaskState
from kneo_serv.model.task import About, Decision

MAX_ITERATIONS = "max_iterations"
"""Error type of an agent that used up its model turns."""

OUTPUT_INVALID = "output_invalid"
"""Error type of an agent whose answers do not fit its `output_schema`."""

TOOL_POLICY_DENIED = "tool_policy_denied"
"""Error type of an agent that called what its tool policy refuses."""

TOOL_UNAVAILABLE = "tool_unavailable"
"""Error type of an agent whose tool is not to be had on this platform."""

TOOL_ERROR = "tool_error"
"""Error type of an agent that stops when a tool fails (`stop_on_tool_error`)."""

type StepEvent = (
    ev.StepStarted
    | ev.StepCompleted
    | ev.StepFailed
    | ev.ModelTurnStarted
    | ev.ModelTurnCompleted
    | ev.ToolCallStarted
    | ev.ToolCallCompleted
    | ev.ToolCallFailed
    | ev.ToolPolicyDenied
    | ev.HumanAsked
    | ev.HumanAnswered
    | ev.HumanEscalated
    | ev.HumanReminded
)


def fold_step(plan: Plan, frame: Frame, event: StepEvent, given: str = "") -> Frame:
    """The frame after something happened to one of its steps. Raises KeyError when the step is not live.

    `given` is what the frame's workflow began with; it counts where a step begins.
    """
    match event:
        case ev.StepStarted():
            return _started(plan, frame, event, given)
        case ev.HumanAsked():
            return _asked(plan, frame, event, given)
        case ev.StepCompleted():
            return _ended(plan, frame, frame.live[event.key], event.output_text, failed=False)
        case ev.StepFailed():
            return _failed(plan, frame, frame.live[event.key], event)
        case ev.ModelTurnStarted():
            return with_step(frame, replace(frame.live[event.key], phase=StepPhase.RUNNING))
        case ev.ModelTurnCompleted():
            return with_step(frame, _turn(plan, frame, frame.live[event.key], event))
        case ev.ToolCallStarted():
            return with_step(frame, _called(plan, frame.live[event.key], event))
        case ev.ToolCallCompleted():
            return with_step(frame, _call(frame.live[event.key], event.call_id, CallPhase.DONE, event.output))
        case ev.ToolCallFailed() if event.uncertain:
            return with_step(frame, _in_doubt(plan, frame.live[event.key], event))
        case ev.ToolCallFailed():
            state = _call(frame.live[event.key], event.call_id, CallPhase.FAILED, event.message)
            return with_step(frame, _without_tool(state, event.call_id) if event.unavailable else state)
        case ev.ToolPolicyDenied():
            return with_step(frame, _call(frame.live[event.key], event.call_id, CallPhase.DENIED, event.reason))
        case ev.HumanAnswered():
            return _answered(plan, frame, frame.live[event.key], event)
        case ev.HumanEscalated():
            state = frame.live[event.key]
            return with_step(frame, replace(state, task=state.task and replace(state.task, escalated=True)))
        case ev.HumanReminded():
            state = frame.live[event.key]
            told = state.task and replace(state.task, reminders=event.number, reminded_for=event.due_at)
            return with_step(frame, replace(state, task=told))
        case _:
            assert_never(event)


def _started(plan: Plan, frame: Frame, event: ev.StepStarted, given: str) -> Frame:
    step_id = event.fallback_for or event.step_id
    flow = flow_of(plan, frame)
    state = frame.live.get(event.key)
    if state is None:
        text = input_of(flow, frame, step_named(flow, step_id, event.index), event.index, given)
        state = StepState(event.key, step_id, event.step_id, event.step_kind, text, event.index)
        frame = _visited(flow, frame, step_id)
    # Agents that answer calls of an earlier attempt go on: the new one needs their answers.
    inner = state.frame if holds_calls(state) else None
    if event.flow is not None:
        step, key = step_of(flow, state), nested_key(event.key, event.attempt)
        inner = nested(plan, frame, step, event.flow, key, state.input_text, given=given)
    return with_step(
        frame,
        replace(
            state,
            phase=StepPhase.RUNNING if event.flow is None else StepPhase.NESTED,
            attempt=event.attempt,
            retry_at=None,
            uncertain=False,
            frame=inner,
        ),
    )


def _asked(plan: Plan, frame: Frame, event: ev.HumanAsked, given: str) -> Frame:
    state = frame.live.get(event.key)
    if state is None:
        flow = flow_of(plan, frame)
        text = input_of(flow, frame, step_named(flow, event.step_id, event.index), event.index, given)
        state = StepState(event.key, event.step_id, event.step_id, StepKind.HUMAN, text, event.index)
        frame = _visited(flow, frame, event.step_id)
    task = TaskState(
        event.continuation_id, event.request.id, event.expires_at, about=event.about, subject=event.subject
    )
    decided = state.task.decision if state.task is not None else None
    return with_step(frame, replace(state, phase=StepPhase.ASKED, task=task, decided=decided))


def _answered(plan: Plan, frame: Frame, state: StepState, event: ev.HumanAnswered) -> Frame:
    match state.task.about if state.task is not None else None:
        case About.APPROVAL:
            return with_step(frame, answered_approval(plan, state, event))
        case About.BUDGET:
            return with_step(frame, _granted(state, event))
        case None:
            pass
    judged = reviewed(state, event)
    if judged is not None:
        return with_step(frame, judged)
    task = state.task and replace(state.task, decision=event.decision)
    if state.kind is not StepKind.HUMAN:
        return with_step(frame, _reviewed(plan, replace(state, task=None), event))
    human = plan.humans[step_of(flow_of(plan, frame), state).ref]
    if event.decision is Decision.REJECTED and human.on_reject is OnReject.FAIL:
        return with_step(
            frame,
            replace(
                state,
                phase=StepPhase.FAILED,
                task=task,
                error_type="human_rejected",
                error_message=answer_text(event.decision, state.input_text, content=event.content),
            ),
        )
    text = answer_text(event.decision, state.input_text, content=event.content, selected_option=event.selected_option)
    settled = replace(state, phase=StepPhase.SETTLED, task=task, output_text=text, screening=Screening())
    return with_step(frame, settled)


def _granted(state: StepState, event: ev.HumanAnswered) -> StepState:
    """The step after a person decided whether more may be used; how much more, the run keeps."""
    if event.decision is not Decision.REJECTED:
        return replace(state, phase=StepPhase.READY, task=None)
    reason = f": {event.content}" if event.content else ""
    return replace(
        state,
        phase=StepPhase.FAILED,
        task=None,
        error_type=BUDGET_EXCEEDED,
        error_message=f"The budget is used up, and a person refused more{reason}.",
        violation=True,
    )


def _reviewed(plan: Plan, state: StepState, event: ev.HumanAnswered) -> StepState:
    """A person said what became of an effect that a crash or a time limit left uncertain."""
    if event.decision is Decision.REJECTED:
        return replace(
            state,
            phase=StepPhase.FAILED,
            error_type="effect_uncertain",
            error_message="Nobody knows whether the effect happened, and the reviewer decided not to go on.",
        )
    again = event.decision is Decision.APPROVED
    doubtful = doubtful_call(plan, state)
    if doubtful is None:
        if again:
            return replace(state, phase=StepPhase.READY, uncertain=False)
        return replace(state, phase=StepPhase.SETTLED, uncertain=False, output_text=event.content or "")
    settled = (
        replace(doubtful, uncertain=False)
        if again
        else replace(doubtful, uncertain=False, phase=CallPhase.DONE, output=event.content or "")
    )
    calls = tuple(settled if call is doubtful else call for call in state.calls)
    return replace(state, phase=StepPhase.READY, calls=calls)


def _failed(plan: Plan, frame: Frame, state: StepState, event: ev.StepFailed) -> Frame:
    lost = replace(
        state,
        failures=state.failures + (not event.held),
        error_type=event.error_type,
        error_message=event.message,
        violation=event.violation,
        uncertain=event.uncertain,
    )
    match event.resolution:
        case ev.Resolution.RETRY:
            if state.phase is not StepPhase.RUNNING:
                # The conversation itself led nowhere. When only the model's answer was lost, it is taken up again.
                lost = replace(
                    lost,
                    messages=(),
                    calls=(),
                    turn=0,
                    output_text=None,
                    screening=Screening(),
                    task=None,
                    outline=None,
                    misfits=0,
                    misfit=None,
                )
            return with_step(frame, replace(lost, phase=StepPhase.RETRY, retry_at=event.retry_at, frame=None))
        case ev.Resolution.CONTINUE:
            return _ended(plan, frame, state, state.input_text, failed=True)
        case ev.Resolution.FALLBACK:
            stand_in = flow_of(plan, frame).step(flow_of(plan, frame).step(state.step_id).fallback or "")
            fresh = StepState(
                fallback_key(state.key, stand_in.id),
                state.step_id,
                stand_in.id,
                stand_in.kind,
                state.input_text,
                state.index,
            )
            return in_place_of(frame, state.key, fresh)
        case ev.Resolution.FAIL:
            # What the attempt has finished so far is kept, so that a continued run does not do it again.
            return with_step(frame, replace(lost, phase=StepPhase.FAILED))
        case _:
            assert_never(event.resolution)


def _visited(flow: Flow, frame: Frame, step_id: str) -> Frame:
    """The frame once a step of it begins. A sequence needs no count, since its cursor never comes by twice."""
    if flow.type is FlowType.SEQUENTIAL:
        return frame
    if flow.type is FlowType.MAP and not _is_aggregator(flow, step_id):
        # Items begin in the order of the list, so that their number tells which ones did.
        return replace(frame, index=frame.index + 1)
    return replace(frame, visits={**frame.visits, step_id: frame.visits.get(step_id, 0) + 1}, next=None)


def _ended(plan: Plan, frame: Frame, state: StepState, text: str, *, failed: bool) -> Frame:
    flow = flow_of(plan, frame)
    if frame.flow == CALLS_FLOW:
        return replace(without_step(frame, state.key), outputs={**frame.outputs, state.key: text})
    frame = without_step(frame if failed else kept(plan, frame, state, text), state.key)
    if _is_aggregator(flow, state.step_id):
        return replace(frame, outputs={**frame.outputs, state.step_id: text})
    if flow.speaker is not None and state.step_id == flow.speaker.id:
        return replace(frame, next=named(flow, frame, None if failed else text))
    if has_enough(frame):
        # Nobody waits for the others any more: they are gone, with all that they have begun.
        frame = replace(frame, live={})
    decision = state.task.decision if state.task is not None else None
    goto = _goto(plan, flow, state) if decision is Decision.REJECTED else None
    match flow.type:
        case FlowType.SEQUENTIAL if goto is not None:
            return replace(frame, index=flow.steps.index(flow.step(goto)), lap=frame.lap + 1, text=text)
        case FlowType.HANDOFF if flow.transfer:
            following = None if failed else transfer_of(flow, step_of(flow, state), state)
            return replace(frame, index=frame.index + 1, text=text, next=following)
        case FlowType.GROUP_CHAT if flow.until is not None or flow.speaker is not None:
            return _left(replace(frame, index=frame.index + 1, text=text), state, decision, failed=failed)
        case FlowType.SEQUENTIAL | FlowType.HANDOFF | FlowType.GROUP_CHAT:
            return replace(frame, index=frame.index + 1, text=text)
        case FlowType.CONCURRENT if failed or decision is Decision.APPROVED:
            return frame  # it said nothing of its own, so that the word stays with those who did
        case FlowType.CONCURRENT:
            return replace(frame, outputs={**frame.outputs, state.step_id: text})
        case FlowType.MAP:
            # Each item has its place in the result, whatever became of it.
            return replace(frame, outputs={**frame.outputs, str(state.index): text})
        case FlowType.GRAPH if goto is not None:
            return replace(frame, index=frame.index + 1, text=text, next=goto)
        case FlowType.GRAPH:
            return _left(replace(frame, index=frame.index + 1, text=text), state, decision, failed=failed)


def _left(frame: Frame, state: StepState, decision: Decision | None, *, failed: bool) -> Frame:
    """The frame with what conditions are to see of a step that ended."""
    return replace(frame, last=state.step_id, last_executed=state.executes, last_failed=failed, decision=decision)


def _is_aggregator(flow: Flow, step_id: str) -> bool:
    return flow.aggregator is not None and step_id == flow.aggregator.id


def _goto(plan: Plan, flow: Flow, state: StepState) -> str | None:
    if state.kind is not StepKind.HUMAN:
        return None
    human = plan.humans[step_of(flow, state).ref]
    return human.reject_goto if human.on_reject is OnReject.GOTO else None


def _turn(plan: Plan, frame: Frame, state: StepState, event: ev.ModelTurnCompleted) -> StepState:
    flow = flow_of(plan, frame)
    step = step_of(flow, state)
    agent = plan.agents[agent_of(frame, step)]
    if is_planning(agent, state):
        used = state.usage + event.usage
        return replace(state, phase=StepPhase.READY, turn=event.turn, outline=event.text, usage=used, uncertain=False)
    answer = Message(Role.ASSISTANT, event.text, tool_calls=event.tool_calls, raw=event.raw)
    messages = (*conversation(state), answer)
    state = replace(state, turn=event.turn, messages=messages, usage=state.usage + event.usage, misfit=event.misfit)
    handed = transfer(flow, step, event.tool_calls)
    if handed is not None:
        text = handed_text(event.text, handed[1], state.input_text)
        return replace(state, phase=StepPhase.SETTLED, output_text=text, calls=(), screening=Screening())
    lost = {call.id: why for call in event.tool_calls if (why := misdirected(flow, step, agent, call)) is not None}
    if not lost and not needs_tools(agent, event.tool_calls):
        if event.misfit is not None:
            return _to_be_mended(state, event.misfit)
        return replace(state, phase=StepPhase.SETTLED, output_text=event.text, calls=(), screening=Screening())
    if not needs_tools(agent, event.tool_calls):
        # Every wish needs an answer, also those that the strategy simple passes over.
        lost = {call.id: lost.get(call.id, "you have no tools but those to hand over") for call in event.tool_calls}
    calls = tuple(
        CallState(call, state.call_count + place, CallPhase.FAILED, lost[call.id])
        if call.id in lost
        else CallState(
            call,
            state.call_count + place,
            needs_approval=call.id in event.approvals,
            admitted=call.id in event.admitted,
        )
        for place, call in enumerate(event.tool_calls, 1)
    )
    return replace(
        state, phase=StepPhase.READY, uncertain=False, calls=calls, call_count=state.call_count + len(calls), frame=None
    )


def _to_be_mended(state: StepState, misfit: str) -> StepState:
    """The step whose last answer does not fit its schema: the model is told what, and asked again."""
    said = replace(state.messages[-1], tool_calls=(), raw=None) if state.messages[-1].tool_calls else state.messages[-1]
    wish = f"Your answer does not fit the required JSON Schema: {misfit} Answer again with nothing but JSON that fits."
    return replace(
        state,
        phase=StepPhase.READY,
        uncertain=False,
        messages=(*state.messages[:-1], said, Message(Role.USER, wish)),
        calls=(),
        misfits=state.misfits + 1,
    )


def _called(plan: Plan, state: StepState, event: ev.ToolCallStarted) -> StepState:
    """The step once a tool is being called. Where an agent is the tool, it works in a frame of the step."""
    if event.inner is not None:
        calls = (*state.calls, CallState(event.inner, event.number, CallPhase.RUNNING, inner=True))
        return replace(state, calls=calls, call_count=event.number)
    # Where the call is what a new attempt begins with, the step itself is not in flight: its call is.
    state = _call(replace(state, phase=StepPhase.READY), event.call_id, CallPhase.RUNNING)
    tool = plan.tools.get(event.tool_name)
    call = next(call for call in state.calls if call.call.id == event.call_id)
    if not call.admitted or tool is None or tool.agent is None:
        return state
    key = call_key(state, call)
    text = call.call.arguments.get("input")
    text = text if isinstance(text, str) else ""
    child = StepState(key, event.tool_name, event.tool_name, StepKind.AGENT, text)
    frame = state.frame
    if frame is None:
        frame = Frame(CALLS_FLOW, nested_key(state.key, state.attempt), text)
    return replace(state, frame=with_step(frame, child))


def _without_tool(state: StepState, call_id: str) -> StepState:
    calls = tuple(replace(call, unavailable=True) if call.call.id == call_id else call for call in state.calls)
    return replace(state, calls=calls)


def _in_doubt(plan: Plan, state: StepState, event: ev.ToolCallFailed) -> StepState:
    """The step whose call was given up while it was at work. What must not happen twice waits for a person."""
    calls = tuple(
        replace(call, phase=CallPhase.READY, uncertain=True) if call.call.id == event.call_id else call
        for call in state.calls
    )
    if doubtful_call(plan, replace(state, calls=calls)) is None:
        return _call(state, event.call_id, CallPhase.FAILED, event.message)
    return replace(state, calls=calls)


def _call(state: StepState, call_id: str, phase: CallPhase, output: str = "") -> StepState:
    if all(call.call.id != call_id for call in state.calls):
        raise KeyError(f"{state.key} {call_id}")
    if phase in (CallPhase.DONE, CallPhase.FAILED) and holds_calls(state) and state.frame is not None:
        ended = next(call_key(state, call) for call in state.calls if call.call.id == call_id)
        outputs = {key: text for key, text in state.frame.outputs.items() if key != ended}
        rest = replace(without_step(state.frame, ended), outputs=outputs)
        state = replace(state, frame=rest if rest.live or rest.outputs else None)
    calls = tuple(
        replace(call, phase=phase, output=output, uncertain=False) if call.call.id == call_id else call
        for call in state.calls
    )
    return replace(state, calls=calls)
