"""What becomes of live instances when a new leg begins, or when a failed run is continued."""

from collections.abc import Callable

from kneo_serv.engine.frames import flow_of, holds_calls, is_nested
from kneo_serv.engine.guards import GUARDRAIL_VIOLATION, asked_again, forgiven, taken_up
from kneo_serv.engine.steps import MAX_ITERATIONS, OUTPUT_INVALID, TOOL_ERROR, TOOL_UNAVAILABLE
from kneo_serv.engine.variables import VARIABLE_TYPE
from kneo_serv.model.plan import FlowType, Plan
from kneo_serv.model.quick import replace
from kneo_serv.model.run import CallPhase, Frame, Screening, StepPhase, StepState


def interrupted(frame: Frame) -> Frame:
    """The tree for a new leg: what was in flight may or may not have happened."""
    return _change_all(frame, _interrupted)


def continued(plan: Plan, frame: Frame, *, failed: bool) -> Frame:
    """The tree of a continued run: what had failed gets all its attempts again, and a graph all its steps.

    `failed` says that the run had ended, and that its open questions were withdrawn with it: they are asked anew.
    """
    if flow_of(plan, frame).type is FlowType.GRAPH:
        frame = replace(frame, index=0)

    def change(state: StepState) -> StepState:
        if state.frame is not None:
            state = replace(state, frame=continued(plan, state.frame, failed=failed))
        if state.phase is StepPhase.FAILED:
            return _revived(state)
        if state.phase is StepPhase.ASKED and failed:
            return asked_again(state)
        return _interrupted(state)

    return replace(frame, live={key: change(state) for key, state in frame.live.items()})


def _change_all(frame: Frame, change: Callable[[StepState], StepState]) -> Frame:
    live = {}
    for key, state in frame.live.items():
        inner = state if state.frame is None else replace(state, frame=_change_all(state.frame, change))
        live[key] = change(inner)
    return replace(frame, live=live)


def _interrupted(state: StepState) -> StepState:
    state = taken_up(state)
    # A call that another agent answers goes on with whatever goes on in there.
    calls = tuple(
        replace(call, phase=CallPhase.READY, uncertain=True)
        if call.phase is CallPhase.RUNNING and not is_nested(state, call)
        else call
        for call in state.calls
    )
    if state.phase is StepPhase.RUNNING:
        return replace(state, phase=StepPhase.READY, calls=calls, uncertain=True)
    return replace(state, calls=calls)


def _revived(state: StepState) -> StepState:
    state = taken_up(state, anew=True)
    fresh = replace(
        state,
        # A retry that is due at once: the next attempt begins under its own number.
        phase=StepPhase.RETRY if state.frame is None or holds_calls(state) else StepPhase.NESTED,
        retry_at=None,
        failures=0,
        task=None,
        error_type=None,
        error_message=None,
        violation=False,
    )
    done = forgiven(fresh) if state.error_type == GUARDRAIL_VIOLATION else None
    if done is not None:
        return done
    if state.error_type == VARIABLE_TYPE and not (state.frame is not None and state.frame.live):
        # Its own output did not fit: only another one can.
        again = replace(fresh, phase=StepPhase.RETRY, frame=None, output_text=None, screening=Screening())
        return replace(again, messages=(), calls=(), turn=0)
    if state.error_type in (MAX_ITERATIONS, OUTPUT_INVALID):
        return replace(fresh, messages=(), calls=(), turn=0, outline=None, misfits=0, misfit=None)
    # A failed call that the model may hear of stays answered, unless it is what the step failed of.
    answered = (
        (CallPhase.DONE,) if state.error_type in (TOOL_ERROR, TOOL_UNAVAILABLE) else (CallPhase.DONE, CallPhase.FAILED)
    )
    return replace(
        fresh,
        calls=tuple(
            # An approval counts for one call; another one of the same kind is asked about anew.
            call
            if call.phase in answered or is_nested(fresh, call)
            else replace(call, phase=CallPhase.READY, output="", approved=None, unavailable=False)
            for call in state.calls
        ),
    )
