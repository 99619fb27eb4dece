"""Middleware around one model turn of an agent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from kneo_serv.middleware.chain import Next, compose
from kneo_serv.model.message import Message, TextListener, Turn
from kneo_serv.model.tool import ToolDefinition

type NextRun = Next["RunContext", Turn]
"""Asks the model, by way of the middlewares further inside."""


@dataclass(frozen=True, slots=True)
class RunConfig:
    """How the model is asked, beside the messages. What a middleware changes in here is what the model gets."""

    agent: str
    """The agent's name."""
    provider: str | None = None
    model: str | None = None
    """`provider` and `model` tell what the spec names; changing them changes nothing."""
    tools: tuple[ToolDefinition, ...] = ()
    """What the model is offered. Offering a tool that the agent may not call does not make the guard let it pass."""
    output_schema: Mapping[str, Any] | None = None
    parallel_tool_calls: bool = True
    on_text: TextListener | None = field(default=None, compare=False, repr=False)
    """Who hears the answer while it comes. None for the model means that nothing is heard before the end."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """One question to a model. Pass on a copy to change it: `await next_run(replace(ctx, messages=...))`.

    `metadata` says whose question it is: `run_id`, `step_id`, `step_key`, `attempt`, `turn` and `idempotency_key`, as
    far as there is one; an agent that is asked beside a step (for a summary, or about a text) has only the last.
    `trace` holds the W3C trace context (`traceparent`, `tracestate`) where tracing is on.
    """

    messages: tuple[Message, ...]
    config: RunConfig
    metadata: Mapping[str, Any] = field(default_factory=dict)
    trace: Mapping[str, str] = field(default_factory=dict)


class RunMiddleware(Protocol):
    """Stands around each model turn of an agent: often within one run, and once more after a crash."""

    async def wrap_run(self, ctx: RunContext, next_run: NextRun) -> Turn:
        """The model's answer, by calling `next_run` or without it. What it raises is the failure of the attempt.

        Raises:
            GuardrailViolation: the turn is refused; no `on_error` of the step absorbs it.
        """
        ...


def compose_run_middlewares(middlewares: Sequence[RunMiddleware], terminal: NextRun) -> NextRun:
    """One function around `terminal`; the first middleware is outermost.

    Raises:
        InvalidRequestError: a middleware has no async `wrap_run`.
    """
    return compose(middlewares, terminal, method="wrap_run", result=Turn)
