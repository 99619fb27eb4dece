"""What comes next in a workflow once nothing of it is live: the order is what tells the types of workflow apart."""

from dataclasses import dataclass

from kneo_serv.engine.commands import TakeEdge
from kneo_serv.engine.keys import step_key
from kneo_serv.model.ids import StepKey
from kneo_serv.model.plan import Flow, FlowType, Step
from kneo_serv.model.run import Frame


@dataclass(frozen=True, slots=True)
class Next:
    """Steps that begin now (with key and index), or the edge that is taken first."""

    steps: tuple[tuple[StepKey, Step, int | None], ...] = ()
    edge: TakeEdge | None = None


def next_in(flow: Flow, frame: Frame) -> Next | str:
    """What comes next; or, with nothing left to begin, the text that the workflow ends with."""
    match flow.type:
        case FlowType.SEQUENTIAL:
            if frame.index >= len(flow.steps):
                return frame.text
            if frame.live:
                return Next()
            step = flow.steps[frame.index]
            return Next(((step_key(frame.key, step.id), step, frame.index),))
        case FlowType.CONCURRENT | FlowType.HANDOFF | FlowType.GROUP_CHAT | FlowType.GRAPH:
            raise NotExecutable(flow)


class NotExecutable(ValueError):
    """The engine does not execute workflows of this type."""

    def __init__(self, flow: Flow) -> None:
        super().__init__(f"workflow {flow.name!r} has the type {flow.type}")
        self.flow = flow
