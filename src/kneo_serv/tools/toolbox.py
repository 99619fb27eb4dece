"""The tools that one plan can use: its own ones and those of the platform's registry."""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from kneo_serv.errors import ToolError
from kneo_serv.model.plan import ToolPlan
from kneo_serv.model.tool import ToolDefinition, ToolPolicy
from kneo_serv.tools.call_context import CallContext, call_scope
from kneo_serv.tools.guard import Guard
from kneo_serv.tools.import_path import load_callable
from kneo_serv.tools.mcp.tools import McpTools
from kneo_serv.tools.pool import HandlerPool
from kneo_serv.tools.registry import Handler, ToolRegistry
from kneo_serv.tools.result import output_text
from kneo_serv.tools.schema import ArgumentSchema


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

    async def described(self, names: Iterable[str]) -> tuple[ToolDefinition, ...]:
        """What a model is told about these tools, in their order. MCP servers are asked for what the plan leaves open.

        Raises:
            NotFoundError: neither the plan nor the registry has one of them; a KeyError.
            ToolError: an MCP server cannot be reached, or has no such tool; names both.
            MissingExtraError: the MCP library is not installed.
        """
        return tuple(await asyncio.gather(*(self._told(name) for name in names)))

    async def call(
        self,
        name: str,
        arguments: Mapping[str, Any],
        *,
        policy: ToolPolicy,
        visible: Collection[str],
        context: CallContext,
        timeout: float | None = None,
    ) -> str:
        """The tool's answer as text. `timeout` is in seconds of running time; what the handler raises comes through.

        Raises:
            ToolPolicyViolation: refused by the guard; the handler was not reached.
            ToolArgumentValidationError: the arguments do not fit the schema; the handler was not reached.
            StepTimeoutError: the time is over, that of the call or that of the tool itself.
            ToolError: the tool is backed by something that cannot be called here, or its MCP server failed.
            MissingExtraError: the MCP library is not installed.
            InvalidRequestError: its implementation cannot be imported, or its schema is invalid.
            NotFoundError: no such tool; a KeyError.
        """
        schema, admitted = self._guard.admit(
            name, arguments, definition=self.definition, policy=policy, visible=visible
        )
        tool = self._tools.get(name)
        if tool is not None and tool.mcp_server is not None and self._mcp is not None:
            described = await self._mcp.described(tool, timeout=timeout)
            await self._check(described.schema if described is not None else schema, admitted)
            return await self._mcp.call(tool, admitted, context=context, timeout=timeout)
        await self._check(schema, admitted)
        own = schema.definition.timeout_seconds
        timeout = own if timeout is None or (own is not None and own < timeout) else timeout
        handler = await self._handler(name, timeout)
        with call_scope(context):
            value = await self._pool.run(handler, admitted, timeout=timeout, name=f"Tool {name!r}")
        return output_text(value)

    async def _told(self, name: str) -> ToolDefinition:
        tool = self._tools.get(name)
        if tool is None or tool.mcp_server is None or self._mcp is None:
            return self.definition(name)
        described = await self._mcp.described(tool)
        return tool.definition if described is None else described.definition

    async def _check(self, schema: ArgumentSchema, arguments: dict[str, Any]) -> None:
        if not schema.compiled:
            await self._pool.run(schema.compile, name=f"The schema of tool {schema.definition.name!r}")
        schema.check(arguments)

    async def _handler(self, name: str, timeout: float | None) -> Handler:
        tool = self._tools.get(name)
        if tool is None or (tool.implementation is None and tool.agent is None and tool.mcp_server is None):
            return self._registry.handler(name)
        if tool.implementation is None:
            backing = f"agent {tool.agent!r}" if tool.agent is not None else f"MCP server {tool.mcp_server!r}"
            raise ToolError(f"Tool {name!r} is backed by {backing}, which is not called from this toolbox.")
        if name not in self._loaded:
            self._loaded[name] = await self._pool.run(
                load_callable, tool.implementation, timeout=timeout, name=f"Importing {tool.implementation!r}"
            )
        return self._loaded[name]
