"""Workflows: steps, and the order in which they are done."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from kneo_serv.spec.models.block import Block


class StepSpec(Block):
    """One place in a workflow: a step, a node or a participant."""

    id: str
    kind: Literal["agent", "function", "workflow", "human", "guardrail"]
    ref: str
    enabled: bool = True
    on_error: Literal["fail", "continue", "retry", "fallback"] = "fail"
    fallback_ref: str | None = None
    max_retries: int = 0
    backoff_seconds: float | None = None
    timeout_seconds: float | None = None


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


class SequentialSpec(_Named):
    """Steps one after the other."""

    type: Literal["sequential"]
    steps: list[StepSpec]


class GraphSpec(_Named):
    """Nodes, and edges that say which comes next."""

    type: Literal["graph"]
    start: str
    nodes: dict[str, StepSpec]
    edges: list[EdgeSpec]
    max_steps: int = 50


class ConcurrentSpec(_Named):
    """Participants that all see the same input."""

    type: Literal["concurrent"]
    participants: list[StepSpec]
    max_iterations: int | None = None


class SelectorSpec(Block):
    """Who speaks next in a handoff."""

    type: Literal["sequence", "round_robin"] = "sequence"
    sequence: list[str] = Field(default_factory=list)


class HandoffSpec(_Named):
    """Participants that pass one conversation on."""

    type: Literal["handoff"]
    participants: list[StepSpec]
    selector: SelectorSpec | None = None
    max_iterations: int | None = None


class GroupChatSpec(_Named):
    """Participants that speak in turn, for some rounds."""

    type: Literal["group_chat", "group-chat"]
    participants: list[StepSpec]
    rounds: int = 1
    max_iterations: int | None = None


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

WORKFLOW_MODELS: dict[str, type[Block]] = {
    "<sequential>": SequentialSpec,
    "<graph>": GraphSpec,
    "<concurrent>": ConcurrentSpec,
    "<handoff>": HandoffSpec,
    "<group_chat>": GroupChatSpec,
}
"""The model behind each tag of the union, as it stands in the places of errors."""

WORKFLOW_TYPES = ("sequential", "graph", "concurrent", "handoff", "group_chat")
