"""Tools of MCP servers for a registry, so that every spec may name them."""

import asyncio
import inspect
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Protocol, cast, runtime_checkable

from kneo_serv.errors import ToolError
from kneo_serv.model.plan import McpServerPlan
from kneo_serv.model.tool import ToolDefinition
from kneo_serv.tools.mcp.background import build_lazy_mcp_handler, discover_tools, refuse_running_loop
from kneo_serv.tools.mcp.config import ServerConfig
from kneo_serv.tools.mcp.content import answer_text
from kneo_serv.tools.mcp.options import McpOptions, RetryRule
from kneo_serv.tools.mcp.servers import Server
from kneo_serv.tools.mcp.tool_spec import MCPToolSpec
from kneo_serv.tools.pool import is_async


@runtime_checkable
class MCPClientProtocol(Protocol):
    """A client of your own. Its methods may be async; they are called on the loop of whoever calls the tool.

    Tools are objects or mappings of the protocol's form (`name`, `description`, `inputSchema`), or `MCPToolSpec`s;
    a result is a text, or an object or mapping of the protocol's form (`content`, `structuredContent`, `isError`).
    """

    def list_tools(self) -> Any:
        """The tools: a list, or an object with a list `tools`."""
        ...

    def call_tool(self, name: str, arguments: dict[str, Any]) -> Any:
        """The result of a call."""
        ...


class Registers(Protocol):
    """What tools are registered at; a `ToolRegistry` is one."""

    def register(self, definition: ToolDefinition, handler: Callable[[dict[str, Any]], Any]) -> None:
        """Adds a tool."""
        ...


class MCPToolImporter:
    """Registers what a server offers. `client` is a client of your own, or the config of a server.

    With a config the sessions are ours: opened at the first call, shared, and opened anew when one was lost.
    `name_prefix` is put before the server's names. With a `retry_policy` failed calls are made again, so give one only
    for tools that may do their work twice.
    """

    def __init__(
        self,
        *,
        client: MCPClientProtocol | Server,
        server_name: str | None = None,
        name_prefix: str | None = None,
        retry_policy: RetryRule | None = None,
    ) -> None:
        self._client = client
        self._server_name = server_name
        self._prefix = name_prefix or ""
        self._retries = retry_policy

    def discover(self) -> list[MCPToolSpec]:
        """The server's tools, under the server's names. Blocks.

        Raises:
            LoopMisuseError: an event loop runs in this thread: `await adiscover()`.
            ToolError: the server cannot be reached, or describes its tools in a way nobody understands.
            MissingExtraError: the MCP library is not installed.
        """
        refuse_running_loop("The tools of an MCP server cannot be looked up here", "importer.adiscover()")
        if isinstance(self._client, (McpServerPlan, ServerConfig, Mapping)):
            return self._named(discover_tools(self._client, server_name=self._server_name).values())
        return asyncio.run(self.adiscover())

    async def adiscover(self) -> list[MCPToolSpec]:
        """As `discover`, where an event loop runs."""
        if isinstance(self._client, (McpServerPlan, ServerConfig, Mapping)):
            found = await asyncio.to_thread(discover_tools, self._client, server_name=self._server_name)
            return self._named(found.values())
        listed = self._client.list_tools()
        if inspect.isawaitable(listed):
            listed = await listed
        return self._named(_spec(each) for each in getattr(listed, "tools", listed))

    def register_all(self, registry: Registers) -> list[ToolDefinition]:
        """Discovers the tools and registers each one; what was registered. Raises what `discover` raises."""
        return self._register(registry, self.discover())

    async def aregister_all(self, registry: Registers) -> list[ToolDefinition]:
        """As `register_all`, where an event loop runs."""
        return self._register(registry, await self.adiscover())

    def _register(self, registry: Registers, found: Iterable[MCPToolSpec]) -> list[ToolDefinition]:
        definitions = []
        for spec in found:
            definition = ToolDefinition(self._prefix + spec.name, spec.description, spec.input_schema)
            registry.register(definition, self._handler(spec.name))
            definitions.append(definition)
        return definitions

    def _named(self, found: Iterable[MCPToolSpec]) -> list[MCPToolSpec]:
        return [spec if spec.server_name else replace(spec, server_name=self._server_name) for spec in found]

    def _handler(self, name: str) -> Callable[[dict[str, Any]], Any]:
        if isinstance(self._client, (McpServerPlan, ServerConfig, Mapping)):
            handler = build_lazy_mcp_handler(
                self._client, remote_name=name, retry_policy=self._retries, server_name=self._server_name
            )
            return cast("Callable[[dict[str, Any]], Any]", handler)
        return _handler_of(self._client, name, self._retries)


def import_mcp_tools(
    *,
    client: MCPClientProtocol | Server,
    registry: Registers,
    server_name: str | None = None,
    name_prefix: str | None = None,
    retry_policy: RetryRule | None = None,
) -> list[ToolDefinition]:
    """Registers every tool of a server and says which; as `MCPToolImporter(...).register_all(registry)`."""
    importer = MCPToolImporter(
        client=client, server_name=server_name, name_prefix=name_prefix, retry_policy=retry_policy
    )
    return importer.register_all(registry)


def _spec(listed: Any) -> MCPToolSpec:
    if isinstance(listed, MCPToolSpec):
        return listed
    raw = _wire(listed)
    if raw is None or not isinstance(raw.get("name"), str):
        raise ToolError(f"An MCP client listed a {type(listed).__name__}, which does not describe a tool.")
    return MCPToolSpec.of({"inputSchema": raw.get("input_schema"), **raw})


def _wire(value: Any) -> Mapping[str, Any] | None:
    """A value of the protocol as a mapping; None for anything else."""
    if isinstance(value, Mapping):
        return value
    dump = getattr(value, "model_dump", None)
    return dump(mode="json", by_alias=True, exclude_none=True) if callable(dump) else None


def _handler_of(client: MCPClientProtocol, name: str, retries: RetryRule | None) -> Callable[[dict[str, Any]], Any]:
    """A handler that is async exactly when the client is: a sync one runs in a thread then."""

    def answer(value: Any) -> Any:
        wire = _wire(value)
        return answer_text(wire, name) if wire is not None and "content" in wire else value

    waits = _waits(retries)

    async def awaits(arguments: dict[str, Any]) -> Any:
        for wait in waits:
            try:
                return answer(await client.call_tool(name, arguments))
            except ToolError:
                raise  # the tool's own no
            except Exception:
                if wait is None:
                    raise
                await asyncio.sleep(wait)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def blocks(arguments: dict[str, Any]) -> Any:
        for wait in waits:
            try:
                return answer(client.call_tool(name, arguments))
            except ToolError:
                raise
            except Exception:
                if wait is None:
                    raise
                time.sleep(wait)
        raise AssertionError("unreachable: the last attempt returns or raises")

    return awaits if is_async(client.call_tool) else blocks


def _waits(retries: RetryRule | None) -> list[float | None]:
    """The wait after each attempt that failed; None after the last one."""
    if retries is None:
        return [None]
    options = McpOptions(retries=retries.max_retries, backoff_seconds=retries.backoff_seconds)
    return [*(options.wait_seconds(number) for number in range(1, options.retries + 1)), None]
