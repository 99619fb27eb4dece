"""How a run stands, for the projection: its status and phase, and what it waits for."""

from dataclasses import dataclass

from kneo_serv.engine.frames import leaves
from kneo_serv.model.ids import ContinuationId
from kneo_serv.model.run import CallPhase, Phase, Run, RunStatus, StepPhase


@dataclass(frozen=True, slots=True)
class Posture:
    """How a run stands. It rests on people (`blocked`) when every open leaf waits for one."""

    status: RunStatus
    phase: Phase
    step_id: str | None = None
    step_index: int | None = None
    continuation_id: ContinuationId | None = None
    retry_at: float | None = None
    """Earliest moment at which a retry is due, when nothing else can be done before."""


def posture(run: Run) -> Posture:
    """How the run stands after its last event."""
    if run.status.is_terminal:
        return Posture(run.status, Phase.ENDED)
    open_leaves = list(leaves(run.frame))
    front = next(iter(run.frame.live.values()), None) if run.frame is not None else None
    step_id = front.step_id if front is not None else None
    index = front.index if front is not None else None
    asked = [state for state in open_leaves if state.phase is StepPhase.ASKED and state.task is not None]
    continuation = asked[0].task.continuation_id if asked and asked[0].task is not None else None
    waiting = [state.retry_at for state in open_leaves if state.phase is StepPhase.RETRY and state.retry_at is not None]
    busy = any(
        state.phase not in (StepPhase.ASKED, StepPhase.RETRY)
        or any(
            call.phase in (CallPhase.READY, CallPhase.RUNNING)
            for call in state.calls
            if state.phase is not StepPhase.ASKED
        )
        for state in open_leaves
    )
    if asked and len(asked) == len(open_leaves):
        return Posture(RunStatus.BLOCKED, Phase.WAITING_HUMAN, step_id, index, continuation)
    if waiting and not busy:
        return Posture(RunStatus.RUNNING, Phase.WAITING_TIMER, step_id, index, continuation, retry_at=min(waiting))
    return Posture(RunStatus.RUNNING, Phase.RUNNABLE, step_id, index, continuation)
