"""Workflows of the plan: only what is enabled, every reference by its key."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from kneo_serv.model.plan import (
    Aggregation,
    Condition,
    Edge,
    Flow,
    FlowType,
    Join,
    JoinType,
    OnError,
    Step,
    StepKind,
    Variable,
    VariableType,
)
from kneo_serv.spec.models.spec import KneoSpec
from kneo_serv.spec.models.workflow import (
    AggregationSpec,
    ConcurrentSpec,
    ConditionSpec,
    EdgeSpec,
    GraphSpec,
    GroupChatSpec,
    HandoffSpec,
    JoinSpec,
    MapSpec,
    ParallelSpec,
    SequentialSpec,
    StepSpec,
    VariableSpec,
)
from kneo_serv.spec.walk import AGGREGATOR, SPEAKER, StepAt, WorkflowAt, agent_key, inner_key, steps, workflows

DEFAULT_TRANSFERS = 10
"""Turns of a handoff with transfers that says nothing about `max_iterations`."""

_DEFAULT_BACKOFF = 0.5


def build_flows(spec: KneoSpec) -> dict[str, Flow]:
    """Every workflow by its key, those inside steps of kind parallel and map included."""
    return {workflow.key: build_flow(spec, workflow) for workflow in workflows(spec) if workflow.enabled}


def build_flow(spec: KneoSpec, workflow: WorkflowAt) -> Flow:
    """The workflow with its disabled steps, and the edges that touch them, left out."""
    written = workflow.spec
    enabled = [step for step in steps((), written) if step.spec.enabled]
    if isinstance(written, GraphSpec):
        # The order of keys means nothing in a graph, so it must not change the hash.
        enabled.sort(key=lambda step: step.id)
    ids = {step.id for step in enabled}
    if isinstance(written, (ParallelSpec, MapSpec)):
        kind = FlowType.CONCURRENT if isinstance(written, ParallelSpec) else FlowType.MAP
        name, description = written.id, None
    else:
        kind = FlowType(written.type.replace("-", "_"))
        name, description = written.name or f"{kind.value}-workflow", written.description
    flow = Flow(
        name,
        kind,
        tuple(_step(spec, workflow.key, step, ids) for step in enabled),
        description,
        variables=_variables(workflow.variables),
    )
    match written:
        case SequentialSpec():
            return flow
        case GraphSpec():
            edges = tuple(_edge(edge) for edge in written.edges if edge.source in ids and edge.target in ids)
            return replace(flow, start=written.start, edges=edges, max_steps=written.max_steps)
        case HandoffSpec():
            return _handoff(flow, written, ids)
        case GroupChatSpec():
            until = _condition(written.until) if written.until is not None else None
            speaker = None
            if written.speaker is not None:
                speaker = Step(SPEAKER, StepKind.AGENT, step_key(spec, StepKind.AGENT, written.speaker.agent))
            return replace(flow, rounds=written.rounds, speaker=speaker, until=until)
        case ConcurrentSpec() | ParallelSpec():
            flow = _aggregated(spec, flow, written.aggregation, Aggregation.LAST)
            return replace(flow, join=_join(written.join), max_concurrency=written.max_concurrency)
        case MapSpec():
            flow = _aggregated(spec, flow, written.aggregation, Aggregation.JSON)
            return replace(flow, over=written.over, max_concurrency=written.max_concurrency)


def step_key(spec: KneoSpec, kind: StepKind, ref: str) -> str:
    """The key that a step's `ref` means in the plan: ROOT for the root agent's name."""
    if kind in (StepKind.AGENT, StepKind.GUARDRAIL):
        return agent_key(spec, ref) or ref
    return ref


def _handoff(flow: Flow, written: HandoffSpec, ids: Iterable[str]) -> Flow:
    selector = written.selector.type if written.selector else "sequence"
    if selector == "agent":
        turns = DEFAULT_TRANSFERS if written.max_iterations is None else written.max_iterations
        return replace(flow, transfer=True, max_iterations=turns)
    order = tuple(written.selector.sequence) if written.selector and selector == "sequence" else ()
    return replace(
        flow,
        selector=selector,
        order=tuple(step_id for step_id in order if step_id in ids),
        max_iterations=written.max_iterations,
    )


def _step(spec: KneoSpec, flow_key: str, step: StepAt, ids: set[str]) -> Step:
    written = step.spec
    if isinstance(written, StepSpec):
        kind = StepKind(written.kind)
        ref = step_key(spec, kind, written.ref)
    else:
        kind, ref = StepKind.WORKFLOW, inner_key(flow_key, step.id)
    on_error = OnError(written.on_error)
    fallback = written.fallback_ref if on_error is OnError.FALLBACK and written.fallback_ref in ids else None
    if on_error is OnError.FALLBACK and fallback is None:
        on_error = OnError.FAIL
    timeout = written.timeout_seconds
    return Step(
        id=step.id,
        kind=kind,
        ref=ref,
        on_error=on_error,
        fallback=fallback,
        max_retries=max(0, written.max_retries),
        backoff_seconds=_DEFAULT_BACKOFF if written.backoff_seconds is None else written.backoff_seconds,
        timeout_seconds=timeout if timeout is not None and timeout > 0 else None,
        input=written.input,
        output=written.output,
    )


def _variables(variables: Mapping[str, VariableSpec]) -> dict[str, Variable]:
    return {name: Variable(VariableType(item.type), item.default) for name, item in variables.items()}


def _join(join: JoinSpec | None) -> Join:
    if join is None:
        return Join()
    return Join(JoinType.N_OF, join.n_of) if join.n_of is not None else Join(JoinType(join.type or "all"))


def _aggregated(spec: KneoSpec, flow: Flow, wanted: AggregationSpec | None, default: Aggregation) -> Flow:
    if wanted is None:
        return replace(flow, aggregation=default)
    if wanted.type is not None:
        return replace(flow, aggregation=Aggregation(wanted.type))
    kind = StepKind.AGENT if wanted.agent is not None else StepKind.FUNCTION
    ref = step_key(spec, kind, wanted.agent or wanted.function or "")
    return replace(flow, aggregation=Aggregation.STEP, aggregator=Step(AGGREGATOR, kind, ref))


def _edge(edge: EdgeSpec) -> Edge:
    condition = _condition(edge.condition) if edge.condition is not None else None
    return Edge(edge.source, edge.target, condition, edge.label)


def _condition(condition: ConditionSpec) -> Condition:
    parts = condition.conditions or []
    if condition.type == "not":
        parts = [condition.condition] if condition.condition is not None else []
    return Condition(
        type=condition.type,
        value=condition.value,
        key=condition.key,
        case_sensitive=condition.case_sensitive,
        conditions=tuple(_condition(part) for part in parts),
    )
