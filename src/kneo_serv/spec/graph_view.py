"""A workflow as nodes and edges, for people to look at."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from kneo_serv.errors import InvalidRequestError
from kneo_serv.model.plan import ROOT, Aggregation, Flow, FlowType, JoinType, Step, StepKind
from kneo_serv.spec.build.flows import build_flows
from kneo_serv.spec.condition_text import condition_text
from kneo_serv.spec.models.spec import KneoSpec
from kneo_serv.spec.walk import agents, inner_key

MAX_NODES = 1_000
"""Nodes of one view, nested ones included; workflows below that are named and not opened."""

MAX_TRANSFERS = 12
"""Participants among which every possible transfer is drawn; among more, the edges would hide the nodes."""


def graph_view(spec: KneoSpec) -> dict[str, Any]:
    """The root workflow as it is run, disabled steps left out.

    `{workflow_name, workflow_kind, start, max_steps, rules, nodes, edges}`. A node's `name` is the component that it
    refers to. A node that is a workflow has that view under `workflow`. `rules` are short phrases about what nodes and
    edges cannot show. An edge with a condition has it in words under `condition`.

    Raises:
        InvalidRequestError: the spec has no workflow.
    """
    if spec.workflow is None:
        raise InvalidRequestError("The spec has no `workflow` to draw.")
    answering = {agent.key: agent.spec.as_agent for agent in agents(spec) if agent.spec.as_agent is not None}
    return _Views(build_flows(spec), answering, spec.agent.name).view(ROOT)


@dataclass(slots=True)
class _Views:
    flows: Mapping[str, Flow]
    answering: Mapping[str, str]
    """The workflows that answer for agents, by the agents' keys."""
    root_agent: str
    room: int = MAX_NODES

    def view(self, key: str) -> dict[str, Any]:
        flow = self.flows[key]
        self.room -= len(flow.steps)
        graph = flow.type is FlowType.GRAPH
        nodes = [self._node(key, step) for step in flow.steps]
        if flow.aggregator is not None:
            nodes.append(self._node(key, flow.aggregator))
        return {
            "workflow_name": flow.name,
            "workflow_kind": flow.type.value,
            "start": flow.start if graph else (flow.steps[0].id if flow.steps else None),
            "max_steps": flow.max_steps if graph else None,
            "rules": list(self._rules(flow)),
            "nodes": nodes,
            "edges": _edges(flow),
        }

    def _node(self, flow_key: str, step: Step) -> dict[str, Any]:
        kind, name, inside = step.kind.value, self._name(step), None
        if step.kind is StepKind.WORKFLOW:
            inside = step.ref
            if inside == inner_key(flow_key, step.id):
                name = step.id
                kind = "map" if self.flows[inside].type is FlowType.MAP else "parallel"
        elif step.kind in (StepKind.AGENT, StepKind.GUARDRAIL):
            inside = self.answering.get(step.ref)
        node: dict[str, Any] = {
            "id": step.id,
            "kind": kind,
            "name": name,
            "on_error": step.on_error.value,
            "fallback_node": step.fallback,
            "max_retries": step.max_retries,
            "timeout_seconds": step.timeout_seconds,
        }
        if inside is not None and self.room >= len(self.flows[inside].steps):
            node["workflow"] = self.view(inside)
        return node

    def _name(self, step: Step) -> str:
        return self.root_agent if step.ref == ROOT else step.ref

    def _rules(self, flow: Flow) -> Iterator[str]:
        if flow.join.type is JoinType.ANY or flow.join.count == 1:
            yield "the first to finish ends it"
        elif flow.join.type is JoinType.N_OF:
            yield f"the first {flow.join.count} to finish end it"
        if flow.type in (FlowType.CONCURRENT, FlowType.MAP) and flow.aggregation is not Aggregation.STEP:
            yield f"texts: {flow.aggregation.value}"
        if flow.over is not None:
            yield f"over {flow.over}"
        if flow.max_concurrency is not None:
            yield f"at most {flow.max_concurrency} at once"
        if flow.transfer:
            yield f"handed over by tool call, at most {flow.max_iterations} turns"
        if flow.type is FlowType.GROUP_CHAT:
            yield f"{flow.rounds} round{'s' if flow.rounds > 1 else ''}"
        if flow.speaker is not None:
            yield f"next speaker named by {self._name(flow.speaker)}"
        if flow.until is not None:
            yield f"until {condition_text(flow.until)}"


def _edges(flow: Flow) -> list[dict[str, Any]]:
    match flow.type:
        case FlowType.GRAPH:
            return _conditional(flow)
        case FlowType.CONCURRENT | FlowType.MAP:
            # Branches stand side by side; only their aggregator comes after them.
            aggregator = flow.aggregator
            return [] if aggregator is None else [_edge(step.id, aggregator.id) for step in flow.steps]
        case FlowType.HANDOFF if flow.transfer:
            return _transfers(flow)
        case _:
            return _turns(flow)


def _conditional(flow: Flow) -> list[dict[str, Any]]:
    found = []
    for number, edge in enumerate(flow.edges):
        conditional = edge.condition is not None and edge.condition.type != "always"
        shown = _edge(edge.source, edge.target, edge.label, conditional=conditional, priority=number)
        if edge.condition is not None and conditional:
            shown["condition"] = condition_text(edge.condition)
        found.append(shown)
    return found


def _transfers(flow: Flow) -> list[dict[str, Any]]:
    if len(flow.steps) > MAX_TRANSFERS:
        return []
    return [
        _edge(step.id, other.id, conditional=True)
        for step in flow.steps
        if step.kind is StepKind.AGENT
        for other in flow.steps
        if other.id != step.id
    ]


def _turns(flow: Flow) -> list[dict[str, Any]]:
    if flow.speaker is not None:
        return []
    turns = flow.order or tuple(step.id for step in flow.steps)
    pairs = list(pairwise(turns))
    if flow.type is FlowType.GROUP_CHAT and flow.rounds > 1 and len(turns) > 1:
        pairs.append((turns[-1], turns[0]))
    return [_edge(source, target) for source, target in dict.fromkeys(pairs)]


def _edge(
    source: str, target: str, label: str | None = None, *, conditional: bool = False, priority: int = 0
) -> dict[str, Any]:
    return {"source": source, "target": target, "label": label, "conditional": conditional, "priority": priority}
