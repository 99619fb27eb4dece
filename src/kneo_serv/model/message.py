"""What goes to a model and what comes back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from kneo_serv.model.tool import ToolDefinition


class Role(StrEnum):
    """Who speaks."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model's wish to call a tool. `id` is the model's own and unique within one turn."""

    id: str
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    invalid_arguments: str | None = None
    """The raw text when the model's arguments were no JSON object; the call is then answered with an error."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation.

    `tool_calls` belong to an assistant's message; `tool_call_id` and `name` to a tool's. `raw` is the provider's own
    form of an assistant message (JSON text), kept so that what we do not model is given back unchanged.
    """

    role: Role
    content: str = ""
    name: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    raw: str | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens used; zero where the provider does not say."""

    input_tokens: int = 0
    output_tokens: int = 0
    requests: int = 0

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.requests + other.requests,
        )


@dataclass(frozen=True, slots=True)
class Turn:
    """What a model answered in one turn: text, wishes to call tools, or both."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage = Usage()
    model_name: str | None = None
    raw: str | None = None


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """One question to a model: the conversation so far and the tools that it may ask for."""

    agent_name: str
    messages: tuple[Message, ...]
    tools: tuple[ToolDefinition, ...] = ()
    idempotency_key: str = ""
