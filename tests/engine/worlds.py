"""Plans in few words, and what a scripted world answers. Functions and agents add their name to the text by default."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kneo_serv.engine import Verdict
from kneo_serv.model.plan import (
    ROOT,
    AgentPlan,
    Aggregation,
    Condition,
    Edge,
    Flow,
    FlowType,
    FunctionPlan,
    HumanPlan,
    Limits,
    Plan,
    Step,
    StepKind,
    Strategy,
    StrategyType,
    ToolPlan,
)
from kneo_serv.model.tool import Effect, ToolDefinition

REACT = Strategy(StrategyType.REACT)


@dataclass(frozen=True, slots=True)
class Fails:
    """An attempt or a call that goes wrong."""

    error_type: str = "boom"
    violation: bool = False
    final: bool = False
    uncertain: bool = False


@dataclass(frozen=True, slots=True)
class Denied:
    """A call that the guard refuses."""

    reason: str = "not allowed"


@dataclass(frozen=True, slots=True)
class Says:
    """What a model answers: a text and the names of the tools that it wishes to call."""

    text: str = ""
    tools: tuple[str, ...] = ()
    tokens: int = 0
    dollars: float = 0.0
    asks: bool = False
    """A person has to agree to its calls."""
    misfit: str | None = None
    given: str = "in"
    """What tools that are agents are given."""


type Answer = str | Fails | Denied | Says | Verdict
type Reply = Answer | Callable[[str], Answer]
type Script = Mapping[str, Reply | list[Reply]]
"""By the name of a function, agent or tool; a list is used up from its front, then the default follows."""


def function(step_id: str, ref: str | None = None, **policy: Any) -> Step:
    return Step(step_id, StepKind.FUNCTION, ref or step_id, **policy)


def backed_by(name: str) -> ToolPlan:
    """A tool whose calls an agent answers."""
    return ToolPlan(ToolDefinition(f"ask_{name}", name), agent=name)


def agent(step_id: str, ref: str | None = None, **policy: Any) -> Step:
    return Step(step_id, StepKind.AGENT, ref or step_id, **policy)


def human(step_id: str, ref: str | None = None, **policy: Any) -> Step:
    return Step(step_id, StepKind.HUMAN, ref or step_id, **policy)


def workflow(step_id: str, ref: str | None = None, **policy: Any) -> Step:
    return Step(step_id, StepKind.WORKFLOW, ref or step_id, **policy)


def sequential(*steps: Step) -> Flow:
    return Flow("sequence", FlowType.SEQUENTIAL, steps)


def concurrent(*steps: Step, **fields: Any) -> Flow:
    return Flow("side by side", FlowType.CONCURRENT, steps, **fields)


def mapped(step: Step, **fields: Any) -> Flow:
    return Flow("each", FlowType.MAP, (step,), **{"aggregation": Aggregation.JSON, **fields})


def handoff(*steps: Step, **fields: Any) -> Flow:
    return Flow("handoff", FlowType.HANDOFF, steps, **fields)


def group_chat(*steps: Step, rounds: int = 1, **fields: Any) -> Flow:
    return Flow("chat", FlowType.GROUP_CHAT, steps, rounds=rounds, **fields)


def graph(*steps: Step, edges: tuple[Edge, ...] = (), start: str | None = None, max_steps: int = 50) -> Flow:
    return Flow("graph", FlowType.GRAPH, steps, start=start or steps[0].id, edges=edges, max_steps=max_steps)


def edge(source: str, target: str, condition: Condition | None = None) -> Edge:
    return Edge(source, target, condition)


def contains(text: str) -> Condition:
    return Condition("output_contains", text)


def plan(
    flow: Flow | None,
    *,
    flows: Mapping[str, Flow] | None = None,
    agents: Mapping[str, AgentPlan] | None = None,
    functions: Mapping[str, FunctionPlan] | None = None,
    humans: Mapping[str, HumanPlan] | None = None,
    tools: Mapping[str, Effect | ToolPlan | None] | None = None,
    limits: Limits | None = None,
) -> Plan:
    """A plan; whatever its steps name and the arguments do not is filled in."""
    all_flows = {**({} if flow is None else {ROOT: flow}), **(flows or {})}
    steps = [step for one in all_flows.values() for step in (*one.steps, one.aggregator, one.speaker) if step]

    def refs(*kinds: StepKind) -> list[str]:
        return [step.ref for step in steps if step.kind in kinds]

    return Plan(
        hash="plan",
        agents={
            ROOT: AgentPlan("root"),
            **{ref: AgentPlan(ref) for ref in refs(StepKind.AGENT, StepKind.GUARDRAIL) if ref != ROOT},
            **(agents or {}),
        },
        flows=all_flows,
        functions={**{ref: FunctionPlan(f"app:{ref}") for ref in refs(StepKind.FUNCTION)}, **(functions or {})},
        humans={**{ref: HumanPlan() for ref in refs(StepKind.HUMAN)}, **(humans or {})},
        tools={
            name: tool if isinstance(tool, ToolPlan) else ToolPlan(ToolDefinition(name, name, effect=tool))
            for name, tool in (tools or {}).items()
        },
        limits=limits or Limits(),
    )
