"""Named parts: functions and people."""

from typing import Any, Literal

from pydantic import Field

from kneo_serv.spec.models.agent import AgentSpec
from kneo_serv.spec.models.block import Block
from kneo_serv.spec.models.workflow import WorkflowSpec

type EffectName = Literal["idempotent", "keyed", "once"]


class FunctionSpec(Block):
    """A Python function, text in and text out, by its dotted import path."""

    implementation: str
    input_schema: dict[str, Any] | None = None
    output_schema: dict[str, Any] | None = None
    capabilities: list[Literal["network", "filesystem", "shell"]] = Field(default_factory=list)
    effect: EffectName | None = None


class HumanSpec(Block):
    """A question to a person. `timeout_seconds` counts from the moment of asking."""

    description: str | None = None
    assignee: str | None = None
    timeout_seconds: float | None = None
    on_timeout: Literal["fail", "continue", "escalate"] = "fail"
    remind_every_seconds: float | None = None
    max_reminders: int = 3
    request_type: Literal["approval", "review", "correction", "selection", "freeform"] = "approval"
    options: list[str] = Field(default_factory=list)
    default_option: str | None = None
    context: dict[str, Any] = Field(default_factory=dict)
    response_role: Literal["user", "assistant", "system"] | None = None
    on_reject: Literal["continue", "fail", "goto"] = "continue"
    reject_goto: str | None = None


class ComponentsSpec(Block):
    """The named parts that steps refer to."""

    agents: dict[str, AgentSpec] = Field(default_factory=dict)
    workflows: dict[str, WorkflowSpec] = Field(default_factory=dict)
    functions: dict[str, FunctionSpec] = Field(default_factory=dict)
    humans: dict[str, HumanSpec] = Field(default_factory=dict)
