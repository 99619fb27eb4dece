"""Workflows: steps, and the order in which they are done."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from kneo_serv.spec.models.block import Block


class JoinSpec(Block):
    """How many branches are waited for: `type` or `n_of`. A bare word is short for `type`."""

    type: Literal["all", "any"] | None = None
    n_of: int | None = None


class AggregationSpec(Block):
    """What becomes of the texts of all branches: exactly one of the three. A bare word is short for `type`."""

    type: Literal["last", "concat", "json"] | None = None
    agent: str | None = None
    function: str | None = None


class VariableSpec(Block):
    """A value that a workflow carries beside the text. A bare value is short for `default`."""

    type: Literal["string", "integer", "number", "boolean", "json"] = "string"
    default: Any = None


class PlacedSpec(Block):
    """What every place in a workflow has, whatever is done there. `timeout_seconds` is per attempt."""

    id: str
    enabled: bool = True
    on_error: Literal["fail", "continue", "retry", "fallback"] = "fail"
    fallback_ref: str | None = None
    max_retries: int = 0
    backoff_seconds: float | None = None
    timeout_seconds: float | None = None
    input: str | None = None
    output: str | None = None


class StepSpec(PlacedSpec):
    """A step, a node, a participant or a branch that refers to a part of the spec."""

    kind: Literal["agent", "function", "workflow", "human", "guardrail"]
    ref: str


class ParallelSpec(PlacedSpec):
    """A step that does several others at the same time."""

    kind: Literal["parallel"]
    branches: "list[AnyStepSpec]"
    join: JoinSpec | None = None
    aggregation: AggregationSpec | None = None
    max_concurrency: int | None = None


class MapSpec(PlacedSpec):
    """A step that does another one for each item of a list. `over` is a CEL expression of the list."""

    kind: Literal["map"]
    step: "AnyStepSpec"
    over: str | None = None
    aggregation: AggregationSpec | None = None
    max_concurrency: int | None = None


def _kind_of(value: Any) -> str:
    found = value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)
    return f"<{found}>" if found in ("parallel", "map") else "<step>"


type AnyStepSpec = Annotated[
    Annotated[StepSpec, Tag("<step>")] | Annotated[ParallelSpec, Tag("<parallel>")] | Annotated[MapSpec, Tag("<map>")],
    Discriminator(_kind_of),
]
"""Any step, told apart by its `kind`."""

STEP_KINDS = ("agent", "function", "workflow", "human", "guardrail", "parallel", "map")


class ConditionSpec(Block):
    """When an edge is taken."""

    type: Literal[
        "always",
        "never",
        "output_contains",
        "output_equals",
        "metadata_equals",
        "variable_equals",
        "status_is",
        "decision_is",
        "cel",
        "all_of",
        "any_of",
        "not",
    ]
    value: Any = None
    key: str | None = None
    case_sensitive: bool = False
    conditions: "list[ConditionSpec] | None" = None
    condition: "ConditionSpec | None" = None


class EdgeSpec(Block):
    """A way from one node to another."""

    source: str = Field(alias="from")
    target: str = Field(alias="to")
    condition: ConditionSpec | None = None
    label: str | None = None


class _Named(Block):
    name: str | None = None
    description: str | None = None
    variables: dict[str, VariableSpec] = Field(default_factory=dict)


class SequentialSpec(_Named):
    """Steps one after the other."""

    type: Literal["sequential"]
    steps: list[AnyStepSpec]


class GraphSpec(_Named):
    """Nodes, and edges that say which comes next."""

    type: Literal["graph"]
    start: str
    nodes: dict[str, AnyStepSpec]
    edges: list[EdgeSpec]
    max_steps: int = 50


class ConcurrentSpec(_Named):
    """Participants that all see the same input."""

    type: Literal["concurrent"]
    participants: list[AnyStepSpec]
    max_iterations: int | None = None
    join: JoinSpec | None = None
    aggregation: AggregationSpec | None = None
    max_concurrency: int | None = None


class SelectorSpec(Block):
    """Who speaks next in a handoff. With `agent`, who speaks hands over by a tool call."""

    type: Literal["sequence", "round_robin", "agent"] = "sequence"
    sequence: list[str] = Field(default_factory=list)


class HandoffSpec(_Named):
    """Participants that pass one conversation on."""

    type: Literal["handoff"]
    participants: list[AnyStepSpec]
    selector: SelectorSpec | None = None
    max_iterations: int | None = None


class SpeakerSpec(Block):
    """The agent that names who speaks next."""

    agent: str


class GroupChatSpec(_Named):
    """Participants that speak in turn, for some rounds."""

    type: Literal["group_chat", "group-chat"]
    participants: list[AnyStepSpec]
    rounds: int = 1
    max_iterations: int | None = None
    speaker: SpeakerSpec | None = None
    until: ConditionSpec | None = None


def _type_of(value: Any) -> str | None:
    found = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return f"<{found.replace('-', '_')}>" if isinstance(found, str) else None


type WorkflowSpec = Annotated[
    Annotated[SequentialSpec, Tag("<sequential>")]
    | Annotated[GraphSpec, Tag("<graph>")]
    | Annotated[ConcurrentSpec, Tag("<concurrent>")]
    | Annotated[HandoffSpec, Tag("<handoff>")]
    | Annotated[GroupChatSpec, Tag("<group_chat>")],
    Discriminator(_type_of),
]
"""Any workflow, told apart by its `type`."""

UNION_MODELS: dict[str, type[Block]] = {
    "<step>": StepSpec,
    "<parallel>": ParallelSpec,
    "<map>": MapSpec,
    "<sequential>": SequentialSpec,
    "<graph>": GraphSpec,
    "<concurrent>": ConcurrentSpec,
    "<handoff>": HandoffSpec,
    "<group_chat>": GroupChatSpec,
}
"""The model behind each tag of the two unions, as it stands in the places of errors."""

WORKFLOW_TYPES = ("sequential", "graph", "concurrent", "handoff", "group_chat")
