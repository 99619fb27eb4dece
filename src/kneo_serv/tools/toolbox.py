"""The tools that one plan can use: its own ones and those of the platform's registry."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from kneo_serv.errors import InvalidRequestError, NotFoundError, ToolError, ToolUnavailableError
from kneo_serv.model.plan import ToolPlan
from kneo_serv.model.tool import ToolDefinition, ToolPolicy
from kneo_serv.tools.call_context import CallContext, call_scope
from kneo_serv.tools.guard import Guard
from kneo_serv.tools.import_path import load_callable
from kneo_serv.tools.mcp.tools import DescribedTool, McpTools
from kneo_serv.tools.pool import HandlerPool
from kneo_serv.tools.registry import Handler, ToolRegistry
from kneo_serv.tools.result import output_text


class Toolbox:
    """Calls tools by name, each behind the guard. A tool of the plan hides one of the registry with the same name.

    Python code of the plan's tools is imported at the first call that the guard lets pass, in a thread of the pool.
    `mcp` answers for the tools of the plan's MCP servers.
    """

    def __init__(
        self,
        tools: Mapping[str, ToolPlan],
        registry: ToolRegistry,
        *,
        pool: HandlerPool,
        mcp: McpTools | None = None,
    ) -> None:
        self._tools = tools
        self._registry = registry
        self._pool = pool
        self._mcp = mcp
        self._guard = Guard()
        self._loaded: dict[str, Handler] = {}

    def definition(self, name: str) -> ToolDefinition:
        """What the plan or the registry says about the tool.

        Raises:
            NotFoundError: neither the plan nor the registry has it; a KeyError.
        """
        tool = self._tools.get(name)
        return self._registry.definition(name) if tool is None else tool.definition

    async def described(self, names: Iterable[str], *, timeout: float | None = None) -> tuple[ToolDefinition, ...]:
        """What a model is told about these tools, in their order. MCP servers are asked for what the plan leaves open.

        Raises:
            NotFoundError: neither the plan nor the registry has one of them; a KeyError.
            ToolError: an MCP server cannot be reached, or not within `timeout` seconds; names it and the reason.
            ToolUnavailableError: a server cannot be reached from here at all, or has no such tool.
            MissingExtraError: the MCP library is not installed.
        """
        return tuple(await asyncio.gather(*(self._told(name, timeout) for name in names)))

    async def call(
        self,
        name: str,
        arguments: Mapping[str, Any],
        *,
        policy: ToolPolicy,
        visible: Collection[str],
        context: CallContext,
        timeout: float | None = None,
        entry: Callable[[], None] | None = None,
    ) -> str:
        """The tool's answer as text. `timeout` is in seconds of running time; what the handler raises comes through.

        `entry` is called right before the handler; when it raises, the handler is not reached.

        Raises:
            ToolPolicyViolation: refused by the guard; the handler was not reached.
            ToolArgumentValidationError: the arguments do not fit the schema; the handler was not reached.
            StepTimeoutError: the time is over.
            ToolError: the tool is backed by something that cannot be called here, or its MCP server failed.
            ToolOutcomeUnknownError: its MCP server is gone, and nobody knows whether the call happened.
            ToolUnavailableError: this platform has no such tool, or cannot import or start what answers it.
            MissingExtraError: the MCP library is not installed.
            InvalidRequestError: its schema is invalid.
            NotFoundError: no such tool; a KeyError.
        """
        admitted = await self.admit(name, arguments, policy=policy, visible=visible, timeout=timeout)
        tool = self._tools.get(name)
        if tool is not None and tool.mcp_server is not None and self._mcp is not None:
            return await self._mcp.call(tool, admitted, context=context, timeout=timeout, entry=entry)
        limit = _shorter(timeout, self.definition(name).timeout_seconds)
        handler = await self._handler(name, limit)
        with call_scope(context):
            value = await self._pool.run(handler, admitted, timeout=limit, name=f"Tool {name!r}", entry=entry)
        return output_text(value)

    async def admit(
        self,
        name: str,
        arguments: Mapping[str, Any],
        *,
        policy: ToolPolicy,
        visible: Collection[str],
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """The arguments as the handler would get them; raises what `call` raises before it reaches the handler."""
        schema, admitted = self._guard.admit(
            name, arguments, definition=self.definition, policy=policy, visible=visible
        )
        if (described := await self._remote(name, timeout)) is not None:
            schema = described.schema
        if not schema.compiled:
            await self._pool.run(schema.compile, name=f"The schema of tool {name!r}")
        schema.check(admitted)
        return admitted

    async def _told(self, name: str, timeout: float | None) -> ToolDefinition:
        described = await self._remote(name, timeout)
        return self.definition(name) if described is None else described.definition

    async def _remote(self, name: str, timeout: float | None) -> DescribedTool | None:
        """What an MCP server says about its tool; None where the plan or the registry says all there is to say."""
        tool = self._tools.get(name)
        if tool is None or tool.mcp_server is None or self._mcp is None:
            return None
        return await self._mcp.described(tool, timeout=timeout)

    async def _handler(self, name: str, timeout: float | None) -> Handler:
        tool = self._tools.get(name)
        if tool is None or (tool.implementation is None and tool.agent is None and tool.mcp_server is None):
            try:
                return self._registry.handler(name)
            except NotFoundError:
                raise ToolUnavailableError(
                    f"The tool registry of this platform has no {name!r}. Start it with the code that registers the "
                    "tool (--tools or --factory on the command line), and continue the run."
                ) from None
        if tool.implementation is None:
            if tool.agent is not None:
                raise ToolError(
                    f"Tool {name!r} is backed by agent {tool.agent!r}, which can be called in mode bridge only."
                )
            raise ToolError(f"Tool {name!r} is backed by MCP server {tool.mcp_server!r}, which cannot be called here.")
        if name not in self._loaded:
            try:
                self._loaded[name] = await self._pool.run(
                    load_callable, tool.implementation, timeout=timeout, name=f"Importing {tool.implementation!r}"
                )
            except InvalidRequestError as fault:
                raise ToolUnavailableError(str(fault)) from fault
        return self._loaded[name]


def _shorter(one: float | None, other: float | None) -> float | None:
    return min((limit for limit in (one, other) if limit is not None), default=None)
