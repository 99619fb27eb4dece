"""A workflow as nodes and edges, for people to look at."""

from itertools import pairwise
from typing import Any

from kneo_serv.errors import InvalidRequestError
from kneo_serv.model.plan import ROOT, Flow, FlowType, Step
from kneo_serv.spec.build.flows import build_flow
from kneo_serv.spec.models.spec import KneoSpec


def graph_view(spec: KneoSpec) -> dict[str, Any]:
    """The root workflow as it is run, disabled steps left out.

    Raises:
        InvalidRequestError: the spec has no workflow.
    """
    if spec.workflow is None:
        raise InvalidRequestError("The spec has no `workflow` to draw.")
    return flow_view(build_flow(spec, spec.workflow), root_agent=spec.agent.name)


def flow_view(flow: Flow, *, root_agent: str) -> dict[str, Any]:
    """`{workflow_name, workflow_kind, start, max_steps, nodes, edges}` of a flow of any type.

    A node's `name` is the component it refers to, and `root_agent` for the root agent.

    Participants of a concurrent workflow stand side by side, without edges; those of a handoff or a group chat are
    joined in the order of their turns.
    """
    graph = flow.type is FlowType.GRAPH
    return {
        "workflow_name": flow.name,
        "workflow_kind": flow.type.value,
        "start": flow.start if graph else (flow.steps[0].id if flow.steps else None),
        "max_steps": flow.max_steps if graph else None,
        "nodes": [_node(step, root_agent) for step in flow.steps],
        "edges": _edges(flow),
    }


def _node(step: Step, root_agent: str) -> dict[str, Any]:
    return {
        "id": step.id,
        "kind": step.kind.value,
        "name": root_agent if step.ref == ROOT else step.ref,
        "on_error": step.on_error.value,
        "fallback_node": step.fallback,
        "max_retries": step.max_retries,
        "timeout_seconds": step.timeout_seconds,
    }


def _edges(flow: Flow) -> list[dict[str, Any]]:
    if flow.type is FlowType.GRAPH:
        return [
            {
                "source": edge.source,
                "target": edge.target,
                "label": edge.label,
                "conditional": edge.condition is not None and edge.condition.type != "always",
                "priority": number,
            }
            for number, edge in enumerate(flow.edges)
        ]
    if flow.type is FlowType.CONCURRENT:
        return []
    turns = flow.order or tuple(step.id for step in flow.steps)
    pairs = list(pairwise(turns))
    if flow.type is FlowType.GROUP_CHAT and flow.rounds > 1 and len(turns) > 1:
        pairs.append((turns[-1], turns[0]))
    chain = dict.fromkeys(pairs)
    return [
        {"source": source, "target": target, "label": None, "conditional": False, "priority": 0}
        for source, target in chain
    ]
