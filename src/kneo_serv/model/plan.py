"""The plan: what the compiler makes of a spec. Frozen, JSON-able, named by its content; a run keeps it for life."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from kneo_serv.model.limits import DEFAULT_QUEUE
from kneo_serv.model.tool import Effect, ToolDefinition, ToolPolicy

ROOT = "@root"
"""Key of the root agent among `agents` and of the root workflow among `flows`."""


class FlowType(StrEnum):
    """The order in which the steps of a workflow are done."""

    SEQUENTIAL = "sequential"
    GRAPH = "graph"
    CONCURRENT = "concurrent"
    HANDOFF = "handoff"
    GROUP_CHAT = "group_chat"
    MAP = "map"
    """One step for each item of a list; made by the compiler from a step of kind `map`."""


class StepKind(StrEnum):
    """What a step does."""

    AGENT = "agent"
    FUNCTION = "function"
    WORKFLOW = "workflow"
    HUMAN = "human"
    GUARDRAIL = "guardrail"


class OnError(StrEnum):
    """What follows when the attempts of a step are used up."""

    FAIL = "fail"
    CONTINUE = "continue"
    RETRY = "retry"
    FALLBACK = "fallback"


class StrategyType(StrEnum):
    """How an agent uses its model."""

    SIMPLE = "simple"
    REACT = "react"
    PLAN_ACT = "plan-act"


class RuntimeMode(StrEnum):
    """Who drives the model: we turn by turn, the provider's own loop, or a foreign agent.

    A platform may have modes of its own beside these: any other word is one, and the registry says whether it is there.
    """

    BRIDGE = "bridge"
    NATIVE = "native"
    ADAPTER = "adapter"

    @classmethod
    def _missing_(cls, value: object) -> "RuntimeMode | None":
        if not isinstance(value, str) or not value:
            return None
        own = str.__new__(cls, value)
        own._name_ = own._value_ = value
        return own


class RequestType(StrEnum):
    """What kind of answer a person is asked for."""

    APPROVAL = "approval"
    REVIEW = "review"
    CORRECTION = "correction"
    SELECTION = "selection"
    FREEFORM = "freeform"


class OnTimeout(StrEnum):
    """What follows when nobody answered a human task in time."""

    FAIL = "fail"
    CONTINUE = "continue"
    ESCALATE = "escalate"


class OnReject(StrEnum):
    """What follows a rejection."""

    CONTINUE = "continue"
    FAIL = "fail"
    GOTO = "goto"


class JoinType(StrEnum):
    """How many branches a parallel workflow waits for."""

    ALL = "all"
    ANY = "any"
    N_OF = "n_of"


class Aggregation(StrEnum):
    """What becomes of the texts of parallel branches, always in declared order."""

    LAST = "last"
    CONCAT = "concat"
    JSON = "json"
    STEP = "step"
    """An agent or function gets them as JSON and answers with one text."""


class OnBudget(StrEnum):
    """What follows when a budget is used up."""

    FAIL = "fail"
    ASK = "ask"
    """A person is asked whether as much again may be used."""


class VariableType(StrEnum):
    """What a variable holds."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Variable:
    """A value that a workflow carries beside the text. It begins with `default`."""

    type: VariableType = VariableType.STRING
    default: Any = None


@dataclass(frozen=True, slots=True)
class Join:
    """How many branches must have finished; `count` goes with `n_of`. The others are cancelled then."""

    type: JoinType = JoinType.ALL
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One place in a workflow (a node of a graph, a participant of a group). `timeout_seconds` is per attempt."""

    id: str
    kind: StepKind
    ref: str
    """Key in the plan's map for this kind (agents for a guardrail step); ROOT for the root agent."""
    on_error: OnError = OnError.FAIL
    fallback: str | None = None
    """Id of the step in the same workflow whose target runs instead."""
    max_retries: int = 0
    """Attempts after the first."""
    backoff_seconds: float = 0.5
    """Wait before the first retry; doubles with each one, at most 60 s."""
    timeout_seconds: float | None = None
    input: str | None = None
    """Template of the step's input, with `{{ text }}`, `{{ input }}` and `{{ variables.<name> }}`; None: the text."""
    output: str | None = None
    """Name of the variable that takes the step's output beside the text that flows on."""


@dataclass(frozen=True, slots=True)
class Condition:
    """When an edge is taken. `type` is one of the names in the spec's table of conditions."""

    type: str
    value: Any = None
    key: str | None = None
    case_sensitive: bool = False
    conditions: "tuple[Condition, ...]" = ()
    """The parts of `all_of` and `any_of`; the one part of `not`."""


@dataclass(frozen=True, slots=True)
class Edge:
    """A way from one node to another; None as condition means always."""

    source: str
    target: str
    condition: Condition | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Flow:
    """A workflow. Disabled steps, and the edges that touch them, are left out by the compiler."""

    name: str
    type: FlowType
    steps: tuple[Step, ...]
    description: str | None = None
    start: str | None = None
    edges: tuple[Edge, ...] = ()
    max_steps: int = 50
    selector: str = "sequence"
    """Handoff: `sequence` or `round_robin`."""
    order: tuple[str, ...] = ()
    """Handoff: the ids of `selector.sequence`; empty means declared order."""
    rounds: int = 1
    max_iterations: int | None = None
    join: Join = Join()
    aggregation: Aggregation = Aggregation.LAST
    aggregator: Step | None = None
    transfer: bool = False
    """Handoff: agents hand over by calling the tool `transfer_to_<participant id>`; who does not, ends it."""
    speaker: Step | None = None
    """Group chat: the agent that names the next speaker; None means fixed rotation."""
    until: Condition | None = None
    """Group chat: it ends early when this holds after a turn."""
    variables: Mapping[str, Variable] = field(default_factory=dict)
    over: str | None = None
    """Map: CEL expression of the list; None means that the text is a JSON list, or else its lines."""
    max_concurrency: int | None = None
    """Map and concurrent: how many branches are at work at once; None means all."""

    def step(self, step_id: str) -> Step:
        """The step of this id. Raises KeyError."""
        if len(self.steps) > _SHORT:
            return _by_id(self.steps)[step_id]
        # Nothing is kept of short ones, many of which are made for a moment.
        for step in self.steps:
            if step.id == step_id:
                return step
        raise KeyError(step_id)


_SHORT = 16
_KEPT = 64
_known: dict[int, tuple[tuple[Step, ...], dict[str, Step]]] = {}


def _by_id(steps: tuple[Step, ...]) -> dict[str, Step]:
    """The steps by id, which is what makes a step cost the same in a long workflow as in a short one."""
    # By the place in memory, which stays taken as long as the steps are kept here with it.
    found = _known.get(id(steps))
    if found is None or found[0] is not steps:
        if len(_known) >= _KEPT:
            _known.clear()
        # Of two of one id the first counts, as everywhere.
        found = _known[id(steps)] = (steps, {step.id: step for step in reversed(steps)})
    return found[1]


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """Which model answers, and how it is asked. Times in seconds."""

    provider: str
    name: str
    temperature: float | None = None
    max_tokens: int | None = None
    token_budget: int | None = None
    timeout_seconds: float | None = None
    base_url: str | None = None
    api_key_ref: str | None = None
    """Name of a secret; never the secret."""
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Strategy:
    """How the agent uses its model; `max_iterations` bounds the model turns of one step."""

    type: StrategyType = StrategyType.SIMPLE
    max_iterations: int = 10
    stop_on_tool_error: bool = False
    parallel_tool_calls: bool = True


@dataclass(frozen=True, slots=True)
class RuntimePreferences:
    """Which runtime modes an agent wants and may use."""

    preferred_mode: RuntimeMode = RuntimeMode.BRIDGE
    fallback_mode: RuntimeMode | None = None
    allowed_modes: tuple[RuntimeMode, ...] = ()
    native_provider: str | None = None
    adapter_ref: str | None = None
    bridge_provider: str | None = None


@dataclass(frozen=True, slots=True)
class Guardrail:
    """One check of a text at one stage (input, output, tool, workflow)."""

    id: str
    stage: str
    type: str
    action: str = "block"
    ref: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Memory:
    """What of the conversation so far an agent sees."""

    policy: str
    ref: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Budget:
    """What a run, or an agent within a run, may use. None is no bound."""

    tokens: int | None = None
    """Input and output together."""
    cost_usd: float | None = None
    """In US dollars, by list price."""
    calls: int | None = None
    """Questions to models."""
    seconds: float | None = None
    """Time at work. Waiting for people does not count."""
    on_budget: OnBudget = OnBudget.FAIL


@dataclass(frozen=True, slots=True)
class AgentPlan:
    """An agent, with everything resolved that the spec left to defaults. `tools` are the names visible to it."""

    name: str
    description: str | None = None
    system_prompt: str | None = None
    model: ModelPlan | None = None
    strategy: Strategy = Strategy()
    runtime: RuntimePreferences = RuntimePreferences()
    tools: tuple[str, ...] = ()
    tool_policy: ToolPolicy = ToolPolicy()
    memory: Memory | None = None
    guardrails: tuple[Guardrail, ...] = ()
    skills: tuple[str, ...] = ()
    as_agent: str | None = None
    """Key of the flow that answers for this agent."""
    append_mode: str | None = None
    output_schema: Mapping[str, Any] | None = None
    """JSON Schema of its final answer, which is JSON text then."""
    output_retries: int = 2
    """How often it is asked again when its answer does not fit `output_schema`."""
    budget: Budget | None = None
    """Within one run, all its steps together."""
    middleware: tuple[str, ...] = ()
    """Names of the platform's middlewares that stand around its turns and tool calls, the first outermost."""


@dataclass(frozen=True, slots=True)
class FunctionPlan:
    """A Python function, text in and text out; `implementation` is its dotted import path."""

    implementation: str
    effect: Effect | None = None


@dataclass(frozen=True, slots=True)
class HumanPlan:
    """A question to a person."""

    description: str | None = None
    assignee: str | None = None
    timeout_seconds: float | None = None
    on_timeout: OnTimeout = OnTimeout.FAIL
    remind_every_seconds: float | None = None
    max_reminders: int = 0
    request_type: RequestType = RequestType.APPROVAL
    options: tuple[str, ...] = ()
    default_option: str | None = None
    context: Mapping[str, Any] = field(default_factory=dict)
    response_role: str | None = None
    on_reject: OnReject = OnReject.CONTINUE
    reject_goto: str | None = None


@dataclass(frozen=True, slots=True)
class ToolPlan:
    """A tool and what answers its calls: exactly one of an import path, an agent, an MCP server, or the registry."""

    definition: ToolDefinition
    implementation: str | None = None
    agent: str | None = None
    mcp_server: str | None = None
    mcp_name: str | None = None


@dataclass(frozen=True, slots=True)
class McpServerPlan:
    """How an MCP server is reached; the fields are those of the spec."""

    transport: str
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one run; passing one ends the run with a clear error."""

    max_events: int = 100_000
    max_output_bytes: int = 10_000_000
    token_budget: int | None = None
    budget: Budget | None = None


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Where runs of the plan wait for a worker, unless whoever starts one says otherwise."""

    queue: str = DEFAULT_QUEUE
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """A compiled spec. Two specs with the same meaning have the same hash."""

    hash: str
    """Of everything else in here: hex SHA-256 of the canonical JSON."""
    agents: Mapping[str, AgentPlan]
    flows: Mapping[str, Flow] = field(default_factory=dict)
    functions: Mapping[str, FunctionPlan] = field(default_factory=dict)
    humans: Mapping[str, HumanPlan] = field(default_factory=dict)
    tools: Mapping[str, ToolPlan] = field(default_factory=dict)
    mcp_servers: Mapping[str, McpServerPlan] = field(default_factory=dict)
    skills: Mapping[str, str] = field(default_factory=dict)
    """Name to frozen text."""
    policies: Mapping[str, Any] = field(default_factory=dict)
    limits: Limits = Limits()
    dispatch: Dispatch = Dispatch()

    @property
    def root_agent(self) -> AgentPlan:
        """The agent of the spec's own block `agent`."""
        return self.agents[ROOT]

    @property
    def root_flow(self) -> Flow | None:
        """The workflow of the spec's own block `workflow`, if it has one."""
        return self.flows.get(ROOT)
