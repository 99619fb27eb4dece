"""MCP for scripts: sessions on a loop of their own, for code that has none, or another one for each call."""

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import replace
from typing import Any

from kneo_serv.errors import LoopMisuseError
from kneo_serv.tools.mcp.config import ServerConfig
from kneo_serv.tools.mcp.options import McpOptions, RetryRule
from kneo_serv.tools.mcp.servers import McpServers, Server
from kneo_serv.tools.mcp.tool_spec import MCPToolSpec
from kneo_serv.tools.pool import HandlerPool

type McpHandler = Callable[[Mapping[str, Any]], Awaitable[str]]
"""Calls one tool with these arguments, and gives its answer as text."""

_CLOSING_SECONDS = 15.0


class SessionHost:
    """A pool of sessions on the event loop of a daemon thread. Its settings come from the environment variables."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.servers = McpServers(McpOptions.from_env(environ), pool=HandlerPool(size=2), environ=environ)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="kneo-mcp", daemon=True)
        self._thread.start()

    def submit[T](self, coroutine: Coroutine[Any, Any, T]) -> "concurrent.futures.Future[T]":
        """Starts it over there; cancelling the future cancels it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def close(self) -> None:
        """Ends the sessions, the loop and the thread; waits for them."""
        self.submit(self.servers.close()).result(_CLOSING_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CLOSING_SECONDS)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            late = asyncio.all_tasks(self._loop)
            for task in late:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*late, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            self._loop.close()


_lock = threading.Lock()
_hosts: list[SessionHost] = []


def build_lazy_mcp_handler(
    config: Server, *, remote_name: str, retry_policy: RetryRule | None = None, server_name: str | None = None
) -> McpHandler:
    """A handler that opens a session with the server at its first call; for `ToolRegistry.register`.

    All handlers with an equal config share a session. With a `retry_policy` a call whose session was lost is made
    again, so give one only for tools that may do their work twice.

    Raises:
        InvalidRequestError: the config lacks something, or has what no config has.
    """
    checked = config if isinstance(config, ServerConfig) else ServerConfig.of(config)

    async def handler(arguments: Mapping[str, Any]) -> str:
        host = _host()
        options = None
        if retry_policy is not None:
            limit = retry_policy.timeout_seconds
            options = replace(
                host.servers.options,
                retries=retry_policy.max_retries,
                backoff_seconds=retry_policy.backoff_seconds,
                call_seconds=limit if limit is not None else host.servers.options.call_seconds,
            )
        call = host.servers.call(
            server_name or checked.address,
            checked,
            remote_name,
            arguments,
            repeatable=retry_policy is not None,
            options=options,
        )
        return await asyncio.wrap_future(host.submit(call))

    return handler


def discover_tools(config: Server, *, server_name: str | None = None) -> Mapping[str, MCPToolSpec]:
    """The tools of a server, by their names. Blocks until it has answered.

    Raises:
        LoopMisuseError: an event loop runs in this thread; it would stand still meanwhile.
        ToolError: the server cannot be reached; names it and the reason.
        InvalidRequestError: the config lacks something, or has what no config has.
        MissingExtraError: the MCP library is not installed.
    """
    refuse_running_loop("The tools of an MCP server cannot be looked up here", "asyncio.to_thread(...)")
    checked = config if isinstance(config, ServerConfig) else ServerConfig.of(config)
    host = _host()
    asked = host.submit(host.servers.tools(server_name or checked.address, checked))
    try:
        return asked.result()
    except KeyboardInterrupt:
        asked.cancel()
        raise


def shutdown_mcp_session_hosts() -> None:
    """Ends every session that scripts opened, and the processes behind them. The next call opens what it needs anew.

    Raises:
        LoopMisuseError: an event loop runs in this thread; it would stand still meanwhile.
    """
    refuse_running_loop("MCP sessions cannot be ended here", "asyncio.to_thread(shutdown_mcp_session_hosts)")
    with _lock:
        hosts = list(_hosts)
        _hosts.clear()
    for host in hosts:
        host.close()


def refuse_running_loop(what: str, instead: str) -> None:
    """Raises LoopMisuseError when this thread runs an event loop, which a blocking call would bring to a stand."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise LoopMisuseError(f"{what}: an event loop runs in this thread, and would stand still. Write: await {instead}")


def _host() -> SessionHost:
    with _lock:
        if not _hosts:
            _hosts.append(SessionHost(os.environ))
        return _hosts[0]
