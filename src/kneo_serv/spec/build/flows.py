"""Workflows of the plan: only what is enabled, every reference by its key."""

from kneo_serv.model.plan import Condition, Edge, Flow, FlowType, OnError, Step, StepKind
from kneo_serv.spec.models.spec import KneoSpec
from kneo_serv.spec.models.workflow import ConditionSpec, EdgeSpec, GraphSpec, GroupChatSpec, HandoffSpec, WorkflowSpec
from kneo_serv.spec.walk import StepAt, agent_key, steps

_DEFAULT_BACKOFF = 0.5


def build_flow(spec: KneoSpec, workflow: WorkflowSpec) -> Flow:
    """The workflow with its disabled steps, and the edges that touch them, left out."""
    kind = FlowType(workflow.type.replace("-", "_"))
    enabled = [step for step in steps((), workflow) if step.spec.enabled]
    if isinstance(workflow, GraphSpec):
        # The order of keys means nothing in a graph, so it must not change the hash.
        enabled.sort(key=lambda step: step.id)
    ids = {step.id for step in enabled}
    name = workflow.name or f"{kind.value}-workflow"
    built = tuple(_step(spec, step, ids) for step in enabled)
    if isinstance(workflow, GraphSpec):
        edges = tuple(_edge(edge) for edge in workflow.edges if edge.source in ids and edge.target in ids)
        return Flow(
            name, kind, built, workflow.description, start=workflow.start, edges=edges, max_steps=workflow.max_steps
        )
    if isinstance(workflow, HandoffSpec):
        selector = workflow.selector.type if workflow.selector else "sequence"
        order = tuple(workflow.selector.sequence) if workflow.selector and selector == "sequence" else ()
        return Flow(
            name,
            kind,
            built,
            workflow.description,
            selector=selector,
            order=tuple(step_id for step_id in order if step_id in ids),
            max_iterations=workflow.max_iterations,
        )
    if isinstance(workflow, GroupChatSpec):
        return Flow(name, kind, built, workflow.description, rounds=workflow.rounds)
    return Flow(name, kind, built, workflow.description)


def step_key(spec: KneoSpec, kind: StepKind, ref: str) -> str:
    """The key that a step's `ref` means in the plan: ROOT for the root agent's name."""
    if kind in (StepKind.AGENT, StepKind.GUARDRAIL):
        return agent_key(spec, ref) or ref
    return ref


def _step(spec: KneoSpec, step: StepAt, ids: set[str]) -> Step:
    written = step.spec
    kind = StepKind(written.kind)
    on_error = OnError(written.on_error)
    fallback = written.fallback_ref if on_error is OnError.FALLBACK and written.fallback_ref in ids else None
    if on_error is OnError.FALLBACK and fallback is None:
        on_error = OnError.FAIL
    timeout = written.timeout_seconds
    return Step(
        id=step.id,
        kind=kind,
        ref=step_key(spec, kind, written.ref),
        on_error=on_error,
        fallback=fallback,
        max_retries=max(0, written.max_retries),
        backoff_seconds=_DEFAULT_BACKOFF if written.backoff_seconds is None else written.backoff_seconds,
        timeout_seconds=timeout if timeout is not None and timeout > 0 else None,
    )


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
