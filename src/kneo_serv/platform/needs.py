"""What a run cannot do without: the agents of its plan, and the providers that answer for them."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from kneo_serv.model.plan import ROOT, AgentPlan, Flow, FlowType, OnError, Plan, RuntimeMode, Step, StepKind
from kneo_serv.model.provider_state import NEEDS_AGENT, NEEDS_PROVIDER

_UNFAILING = "dummy"
"""The provider that is built in: nobody pauses it, and it asks nobody."""
_KEPT = 4096
_found: dict[tuple[str, str], tuple[str, ...]] = {}
"""By plan and target: plans never change, and many runs have the same."""


def provider_of(agent: AgentPlan) -> str | None:
    """The name under which the provider of an agent's model is paused and bounded; None where none is asked.

    A server that a spec names by its address is one by itself: `openai@models.example:8443`.
    """
    model, wanted = agent.model, agent.runtime
    match wanted.preferred_mode:
        case RuntimeMode.BRIDGE:
            name = wanted.bridge_provider
        case RuntimeMode.NATIVE:
            name = wanted.native_provider
        case RuntimeMode.ADAPTER:
            return None
        case _:
            name = None
    name = name or (model.provider if model is not None else None)
    if name is None or name == _UNFAILING:
        return None
    address = str((model.base_url or model.extra.get("base_url") or "") if model is not None else "")
    if not address:
        return name
    place = urlsplit(address).netloc.rpartition("@")[2]
    return f"{name}@{place}" if place else name


def needs_of(plan: Plan, target: str) -> tuple[str, ...]:
    """The needs of a run of this target (`agent` or `workflow`), sorted.

    An agent whose step has a stand-in, or goes on without it, needs no provider: when that one is paused, the step
    fails at once and its policy holds.
    """
    name = plan.hash, target
    found = _found.get(name)
    if found is None:
        if len(_found) >= _KEPT:
            _found.clear()
        found = _found[name] = _needs(plan, target)
    return found


def _needs(plan: Plan, target: str) -> tuple[str, ...]:
    needs: set[str] = set()
    seen: set[tuple[str, bool]] = set()
    flow = plan.root_flow if target == "workflow" else None
    open_ends = [(ROOT, True)] if flow is None else list(_agents(plan, flow, required=True))
    while open_ends:
        end = open_ends.pop()
        key, required = end
        agent = plan.agents.get(key)
        if agent is None or end in seen:
            continue
        seen.add(end)
        needs.add(NEEDS_AGENT + agent.name)
        if agent.as_agent is not None:
            open_ends += _agents(plan, plan.flows[agent.as_agent], required=required)
            continue
        provider = provider_of(agent)
        if required and provider is not None:
            needs.add(NEEDS_PROVIDER + provider)
        # What an agent calls may fail: the model is told.
        tools = [plan.tools[name].agent for name in agent.tools if name in plan.tools]
        open_ends += [(tool, False) for tool in tools if tool is not None]
        open_ends += [(one.ref, required) for one in agent.guardrails if one.ref is not None and one.type == "agent"]
    return tuple(sorted(needs))


def _agents(plan: Plan, flow: Flow, *, required: bool) -> Iterator[tuple[str, bool]]:
    """The agents in a workflow and in those nested in it, and whether it needs each of them."""
    seen: set[tuple[str, bool]] = set()
    open_flows = [(flow, required)]
    while open_flows:
        here, needed = open_flows.pop()
        for step in (*here.steps, here.aggregator, here.speaker):
            if step is None or (here.type is FlowType.GRAPH and _is_stand_in_only(here, step)):
                continue
            must = needed and step.on_error not in (OnError.FALLBACK, OnError.CONTINUE)
            match step.kind:
                case StepKind.AGENT | StepKind.GUARDRAIL:
                    yield step.ref, must
                case StepKind.WORKFLOW if (step.ref, must) not in seen:
                    seen.add((step.ref, must))
                    open_flows.append((plan.flows[step.ref], must))
                case _:
                    continue


def _is_stand_in_only(flow: Flow, step: Step) -> bool:
    stands_in = any(other.fallback == step.id for other in flow.steps)
    return stands_in and flow.start != step.id and not any(edge.target == step.id for edge in flow.edges)
