"""Folding: a run and its next event in, the run after it out. Pure, and total over all events ever written."""

from collections.abc import Callable
from typing import assert_never

from kneo_serv.engine.budgets import seconds_until, used
from kneo_serv.engine.forks import forked
from kneo_serv.engine.frames import AGENT_FLOW, in_frame
from kneo_serv.engine.guards import GuardEvent, fold_guard
from kneo_serv.engine.keys import ROOT_KEY, frame_of
from kneo_serv.engine.legs import continued, interrupted
from kneo_serv.engine.openings import given_to, opened
from kneo_serv.engine.steps import fold_step
from kneo_serv.engine.variables import taken_over
from kneo_serv.model import event as ev
from kneo_serv.model.ids import StepKey
from kneo_serv.model.plan import ROOT, Plan
from kneo_serv.model.quick import replace
from kneo_serv.model.run import Frame, Run, RunStatus


class JournalFault(ValueError):
    """An event does not fit the run that it is said to belong to."""


def evolve(plan: Plan, run: Run, recorded: ev.Recorded) -> Run:
    """The run after one more event.

    Raises:
        JournalFault: the event's number does not follow, or it names a step that is not live.
    """
    if recorded.seq != run.seq + 1:
        raise JournalFault(f"event {recorded.seq} does not follow event {run.seq}")
    event, at = recorded.event, recorded.at
    after = _apply(plan, used(plan, run, event, at), event, at)
    ended_at = (run.ended_at or at) if after.status.is_terminal else None
    seconds = 0.0 if isinstance(event, ev.RunForked) else seconds_until(run, event, at)
    return replace(after, seq=recorded.seq, at=at, ended_at=ended_at, seconds=seconds)


def _apply(plan: Plan, run: Run, event: ev.Event, at: float) -> Run:
    match event:
        case ev.RunCreated():
            flow = ROOT if event.target == "workflow" else AGENT_FLOW
            return replace(
                run,
                status=RunStatus.RUNNING,
                plan_hash=event.plan_hash,
                target=event.target,
                input_text=event.input_text,
                session_id=event.session_id,
                deadline_at=event.deadline_at,
                timeout_seconds=event.timeout_seconds,
                engine_version=event.engine_version,
                token_budget=event.token_budget,
                frame=opened(plan, flow, ROOT_KEY, event.input_text, given=event.input_text),
            )
        case ev.LegStarted():
            frame = run.frame and interrupted(run.frame)
            return replace(run, fence=event.fence, legs=run.legs + 1, started_at=run.started_at or at, frame=frame)
        case ev.StepCompleted():
            run = replace(run, steps=run.steps + 1)
            return _in_frame(run, frame_of(event.key), lambda frame: fold_step(plan, frame, event))
        case ev.StepStarted() | ev.HumanAsked():
            return _begun(plan, run, event)
        case (
            ev.StepFailed()
            | ev.ModelTurnStarted()
            | ev.ModelTurnCompleted()
            | ev.ToolCallStarted()
            | ev.ToolCallCompleted()
            | ev.ToolCallFailed()
            | ev.ToolPolicyDenied()
            | ev.HumanAnswered()
            | ev.HumanEscalated()
            | ev.HumanReminded()
        ):
            return _in_frame(run, frame_of(event.key), lambda frame: fold_step(plan, frame, event))
        case ev.EdgeTaken():
            return _in_frame(
                run,
                event.key,
                lambda frame: replace(
                    frame, last=None, last_executed=None, last_failed=False, next=event.target, decision=None
                ),
            )
        case ev.RunContinued():
            frame = run.frame and continued(plan, run.frame, failed=run.status is RunStatus.FAILED)
            return replace(
                run,
                status=RunStatus.RUNNING,
                frame=frame,
                error_type=None,
                error_message=None,
                failed_step=None,
                violation=False,
            )
        case ev.RunForked():
            return forked(plan, run, event)
        case ev.RunCompleted():
            return replace(run, status=RunStatus.COMPLETED, output_text=event.output_text)
        case ev.RunFailed():
            return replace(
                run,
                status=RunStatus.FAILED,
                error_type=event.error_type,
                error_message=event.message,
                failed_step=event.step_id,
                violation=event.violation,
            )
        case ev.RunCancelled():
            return replace(run, status=RunStatus.CANCELLED, error_type="cancelled", error_message=event.reason)
        case ev.RunTimedOut():
            message = f"The run did not end within its timeout of {event.timeout_seconds or 0:g} seconds."
            return replace(run, status=RunStatus.TIMED_OUT, error_type="run_timed_out", error_message=message)
        case ev.RunExpired():
            return replace(run, status=RunStatus.EXPIRED, error_type="human_task_expired", error_message=event.message)
        case ev.StepReturned() | ev.GuardrailStarted() | ev.GuardrailApplied():
            return _in_frame(run, frame_of(event.key), lambda frame: fold_guard(_emptied(plan, frame, event), event))
        case ev.HumanExpired() | ev.LateOutcome():
            return run
        case _:
            assert_never(event)


def _begun(plan: Plan, run: Run, event: ev.StepStarted | ev.HumanAsked) -> Run:
    try:
        given = given_to(plan, run, frame_of(event.key))
    except KeyError as missing:
        raise JournalFault(f"{missing.args[0]}: nothing of this key is live") from None
    return _in_frame(run, frame_of(event.key), lambda frame: fold_step(plan, frame, event, given))


def _emptied(plan: Plan, frame: Frame, event: GuardEvent) -> Frame:
    """The frame with the variables of a nested one that is about to be let go."""
    state = frame.live.get(event.key)
    return taken_over(plan, frame, state) if isinstance(event, ev.StepReturned) and state is not None else frame


def _in_frame(run: Run, frame_key: StepKey, change: Callable[[Frame], Frame]) -> Run:
    if run.frame is None:
        raise JournalFault(f"{frame_key}: the run was not created yet")
    try:
        return replace(run, frame=in_frame(run.frame, frame_key, change))
    except KeyError as missing:
        raise JournalFault(f"{missing.args[0]}: nothing of this key is live") from None
