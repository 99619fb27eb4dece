"""The tools of one plan that MCP servers answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from kneo_serv.errors import InvalidRequestError, ToolUnavailableError
from kneo_serv.model.plan import McpServerPlan, ToolPlan
from kneo_serv.model.tool import Effect, ToolDefinition
from kneo_serv.tools.call_context import CallContext
from kneo_serv.tools.mcp.config import ServerConfig
from kneo_serv.tools.mcp.servers import McpServers
from kneo_serv.tools.mcp.tool_spec import MCPToolSpec
from kneo_serv.tools.pool import HandlerPool
from kneo_serv.tools.schema import ArgumentSchema

IDEMPOTENCY_KEY = "kneo-serv/idempotency-key"
"""Where a tool with the effect `keyed` finds the key of its call: in the `_meta` of the request."""

_REPEATABLE = (Effect.IDEMPOTENT, Effect.KEYED)


@dataclass(frozen=True, slots=True)
class DescribedTool:
    """A tool with what its server says about it."""

    remote: MCPToolSpec
    definition: ToolDefinition
    schema: ArgumentSchema
    """Compiled. Takes anything where the server's schema is not one that we understand: the server checks too."""


class McpTools:
    """Calls and describes the MCP tools of one plan, over the sessions that all plans share."""

    def __init__(self, servers: McpServers, plans: Mapping[str, McpServerPlan], *, pool: HandlerPool) -> None:
        self._servers = servers
        self._plans = plans
        self._pool = pool
        self._configs: dict[str, ServerConfig] = {}
        self._described: dict[str, DescribedTool] = {}

    async def described(self, tool: ToolPlan, *, timeout: float | None = None) -> DescribedTool | None:
        """What the server says a tool takes, asked for once in each session; None where the plan says it itself.

        Raises:
            ToolError: the server cannot be reached.
            ToolUnavailableError: it cannot be reached from here at all, or has no such tool.
            MissingExtraError: the MCP library is not installed.
        """
        name, definition = tool.definition.name, tool.definition
        if definition.parameters:
            return None
        server = tool.mcp_server or ""
        remote = await self._servers.tool(server, self._config(server), tool.mcp_name or name, timeout=timeout)
        known = self._described.get(name)
        if known is None or known.remote is not remote:
            shown = replace(
                definition,
                parameters=remote.input_schema,
                description=definition.description or remote.description,
            )
            schema = ArgumentSchema(shown)
            try:
                await self._pool.run(schema.compile, name=f"The schema of tool {name!r}")
            except InvalidRequestError:
                schema = ArgumentSchema(definition)
            known = self._described[name] = DescribedTool(remote, shown, schema)
        return known

    async def call(
        self,
        tool: ToolPlan,
        arguments: Mapping[str, Any],
        *,
        context: CallContext,
        timeout: float | None = None,
        entry: Callable[[], None] | None = None,
    ) -> str:
        """The answer as text; raises what `McpServers.call` raises."""
        definition = tool.definition
        meta: dict[str, Any] = dict(context.trace)
        if definition.effect is Effect.KEYED:
            meta[IDEMPOTENCY_KEY] = context.idempotency_key
        server = tool.mcp_server or ""
        return await self._servers.call(
            server,
            self._config(server),
            tool.mcp_name or definition.name,
            arguments,
            meta=meta,
            repeatable=definition.effect in _REPEATABLE,
            limit=definition.timeout_seconds,
            timeout=timeout,
            entry=entry,
        )

    def _config(self, server: str) -> ServerConfig:
        if server not in self._configs:
            if server not in self._plans:
                raise ToolUnavailableError(f"The plan has no MCP server {server!r}.")
            try:
                self._configs[server] = ServerConfig.of(self._plans[server])
            except InvalidRequestError as error:
                raise ToolUnavailableError(f"MCP server {server!r}: {error}") from None
        return self._configs[server]
