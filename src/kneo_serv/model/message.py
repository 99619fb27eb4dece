"""What goes to a model and what comes back."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from kneo_serv.model.quick import quick
from kneo_serv.model.tool import ToolDefinition


class Role(StrEnum):
    """Who speaks."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@quick
@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model's wish to call a tool. `id` is the model's own and unique within one turn."""

    id: str
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    invalid_arguments: str | None = None
    """The raw text when the model's arguments were no JSON object; the call is then answered with an error."""


@quick
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


@quick
@dataclass(frozen=True, slots=True)
class Usage:
    """What questions to models took; zero where the provider does not say."""

    input_tokens: int = 0
    """All of them, those from a cache included."""
    output_tokens: int = 0
    requests: int = 0
    cached_tokens: int = 0
    """Of the input, what the provider had in its cache."""
    cost_usd: float = 0.0
    """In US dollars, by list price; what nobody knows the price of is left out."""
    unpriced: int = 0
    """Requests that took tokens and whose price nobody knows."""

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.requests + other.requests,
            self.cached_tokens + other.cached_tokens,
            # A sum of many small amounts; a billionth of a dollar is below every price.
            round(self.cost_usd + other.cost_usd, 9),
            self.unpriced + other.unpriced,
        )


@quick
@dataclass(frozen=True, slots=True)
class Turn:
    """What a model answered in one turn: text, wishes to call tools, or both."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage = Usage()
    model_name: str | None = None
    raw: str | None = None


type TextListener = Callable[[str], None]
"""Is told each piece of a model's text as it comes, on the platform's loop. It never blocks and never raises.

An empty piece means that what came so far is void: an attempt failed, or the model goes on behind its tools. So what
came since the last empty piece is the text of the turn, once there is one.
"""

type ToolCaller = Callable[[ToolCall], Awaitable[str]]
"""Calls a tool behind the guard, journaled and traced; gives what the model is told, an error of the tool included.

It raises only what ends the attempt (ToolPolicyViolation, a refusal that the policy does not let the model hear of),
and that must be let through.
"""


@quick
@dataclass(frozen=True, slots=True)
class TurnRequest:
    """One question to a model: the conversation so far and the tools that it may ask for."""

    agent_name: str
    messages: tuple[Message, ...]
    tools: tuple[ToolDefinition, ...] = ()
    idempotency_key: str = ""
    output_schema: Mapping[str, Any] | None = None
    """JSON Schema of the answer, which is JSON text then. The platform checks it; the model is to know of it."""
    parallel_tool_calls: bool = True
    """Whether the model may wish for several tools in one turn."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Trace context (`traceparent`, `tracestate`) that goes along with requests over HTTP."""
    on_text: TextListener | None = field(default=None, compare=False, repr=False)
    """Who hears the answer while it comes. A runtime that cannot stream passes it over."""
    call_tool: ToolCaller | None = field(default=None, compare=False, repr=False)
    """How a runtime with a loop of its own calls the tools; one that is driven turn by turn passes it over."""
    max_requests: int | None = None
    """Questions that a runtime with a loop of its own may ask at most; None is no bound."""
