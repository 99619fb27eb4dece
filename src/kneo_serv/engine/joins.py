"""How many branches of a parallel workflow are waited for, and how many may fail.

A workflow that does not wait for all keeps both numbers among the visits of its frame, so that how a run stands, and
which questions an outcome withdraws, can be told without the plan.
"""

from collections.abc import Iterator

from kneo_serv.model.plan import Flow, FlowType, JoinType
from kneo_serv.model.run import Frame, StepPhase, StepState

_ENOUGH, _SPARE = "@enough", "@spare"


def join_counts(flow: Flow) -> dict[str, int]:
    """What the frame of this workflow begins with among its visits."""
    if flow.type is not FlowType.CONCURRENT or flow.join.type is JoinType.ALL:
        return {}
    count = len(flow.steps)
    enough = min(1 if flow.join.type is JoinType.ANY else flow.join.count or count, count)
    return {_ENOUGH: enough, _SPARE: count - enough}


def begun(frame: Frame) -> bool:
    """Whether a branch of this frame began."""
    return any(name not in (_ENOUGH, _SPARE) for name in frame.visits)


def has_enough(frame: Frame, *, ending: int = 0) -> bool:
    """Whether no branch is waited for any more; `ending` live ones are about to finish."""
    if _ENOUGH not in frame.visits:
        return False
    visited = sum(1 for name in frame.visits if name not in (_ENOUGH, _SPARE))
    return visited - len(frame.live) + ending >= frame.visits[_ENOUGH]


def broken_by(frame: Frame) -> StepState | None:
    """The branch that breaks the workflow, once too many have failed.

    The first in declared order is told, so that it never matters who was faster; but a violation before all others,
    since nothing absorbs it.
    """
    failed = list(_failed(frame))
    if len(failed) <= frame.visits.get(_SPARE, 0):
        return None
    return next((state for state in failed if state.violation), failed[0])


def _failed(frame: Frame) -> Iterator[StepState]:
    return (state for state in frame.live.values() if state.phase is StepPhase.FAILED)
