"""The tools of a platform: by name, a definition and a handler."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import cached_property
from typing import Any, cast

from kneo_serv.errors import LoopMisuseError, NotFoundError
from kneo_serv.model.plan import McpServerPlan
from kneo_serv.model.tool import ToolDefinition
from kneo_serv.tools.call_context import CallContext, call_scope
from kneo_serv.tools.mcp.importer import MCPClientProtocol, import_mcp_tools
from kneo_serv.tools.pool import HandlerPool, is_async
from kneo_serv.tools.result import ToolResult, output_text
from kneo_serv.tools.schema import ArgumentSchema

type Handler = Callable[[dict[str, Any]], str | Awaitable[str] | Any]
"""Takes the arguments object, gives text; anything else becomes text. Sync, or async."""


class ToolRegistry:
    """Tools that agents may name without defining them in the spec."""

    def __init__(self) -> None:
        self.definitions: dict[str, ToolDefinition] = {}
        self.handlers: dict[str, Handler] = {}
        self.changes = 0
        """How many tools were added or replaced so far."""

    def register(self, definition: ToolDefinition, handler: Handler) -> None:
        """Adds a tool; one of the same name is replaced.

        Raises:
            InvalidRequestError: `parameters` is no valid JSON Schema; the text names the place in it.
            ValueError: no handler.
        """
        if not callable(handler):
            raise ValueError(f"Tool {definition.name!r} has no implementation")
        ArgumentSchema(definition).compile()
        self.add_checked(definition, handler)

    def add_checked(self, definition: ToolDefinition, handler: Handler) -> None:
        """Adds a tool whose schema is known to be valid, without the quarter of a second that a first check takes."""
        self.definitions[definition.name] = definition
        self.handlers[definition.name] = handler
        self.changes += 1

    def register_mcp_server(
        self, server: MCPClientProtocol | McpServerPlan | Mapping[str, Any], *, prefix: str | None = None
    ) -> list[ToolDefinition]:
        """Adds every tool of an MCP server, under its own name behind `prefix`, and says which. Blocks meanwhile.

        `server` is a config with the keys of `mcp_servers.<name>` in a spec, or a client of your own. With a config
        the sessions are ours; `shutdown_mcp_session_hosts()` ends them.

        Raises:
            LoopMisuseError: an event loop runs in this thread: `await asyncio.to_thread(...)`.
            ToolError: the server cannot be reached; names it and the reason.
            InvalidRequestError: the config cannot be, or a tool's schema is no valid JSON Schema.
            MissingExtraError: the MCP library is not installed.
        """
        return import_mcp_tools(client=server, registry=self, name_prefix=prefix)

    def definition(self, name: str) -> ToolDefinition:
        """The definition of this name.

        Raises:
            NotFoundError: there is none; a KeyError.
        """
        if name not in self.definitions:
            raise NotFoundError("tool", name)
        return self.definitions[name]

    def handler(self, name: str) -> Handler:
        """The handler of this name.

        Raises:
            NotFoundError: there is none; a KeyError.
        """
        if name not in self.handlers:
            raise NotFoundError("tool", name)
        return self.handlers[name]

    def call(self, name: str, args: dict[str, Any]) -> ToolResult:
        """Calls a tool right here and waits for its end; for scripts and tests. No guard, no time limit.

        Raises:
            NotFoundError: no such tool; a KeyError.
            LoopMisuseError: the handler is async and an event loop runs in this thread already: `await acall(...)`.
        """
        handler = self.handler(name)
        if is_async(handler) and _loop_runs():
            raise _misuse(name)
        value = handler(args)
        if inspect.isawaitable(value):
            if _loop_runs():
                if inspect.iscoroutine(value):
                    value.close()
                raise _misuse(name)
            value = asyncio.run(_wait_for(value))
        return ToolResult(name, output_text(value))

    async def acall(
        self,
        name: str,
        args: dict[str, Any],
        *,
        context: CallContext | None = None,
        pool: HandlerPool | None = None,
        timeout: float | None = None,
    ) -> ToolResult:
        """Calls a tool without blocking the loop: sync handlers run in a thread of `pool` (default: one of our own).

        `context` is what `current_call()` tells the handler; `timeout` is in seconds of running time. No guard.

        Raises:
            NotFoundError: no such tool; a KeyError.
            StepTimeoutError: the time is over.
        """
        handler = self.handler(name)
        with call_scope(context):
            value = await (pool or self._pool).run(handler, args, timeout=timeout, name=f"Tool {name!r}")
        return ToolResult(name, output_text(value))

    @cached_property
    def _pool(self) -> HandlerPool:
        return HandlerPool()


def _wait_for(value: Awaitable[Any]) -> Coroutine[Any, Any, Any]:
    if inspect.iscoroutine(value):
        return cast("Coroutine[Any, Any, Any]", value)

    async def wait() -> Any:
        return await value

    return wait()


def _loop_runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _misuse(name: str) -> LoopMisuseError:
    return LoopMisuseError(
        f"Tool {name!r} is async and an event loop runs in this thread: call(...) could never come to an end. "
        f"Write: await registry.acall({name!r}, ...)"
    )
