"""Notes of model turns and tool calls: how long they took and how they ended, never what was said."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kneo_serv.middleware.run import NextRun, RunContext
from kneo_serv.middleware.tool import NextCall, ToolCallContext
from kneo_serv.model.message import Turn
from kneo_serv.model.tool import ToolResult

log = logging.getLogger("kneo_serv.middleware")


@dataclass(frozen=True, slots=True)
class TraceNote:
    """One turn or call that ended. `error_type` is None when it went well."""

    kind: str
    """`model_turn` or `tool_call`."""
    name: str
    """Of the agent or the tool."""
    seconds: float
    error_type: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The context's metadata, and for a turn `input_tokens`, `output_tokens` and the number of `tool_calls`."""


class TracingMiddleware:
    """Tells a listener, which never raises, of each turn and call.

    Without one, a line of the logger `kneo_serv.middleware` is written. `monotonic` is where time comes from.
    """

    def __init__(
        self, listener: Callable[[TraceNote], None] | None = None, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._listener = listener or _write
        self._monotonic = monotonic

    async def wrap_run(self, ctx: RunContext, next_run: NextRun) -> Turn:
        """The same answer."""
        began = self._monotonic()
        try:
            turn = await next_run(ctx)
        except BaseException as error:
            self._tell("model_turn", ctx.config.agent, began, type(error).__name__, ctx.metadata)
            raise
        facts = {
            **ctx.metadata,
            "input_tokens": turn.usage.input_tokens,
            "output_tokens": turn.usage.output_tokens,
            "tool_calls": len(turn.tool_calls),
        }
        self._tell("model_turn", ctx.config.agent, began, None, facts)
        return turn

    async def wrap_tool_call(self, ctx: ToolCallContext, next_call: NextCall) -> ToolResult:
        """The same answer."""
        began = self._monotonic()
        try:
            result = await next_call(ctx)
        except BaseException as error:
            self._tell("tool_call", ctx.tool_name, began, type(error).__name__, ctx.metadata)
            raise
        self._tell("tool_call", ctx.tool_name, began, None, ctx.metadata)
        return result

    def _tell(self, kind: str, name: str, began: float, error_type: str | None, facts: Mapping[str, Any]) -> None:
        self._listener(TraceNote(kind, name, self._monotonic() - began, error_type, facts))


def _write(note: TraceNote) -> None:
    facts = " ".join(f"{name}={value}" for name, value in note.facts.items())
    end = note.error_type or "ok"
    log.info("%s %s %s in %.3f s %s", note.kind, note.name, end, note.seconds, facts)
