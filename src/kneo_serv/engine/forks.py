"""What becomes of a run when it is forked: the copied part stays, and what was open in it begins again."""

from collections.abc import Iterator

from kneo_serv.engine.frames import find, flow_of, in_frame, with_step
from kneo_serv.engine.joins import begun
from kneo_serv.engine.keys import frame_of
from kneo_serv.engine.legs import continued
from kneo_serv.engine.openings import given_to, opened
from kneo_serv.model.event import RunForked
from kneo_serv.model.ids import StepKey
from kneo_serv.model.message import Usage
from kneo_serv.model.plan import FlowType, Plan
from kneo_serv.model.quick import replace
from kneo_serv.model.run import Frame, Run, RunStatus, Screening, StepPhase, StepState


def forked(plan: Plan, run: Run, event: RunForked) -> Run:
    """The run as its fork begins with it: finished steps stay finished, all else is to be done again.

    Tokens and times count from here, so that the sums over all runs tell what was really used.
    """
    frame = run.frame and _begun_again(run.frame, continued(plan, run.frame, failed=True))
    input_text = run.input_text
    if frame is not None and event.input_text is not None:
        if is_untouched(frame):
            input_text = event.input_text
        frame = _with_text(plan, run, frame, event.input_key or frame.key, event.input_text)
    return replace(
        run,
        status=RunStatus.RUNNING,
        plan_hash=event.plan_hash,
        input_text=input_text,
        output_text=None,
        frame=frame,
        fence=0,
        deadline_at=event.deadline_at,
        started_at=None,
        usage=Usage(),
        spent={},
        clocks={},
        grants={},
        error_type=None,
        error_message=None,
        failed_step=None,
        violation=False,
    )


def is_untouched(frame: Frame) -> bool:
    """Whether no step of the workflow has begun yet."""
    return not (frame.live or frame.index or frame.lap or begun(frame))


def input_place(plan: Plan, frame: Frame) -> StepKey | None:
    """Key of the frame, or of the step that is to begin again, which the flowing text goes to.

    None where it is no single one: several branches are at work, or all of them are done.
    """
    if not frame.live:
        parallel = flow_of(plan, frame).type in (FlowType.CONCURRENT, FlowType.MAP)
        return None if parallel and (frame.index or begun(frame)) else frame.key
    if len(frame.live) > 1:
        return None
    (state,) = frame.live.values()
    return state.key if state.frame is None else input_place(plan, state.frame)


def broken_steps(frame: Frame | None) -> Iterator[StepState]:
    """The instances that a run failed of, innermost ones only."""
    for state in frame.live.values() if frame is not None else ():
        if state.phase is StepPhase.FAILED:
            inner = list(broken_steps(state.frame))
            yield from inner or [state]
        else:
            yield from broken_steps(state.frame)


def live_steps(frame: Frame | None) -> Iterator[StepState]:
    """All live instances, each before those of its own frame."""
    for state in frame.live.values() if frame is not None else ():
        yield state
        yield from live_steps(state.frame)


def _with_text(plan: Plan, run: Run, frame: Frame, key: StepKey, text: str) -> Frame:
    state = find(frame, key)
    if state is None or state.frame is not None:
        return in_frame(frame, key, lambda inner: _flowing(plan, run, inner, text))
    if state.phase is StepPhase.SETTLED:
        changed = replace(state, output_text=text, screening=Screening())
    else:
        # Nothing that came of the old text, such as a conversation, says anything about the new one.
        changed = StepState(
            key=state.key,
            step_id=state.step_id,
            executes=state.executes,
            kind=state.kind,
            input_text=text,
            index=state.index,
            phase=state.phase,
            attempt=state.attempt,
            failures=state.failures,
            retry_at=state.retry_at,
            call_count=state.call_count,
            usage=state.usage,
            uncertain=state.uncertain,
        )
    return in_frame(frame, frame_of(key), lambda inner: with_step(inner, changed))


def _flowing(plan: Plan, run: Run, frame: Frame, text: str) -> Frame:
    """The workflow with another text that flows; one that goes through a list reads the list anew."""
    if flow_of(plan, frame).type is not FlowType.MAP or not is_untouched(frame):
        return replace(frame, text=text)
    given = given_to(plan, run, frame.key)
    return opened(plan, frame.flow, frame.key, text, given=given, variables=frame.variables)


def _begun_again(before: Frame, after: Frame) -> Frame:
    """Without the doubt that an interruption leaves: no crash came, and whoever forks a run agreed to repetitions.

    And the steps of a graph count on, so that a fork where nothing is changed ends as its parent does.
    """
    live = {}
    for key, state in after.live.items():
        was = before.live[key]
        calls = tuple(
            replace(call, uncertain=call.uncertain and old.uncertain)
            for call, old in zip(state.calls, was.calls, strict=False)
        )
        inner = state.frame and was.frame and _begun_again(was.frame, state.frame)
        live[key] = replace(state, uncertain=state.uncertain and was.uncertain, calls=calls, frame=inner)
    return replace(after, live=live, index=before.index)
