"""Middleware around one call of a tool."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from kneo_serv.middleware.chain import Next, compose
from kneo_serv.model.tool import ToolResult

type NextCall = Next["ToolCallContext", ToolResult]
"""Calls the tool, by way of the middlewares further inside."""


@dataclass(frozen=True, slots=True)
class ToolCallContext:
    """One call that the guard let pass. Pass on a copy to change the arguments: `replace(ctx, args=...)`.

    Changed arguments are looked at by the guard once more. `metadata` holds `run_id`, `step_key`, `attempt`, `agent`,
    `tool_call_id`, `idempotency_key`, and of the tool's definition `capabilities` and `effect`.
    """

    tool_name: str
    args: Mapping[str, Any]
    metadata: Mapping[str, Any] = field(default_factory=dict)


class ToolMiddleware(Protocol):
    """Stands around each call of a tool, inside the journaled call and behind the guard."""

    async def wrap_tool_call(self, ctx: ToolCallContext, next_call: NextCall) -> ToolResult:
        """The tool's answer, by calling `next_call` or without it. What it raises is told to the model as an error.

        Raises:
            ToolPolicyViolation: the call is refused, as the guard refuses one; only before `next_call`.
        """
        ...


def compose_tool_middlewares(middlewares: Sequence[ToolMiddleware], terminal: NextCall) -> NextCall:
    """One function around `terminal`; the first middleware is outermost.

    Raises:
        InvalidRequestError: a middleware has no async `wrap_tool_call`.
    """
    return compose(middlewares, terminal, method="wrap_tool_call", result=ToolResult)
