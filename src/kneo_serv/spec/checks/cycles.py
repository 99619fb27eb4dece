"""Cycles: agents and workflows that would call themselves without end."""

from collections.abc import Iterator, Mapping
from typing import Any

from kneo_serv.model.plan import ROOT
from kneo_serv.spec.finding import Finding, error
from kneo_serv.spec.models.spec import KneoSpec
from kneo_serv.spec.models.workflow import ConcurrentSpec, GroupChatSpec, MapSpec, ParallelSpec
from kneo_serv.spec.visible_tools import included
from kneo_serv.spec.walk import AnyWorkflow, agent_key, agents, inner_key, steps, workflows

type _Part = tuple[str, str]


def check_cycles(spec: KneoSpec) -> Iterator[Finding]:
    """One error for each cycle that is found."""
    uses = _uses(spec)
    done: set[_Part] = set()
    for start in uses:
        cycle = _cycle_from(start, uses, done)
        if cycle is not None:
            names = " -> ".join(f"{kind}:{spec.agent.name if key == ROOT else key}" for kind, key in cycle)
            message = f"These parts call each other without end: {names}."
            yield error("E_BUILD_CYCLE", ("components",), message, "Break the circle at one of them.")


def _uses(spec: KneoSpec) -> dict[_Part, list[_Part]]:
    uses: dict[_Part, list[_Part]] = {}
    for workflow in workflows(spec):
        found: list[_Part] = []
        for step in steps(workflow.path, workflow.spec):
            if not step.spec.enabled:
                continue
            match step.spec.kind:
                case "workflow":
                    found.append(("workflow", step.ref))
                case "agent" | "guardrail":
                    found.extend(_agent_part(spec, step.ref))
                case "parallel" | "map":
                    found.append(("workflow", inner_key(workflow.key, step.id)))
                case "function" | "human":
                    pass  # these call nothing of the spec
        for ref in _leaders(workflow.spec):
            found.extend(_agent_part(spec, ref))
        uses["workflow", workflow.key] = found
    for agent in agents(spec):
        found = []
        if agent.spec.as_agent is not None:
            found.append(("workflow", agent.spec.as_agent))
        for _, name in included(agent.spec):
            tool = spec.tools.get(name)
            if tool is not None and tool.agent is not None:
                found.extend(_agent_part(spec, tool.agent))
        for items in (agent.spec.guardrails or {}).values():
            for item in items if isinstance(items, list) else ():
                found.extend(_guardrail_part(spec, item))
        uses["agent", agent.key] = found
    return uses


def _leaders(workflow: AnyWorkflow) -> Iterator[str]:
    """The agents that a workflow asks beside its steps."""
    if isinstance(workflow, GroupChatSpec) and workflow.speaker is not None:
        yield workflow.speaker.agent
    if isinstance(workflow, (ConcurrentSpec, ParallelSpec, MapSpec)):
        aggregation = workflow.aggregation
        if aggregation is not None and aggregation.agent is not None:
            yield aggregation.agent


def _guardrail_part(spec: KneoSpec, item: Any) -> list[_Part]:
    if isinstance(item, Mapping) and item.get("type") == "agent" and isinstance(item.get("ref"), str):
        return _agent_part(spec, item["ref"])
    return []


def _agent_part(spec: KneoSpec, ref: str) -> list[_Part]:
    key = agent_key(spec, ref)
    return [] if key is None else [("agent", key)]


def _cycle_from(start: _Part, uses: Mapping[_Part, list[_Part]], done: set[_Part]) -> list[_Part] | None:
    trail: list[_Part] = []
    open_parts: set[_Part] = {start}
    ahead: list[tuple[_Part, Iterator[_Part]]] = []
    if start in done:
        return None
    trail.append(start)
    ahead.append((start, iter(uses.get(start, ()))))
    while ahead:
        part, following = ahead[-1]
        for other in following:
            if other in open_parts:
                done.update(trail)
                return [*trail[trail.index(other) :], other]
            if other not in done and other in uses:
                trail.append(other)
                open_parts.add(other)
                ahead.append((other, iter(uses[other])))
                break
        else:
            done.add(part)
            open_parts.discard(trail.pop())
            ahead.pop()
    return None
