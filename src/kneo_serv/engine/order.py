"""What comes next in a workflow: the order is what tells the types of workflow apart."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from kneo_serv.engine.branches import TooManyItemsError, aggregated, at_work, items_of
from kneo_serv.engine.commands import TakeEdge
from kneo_serv.engine.conditions import Sight, holds
from kneo_serv.engine.expressions import EXPRESSION_FAILED, ExpressionError
from kneo_serv.engine.joins import has_enough, join_counts
from kneo_serv.engine.keys import step_key
from kneo_serv.engine.steps import MAX_ITERATIONS
from kneo_serv.engine.variables import shown
from kneo_serv.model.ids import StepKey
from kneo_serv.model.plan import Aggregation, Edge, Flow, FlowType, Plan, Step, StepKind
from kneo_serv.model.quick import quick
from kneo_serv.model.run import Frame


@quick
@dataclass(frozen=True, slots=True)
class Next:
    """Steps that begin now (with key and index), or the edge that is taken first; nothing while others are at work."""

    steps: tuple[tuple[StepKey, Step, int | None], ...] = ()
    edge: TakeEdge | None = None


@quick
@dataclass(frozen=True, slots=True)
class Stuck:
    """The workflow cannot go on."""

    error_type: str
    message: str


def next_in(plan: Plan, flow: Flow, frame: Frame, given: str) -> Next | Stuck | str:
    """What comes next; with nothing left to do, the text that the workflow ends with. `given` is what it began with."""
    try:
        return _next_in(plan, flow, frame, given)
    except ExpressionError as fault:
        return Stuck(EXPRESSION_FAILED, str(fault))


def _next_in(plan: Plan, flow: Flow, frame: Frame, given: str) -> Next | Stuck | str:
    if flow.type is FlowType.CONCURRENT or flow.type is FlowType.MAP:
        return _side_by_side(flow, frame, given)
    if frame.live:
        return Next()
    match flow.type:
        case FlowType.SEQUENTIAL:
            return _turn(flow, frame, frame.index, visit=frame.lap + 1) if frame.index < len(flow.steps) else frame.text
        case FlowType.HANDOFF if flow.transfer:
            return _handed_over(flow, frame)
        case FlowType.HANDOFF:
            order = flow.order if flow.selector == "sequence" else ()
            turns = len(order or flow.steps)
            if frame.index >= min(turns, flow.max_iterations or turns):
                return frame.text
            return _turn(flow, frame, _place(flow, order[frame.index]) if order else frame.index)
        case FlowType.GROUP_CHAT:
            return _chat(plan, flow, frame, given)
        case FlowType.GRAPH:
            return _graph(plan, flow, frame, given)


def _turn(flow: Flow, frame: Frame, index: int, visit: int | None = None) -> Next:
    step = flow.steps[index]
    count = frame.visits.get(step.id, 0) + 1 if visit is None else visit
    return Next(((step_key(frame.key, step.id, count), step, index),))


def _place(flow: Flow, step_id: str) -> int:
    for index, step in enumerate(flow.steps):
        if step.id == step_id:
            return index
    raise KeyError(step_id)


def _handed_over(flow: Flow, frame: Frame) -> Next | str:
    if frame.index == 0:
        return _turn(flow, frame, 0)
    if frame.next is None or frame.index >= (flow.max_iterations or frame.index + 1):
        return frame.text
    return _turn(flow, frame, _place(flow, frame.next))


def _chat(plan: Plan, flow: Flow, frame: Frame, given: str) -> Next | str:
    if frame.index >= flow.rounds * len(flow.steps):
        return frame.text
    if flow.until is not None and frame.last is not None and holds(flow.until, _sight(plan, flow, frame, given)):
        return frame.text
    if flow.speaker is None:
        return _turn(flow, frame, frame.index % len(flow.steps))
    if frame.next is None:
        visit = frame.visits.get(flow.speaker.id, 0) + 1
        return Next(((step_key(frame.key, flow.speaker.id, visit), flow.speaker, None),))
    return _turn(flow, frame, _place(flow, frame.next))


def _side_by_side(flow: Flow, frame: Frame, given: str) -> Next | Stuck | str:
    aggregator = flow.aggregator if flow.aggregation is Aggregation.STEP else None
    if aggregator is not None and aggregator.id in frame.visits:
        return frame.outputs[aggregator.id] if aggregator.id in frame.outputs else Next()
    fresh: Iterable[tuple[StepKey, Step, int | None]] = ()
    if flow.type is FlowType.MAP:
        if frame.items is None:
            return _unreadable(flow, frame, given)
        step = flow.steps[0]
        rest = range(frame.index, len(frame.items))
        fresh = ((step_key(frame.key, step.id, index + 1), step, index) for index in rest)
    elif not has_enough(frame) and len(frame.visits) < len(flow.steps) + len(join_counts(flow)):
        fresh = (
            (step_key(frame.key, step.id), step, index)
            for index, step in enumerate(flow.steps)
            if step.id not in frame.visits
        )
    if flow.max_concurrency is not None:
        # Whoever waits for a person holds no place: an answer may bring more to work than may begin.
        free = flow.max_concurrency - sum(at_work(state) for state in frame.live.values())
        fresh = islice(fresh, max(0, free))
    begins = tuple(fresh)
    if begins or frame.live:
        return Next(begins)
    if aggregator is not None:
        return Next(((step_key(frame.key, aggregator.id), aggregator, None),))
    return aggregated(flow, frame)


def _unreadable(flow: Flow, frame: Frame, given: str) -> Stuck:
    """Why there is no list. Raises ExpressionError where that is the reason."""
    try:
        items_of(flow, frame.text, given=given, variables=frame.variables)
    except TooManyItemsError as fault:
        return Stuck("limit_exceeded", str(fault))
    return Stuck(EXPRESSION_FAILED, f"The list of {flow.name!r} could not be read when it began.")


def _graph(plan: Plan, flow: Flow, frame: Frame, given: str) -> Next | Stuck | str:
    if frame.last is not None:
        edge = _edge(plan, flow, frame, frame.last, given)
        if edge is None:
            return frame.text
        return Next(edge=TakeEdge(frame.key, edge.source, edge.target, edge.label))
    if frame.index >= flow.max_steps:
        return Stuck(MAX_ITERATIONS, f"The graph did not end within {flow.max_steps} nodes (max_steps).")
    return _turn(flow, frame, _place(flow, frame.next or flow.start or ""))


def _edge(plan: Plan, flow: Flow, frame: Frame, last: str, given: str) -> Edge | None:
    sight = _sight(plan, flow, frame, given)
    edges = (edge for edge in flow.edges if edge.source == last)
    return next((edge for edge in edges if edge.condition is None or holds(edge.condition, sight)), None)


def _sight(plan: Plan, flow: Flow, frame: Frame, given: str) -> Sight:
    """What conditions see of the step that ended last."""
    step = flow.step(frame.last_executed or frame.last or "")
    metadata: dict[str, str] = {}
    if step.kind is StepKind.HUMAN and frame.decision is not None:
        metadata = {"human_step_id": step.id, "human_response": frame.decision.value}
    elif step.kind in (StepKind.AGENT, StepKind.GUARDRAIL):
        metadata = {"agent_name": plan.agents[step.ref].name}
    decision = None if frame.decision is None else frame.decision.value
    return Sight(frame.text, frame.last_failed, metadata, shown(frame.variables), decision, given)
