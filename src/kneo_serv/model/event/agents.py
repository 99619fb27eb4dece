"""What happens between an agent, its model and its tools."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from kneo_serv.model.ids import StepKey
from kneo_serv.model.message import ToolCall, Usage
from kneo_serv.model.quick import quick


@quick
@dataclass(frozen=True, slots=True)
class ModelTurnStarted:
    """A model is being asked. `turn` counts from 1 within one attempt of a step."""

    KIND: ClassVar[str] = "model_turn_started"
    VERSION: ClassVar[int] = 1
    key: StepKey
    step_id: str
    turn: int


@quick
@dataclass(frozen=True, slots=True)
class ModelTurnCompleted:
    """A model answered: text, wishes to call tools, or both."""

    KIND: ClassVar[str] = "model_turn_completed"
    VERSION: ClassVar[int] = 1
    key: StepKey
    step_id: str
    turn: int
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage = Usage()
    model_name: str | None = None
    raw: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """`model_provider` and `runtime_mode`: who was asked. Under `memory`: the agent's policy, and how many messages
    there were before and after it."""
    approvals: tuple[str, ...] = ()
    """Ids of the calls that a person has to agree to first."""
    admitted: tuple[str, ...] = ()
    """Ids of the calls that the guard lets pass to the agent that answers them."""
    misfit: str | None = None
    """Why the answer does not fit the agent's `output_schema`; it never holds the answer itself."""


@quick
@dataclass(frozen=True, slots=True)
class ToolCallStarted:
    """A tool is being called. `number` counts the calls of the step from 1 and makes the idempotency key."""

    KIND: ClassVar[str] = "tool_call_started"
    VERSION: ClassVar[int] = 1
    key: StepKey
    step_id: str
    call_id: str
    tool_name: str
    number: int
    inner: ToolCall | None = None
    """The call itself, where a runtime with a loop of its own makes it within a model turn that is still going on."""


@quick
@dataclass(frozen=True, slots=True)
class ToolCallCompleted:
    """A tool answered."""

    KIND: ClassVar[str] = "tool_call_completed"
    VERSION: ClassVar[int] = 1
    key: StepKey
    step_id: str
    call_id: str
    tool_name: str
    output: str


@quick
@dataclass(frozen=True, slots=True)
class ToolCallFailed:
    """A tool call went wrong; `message` is what the model is told."""

    KIND: ClassVar[str] = "tool_call_failed"
    VERSION: ClassVar[int] = 1
    key: StepKey
    step_id: str
    call_id: str
    tool_name: str
    error_type: str
    message: str
    uncertain: bool = False
    """It was given up while it was at work: nobody knows whether it happened."""
    unavailable: bool = False
    """The tool is not to be had here, which is no business of the model: the step fails."""


@quick
@dataclass(frozen=True, slots=True)
class ToolPolicyDenied:
    """The guard refused a tool call; the handler was not reached."""

    KIND: ClassVar[str] = "tool_policy_denied"
    VERSION: ClassVar[int] = 1
    key: StepKey
    step_id: str
    call_id: str
    tool_name: str
    reason: str
