"""What comes next in a workflow: the order is what tells the types of workflow apart."""

from dataclasses import dataclass

from kneo_serv.engine.commands import TakeEdge
from kneo_serv.engine.conditions import Sight, holds
from kneo_serv.engine.keys import step_key
from kneo_serv.engine.steps import MAX_ITERATIONS
from kneo_serv.model.ids import StepKey
from kneo_serv.model.plan import Edge, Flow, FlowType, Plan, Step, StepKind
from kneo_serv.model.run import Frame


@dataclass(frozen=True, slots=True)
class Next:
    """Steps that begin now (with key and index), or the edge that is taken first; nothing while others are at work."""

    steps: tuple[tuple[StepKey, Step, int | None], ...] = ()
    edge: TakeEdge | None = None


@dataclass(frozen=True, slots=True)
class Stuck:
    """The workflow cannot go on."""

    error_type: str
    message: str


def next_in(plan: Plan, flow: Flow, frame: Frame) -> Next | Stuck | str:
    """What comes next; with nothing left to do, the text that the workflow ends with."""
    if flow.type is FlowType.CONCURRENT or flow.type is FlowType.MAP:
        return _concurrent(flow, frame)
    if frame.live:
        return Next()
    match flow.type:
        case FlowType.SEQUENTIAL:
            return _turn(flow, frame, frame.index, visit=frame.lap + 1) if frame.index < len(flow.steps) else frame.text
        case FlowType.HANDOFF:
            order = flow.order if flow.selector == "sequence" else ()
            turns = len(order or flow.steps)
            if frame.index >= min(turns, flow.max_iterations or turns):
                return frame.text
            return _turn(flow, frame, _place(flow, order[frame.index]) if order else frame.index)
        case FlowType.GROUP_CHAT:
            if frame.index >= flow.rounds * len(flow.steps):
                return frame.text
            return _turn(flow, frame, frame.index % len(flow.steps))
        case FlowType.GRAPH:
            return _graph(plan, flow, frame)


def _turn(flow: Flow, frame: Frame, index: int, visit: int | None = None) -> Next:
    step = flow.steps[index]
    count = frame.visits.get(step.id, 0) + 1 if visit is None else visit
    return Next(((step_key(frame.key, step.id, count), step, index),))


def _place(flow: Flow, step_id: str) -> int:
    for index, step in enumerate(flow.steps):
        if step.id == step_id:
            return index
    raise KeyError(step_id)


def _concurrent(flow: Flow, frame: Frame) -> Next | str:
    fresh = tuple(
        (step_key(frame.key, step.id), step, index)
        for index, step in enumerate(flow.steps)
        if step.id not in frame.visits
    )
    if fresh or frame.live:
        return Next(fresh)
    # Declared order decides, so that it never matters who was faster.
    spoken = (frame.outputs[step.id] for step in reversed(flow.steps) if step.id in frame.outputs)
    return next(spoken, frame.text)


def _graph(plan: Plan, flow: Flow, frame: Frame) -> Next | Stuck | str:
    if frame.last is not None:
        edge = _edge(plan, flow, frame, frame.last)
        if edge is None:
            return frame.text
        return Next(edge=TakeEdge(frame.key, edge.source, edge.target, edge.label))
    if frame.index >= flow.max_steps:
        return Stuck(MAX_ITERATIONS, f"The graph did not end within {flow.max_steps} nodes (max_steps).")
    return _turn(flow, frame, _place(flow, frame.next or flow.start or ""))


def _edge(plan: Plan, flow: Flow, frame: Frame, last: str) -> Edge | None:
    node = flow.step(frame.last_executed or last)
    metadata: dict[str, str] = {}
    if node.kind is StepKind.HUMAN and frame.decision is not None:
        metadata = {"human_step_id": node.id, "human_response": frame.decision.value}
    elif node.kind in (StepKind.AGENT, StepKind.GUARDRAIL):
        metadata = {"agent_name": plan.agents[node.ref].name}
    sight = Sight(frame.text, failed=frame.last_failed, metadata=metadata)
    edges = (edge for edge in flow.edges if edge.source == last)
    return next((edge for edge in edges if edge.condition is None or holds(edge.condition, sight)), None)
