"""How a run stands, for the projection: its status and phase, and what it waits for."""

from dataclasses import dataclass

from kneo_serv.engine.frames import holds_calls, in_flight, leaves
from kneo_serv.engine.joins import broken_by
from kneo_serv.model.ids import ContinuationId
from kneo_serv.model.quick import quick
from kneo_serv.model.run import CallPhase, Frame, Phase, Run, RunStatus, StepPhase, StepState


@quick
@dataclass(frozen=True, slots=True)
class Posture:
    """How a run stands. It rests on people (`blocked`) when every open leaf waits for one."""

    status: RunStatus
    phase: Phase
    step_id: str | None = None
    step_index: int | None = None
    continuation_id: ContinuationId | None = None
    retry_at: float | None = None
    """Earliest moment at which a retry is due; with the phase runnable, other branches are at work before."""


def posture(run: Run) -> Posture:
    """How the run stands after its last event."""
    if run.status.is_terminal:
        return Posture(run.status, Phase.ENDED)
    front = next(iter(run.frame.live.values()), None) if run.frame is not None else None
    step_id = front.step_id if front is not None else None
    index = front.index if front is not None else None
    asked = next((state.task for state in leaves(run.frame) if state.phase is StepPhase.ASKED), None)
    continuation = asked.continuation_id if asked is not None else None
    retry_at = _retry_at(run.frame)
    if run.frame is None or _busy(run.frame):
        return Posture(RunStatus.RUNNING, Phase.RUNNABLE, step_id, index, continuation, retry_at)
    if retry_at is not None:
        return Posture(RunStatus.RUNNING, Phase.WAITING_TIMER, step_id, index, continuation, retry_at)
    return Posture(RunStatus.BLOCKED, Phase.WAITING_HUMAN, step_id, index, continuation)


def _busy(frame: Frame) -> bool:
    """Whether something is being done here, or can be done without a person and before any timer."""
    if not frame.live:
        return True
    broken = broken_by(frame) is not None
    for state in frame.live.values():
        if broken and state.phase is StepPhase.READY and not in_flight(state):
            # Where the workflow is lost nobody is asked any more: what waits to be asked about is not at work.
            continue
        match state.phase:
            case StepPhase.ASKED | StepPhase.FAILED:
                continue
            case StepPhase.RETRY if state.retry_at is not None:
                continue
            case StepPhase.NESTED if state.frame is not None and not _busy(state.frame):
                continue
            case StepPhase.READY if holds_calls(state) and not _answering(state):
                continue
            case _:
                return True
    # What failed is told as soon as nothing beside it waits for another attempt.
    return broken and _retry_at(frame) is None


def _answering(state: StepState) -> bool:
    """Whether something is being done for a call of this step, or can be done without a person and before any timer."""
    children = state.frame.live if state.frame is not None else {}
    running = sum(call.phase is CallPhase.RUNNING for call in state.calls)
    # A call that is no agent's is at work itself; an agent's that ended is about to be answered.
    return not children or running > len(children) or (state.frame is not None and _busy(state.frame))


def _retry_at(frame: Frame | None) -> float | None:
    """When the first retry in here is due."""
    moments = (state.retry_at for state in leaves(frame) if state.phase is StepPhase.RETRY)
    return min((moment for moment in moments if moment is not None), default=None)
