"""One session with a server. It lives in a task of its own, so that who calls never opens or closes it."""

import asyncio
import contextlib
import contextvars
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from types import MappingProxyType
from typing import Any, cast

import httpx2
import jsonschema  # noqa: F401 - the library imports it at its first answer otherwise, on the loop
from mcp import Client, MCPError
from mcp.types import (
    CONNECTION_CLOSED,
    Implementation,
    PaginatedRequestParams,
    RequestParamsMeta,
    ToolListChangedNotification,
)

from kneo_serv import __version__
from kneo_serv.model.secret import Secrets
from kneo_serv.tools.mcp.bounded_lines import TOO_LARGE
from kneo_serv.tools.mcp.config import ServerConfig, Transport
from kneo_serv.tools.mcp.connection import ConnectionLostError, RefusedError, WatchedMessages
from kneo_serv.tools.mcp.http import Exchange, exchange, http_streams
from kneo_serv.tools.mcp.options import McpOptions
from kneo_serv.tools.mcp.process import ServerProcess
from kneo_serv.tools.mcp.stdio import stdio_streams
from kneo_serv.tools.mcp.tool_spec import MCPToolSpec

_MAX_PAGES = 100
"""Pages of a server's list of tools that are asked for; a list without end must not hold anybody up."""
_EPITAPH_SECONDS = 3.0
"""How long a caller waits to learn why its session ended."""

# What the libraries log of their own accord are whole messages, with arguments and results, addresses with their
# queries, and tracebacks of faults that they raise as well. Who wants to see that sets a level for these loggers.
for _name, _level in (
    ("mcp.client", logging.CRITICAL),
    ("mcp.shared", logging.WARNING),
    ("client", logging.WARNING),
    ("httpx2", logging.WARNING),
    ("httpcore2", logging.WARNING),
):
    if (_logger := logging.getLogger(_name)).level == logging.NOTSET:
        _logger.setLevel(_level)


class Session:
    """An open session, or one that is being opened. Make it on the loop that uses it; any number of tasks may call.

    It ends when it was idle for long enough, when the server is gone, or when it is told to. It is never reopened.
    """

    def __init__(self, config: ServerConfig, options: McpOptions, environ: Mapping[str, str]) -> None:
        self.config = config
        self._options = options
        self._environ = environ
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[Client] = self._loop.create_future()
        self._leave = asyncio.Event()
        self._reason = "the session was closed"
        self._lacking = False
        self._process: ServerProcess | None = None
        self._users = 0
        self._retired = False
        self._idle: asyncio.TimerHandle | None = None
        self._listing = asyncio.Lock()
        self._tools: Mapping[str, MCPToolSpec] | None = None
        # In a context of its own: the session outlives the run that happens to be the first to ask for it.
        self.task = asyncio.create_task(self._live(), name="kneo-mcp-session", context=contextvars.Context())

    @property
    def usable(self) -> bool:
        """Whether new calls may go to it."""
        return not self._retired and not self._leave.is_set() and not self.task.done()

    def retire(self) -> None:
        """Takes no new calls, and ends when those that are under way are done."""
        self._retired = True
        if not self._users:
            self._leave.set()

    def end(self) -> None:
        """Ends it in peace; calls under way are lost."""
        self._retired = True
        self._leave.set()

    def kill(self) -> None:
        """Ends it at once. With the process everything ends that its task could wait for."""
        self.end()
        if self._process is not None:
            self._process.kill()
        else:
            self.task.cancel()

    async def open(self) -> None:
        """Returns when it is open. Raises ConnectionLostError when it cannot be, or ended since."""
        with self._in_use():
            await self._client()

    async def tools(self, outdated: Mapping[str, MCPToolSpec] | None = None) -> Mapping[str, MCPToolSpec]:
        """The server's tools by name, asked for once; again, when what is known is what the caller calls outdated.

        Raises:
            ConnectionLostError: the session ended, or was never open.
            RefusedError: the server did not say, or not in a form that can be read.
        """
        async with self._listing:
            if self._tools is None or self._tools is outdated:
                with self._in_use():
                    client = await self._client()
                    async with self._asking("its tools"):
                        self._tools = MappingProxyType(await _list(client))
            return self._tools

    async def call(self, tool: str, arguments: Mapping[str, Any], meta: Mapping[str, Any]) -> dict[str, Any]:
        """The result of one call, in the protocol's form. A cancelled caller makes the server cancel the call.

        Raises:
            ConnectionLostError: the session ended, or was never open.
            RefusedError: the server refused the call, or answered what cannot be read.
        """
        with self._in_use():
            client = await self._client()
            async with self._asking(f"tool {tool!r}"):
                sent = cast("RequestParamsMeta", dict(meta)) if meta else None
                result = await client.call_tool(tool, dict(arguments), meta=sent)
            return result.model_dump(mode="json", by_alias=True, exclude_none=True)

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[None]:
        self._users += 1
        if self._idle is not None:
            self._idle.cancel()
        try:
            yield
        finally:
            self._users -= 1
            if not self._users and self._retired:
                self._leave.set()
            elif not self._users:
                self._idle = self._loop.call_later(self._options.idle_seconds, self.retire)

    async def _client(self) -> Client:
        # Shielded, since the caller that happens to be the first one does not own the opening.
        client = await asyncio.shield(self._ready)
        if self._leave.is_set():
            raise ConnectionLostError(self._reason)
        return client

    @asynccontextmanager
    async def _asking(self, what: str) -> AsyncIterator[None]:
        """Turns what the library raises about one question into our errors."""
        asked = Exchange()
        token = exchange.set(asked)
        try:
            yield
        except MCPError as error:
            raise await self._translated(error, what, asked) from None
        except (ValueError, RuntimeError) as error:  # an answer that does not have the form it should have
            if isinstance(error, ValueError):
                self.retire()  # what it says next cannot be relied upon either
            raise RefusedError(f"{what} was answered against the protocol: {self.config.told(str(error))}") from None
        finally:
            exchange.reset(token)

    async def _translated(self, error: MCPError, what: str, asked: Exchange) -> Exception:
        if asked.forgotten:
            self.retire()
            return ConnectionLostError("it no longer knows the session")
        # Servers use this code for errors of their own too, and of those the session survives.
        closed = error.code == CONNECTION_CLOSED
        if closed and (error.message == "Connection closed" or self._leave.is_set()):
            self.end()
            await asyncio.wait({self.task}, timeout=_EPITAPH_SECONDS)
            return ConnectionLostError(self._reason, reached=True)
        if closed and error.message.startswith("SSE stream "):
            self.retire()
            return ConnectionLostError("the connection was lost before the answer came", reached=True)
        if error.code == TOO_LARGE:
            return RefusedError(f"{what}: {error.message}, which is more than is taken.")
        reason = asked.refusal or self.config.told(error.message) or "no reason given"
        return RefusedError(f"{what} was refused: {reason} (code {error.code}).")

    async def _live(self) -> None:
        asked = Exchange()
        exchange.set(asked)
        self._ready.add_done_callback(_seen)
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(self._options.connect_seconds):
                    client = await stack.enter_async_context(
                        Client(
                            self._streams(),
                            cache=None,
                            client_info=Implementation(name="kneo-serv", version=__version__),
                            message_handler=self._heard,
                        )
                    )
                self._ready.set_result(client)
                await self._leave.wait()
        except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - whatever comes out of the library's tasks
            self._reason = self._told(error, asked)
        finally:
            self.end()
            if not self._ready.done():
                self._ready.set_exception(ConnectionLostError(self._reason, lacking=self._lacking))
            if self._idle is not None:
                self._idle.cancel()

    @asynccontextmanager
    async def _streams(self) -> AsyncIterator[Any]:
        config, options = self.config, self._options
        limit = config.max_response_bytes or options.max_response_bytes
        if config.transport is Transport.STDIO:
            self._process = await ServerProcess.start(config, self._environ)
            try:
                async with stdio_streams(self._process, limit) as (received, sent):
                    yield WatchedMessages(received, self._over), sent
            finally:
                self._reason = self._process.epitaph
            return
        async with http_streams(
            config,
            secrets=options.secrets or Secrets(self._environ),
            connect_seconds=options.connect_seconds,
            limit=limit,
            refused=self._refused,
        ) as (received, sent):
            yield WatchedMessages(received, self._over), sent

    def _over(self) -> None:
        if not self._leave.is_set():
            self._reason = "the connection was lost"
        self.end()

    def _refused(self, reason: str) -> None:
        self._reason = reason
        self.end()
        if not self._ready.done():
            self.task.cancel()

    async def _heard(self, message: object) -> None:
        if isinstance(message, ToolListChangedNotification):
            self._tools = None

    def _told(self, error: BaseException, asked: Exchange) -> str:
        """Why the session ended or never began."""
        cause = _first(error)
        # What a server says while it starts is about its start. Later it may be about the calls of others.
        words = self._process.last_words if self._process is not None and not self._ready.done() else ""
        match cause:
            case ConnectionLostError():
                self._lacking = cause.lacking
                return cause.reason
            case TimeoutError():
                return f"it did not answer within {self._options.connect_seconds:g} s{words}"
            case _ if self._process is not None:
                return f"{self._process.epitaph}{words}"
            case httpx2.HTTPStatusError():
                return f"it answered HTTP {cause.response.status_code} {cause.response.reason_phrase}".strip()
            case MCPError() if asked.refusal is not None:
                return f"it answered {asked.refusal}"
            case httpx2.TransportError():
                said = self.config.told(str(cause)).rstrip(".") or type(cause).__name__
                return f"{self.config.address} does not answer: {said}"
            case _:
                return self.config.told(str(cause)) or type(cause).__name__


async def _list(client: Client) -> dict[str, MCPToolSpec]:
    found: dict[str, MCPToolSpec] = {}
    cursor: str | None = None
    for _ in range(_MAX_PAGES):
        page = await client.session.list_tools(params=PaginatedRequestParams(cursor=cursor) if cursor else None)
        for tool in page.tools:
            raw = tool.model_dump(mode="json", by_alias=True, exclude_none=True)
            found[tool.name] = MCPToolSpec.of(raw)
        cursor = page.next_cursor
        if cursor is None:
            break
    return found


def _seen(future: "asyncio.Future[Client]") -> None:
    """An opening that failed after everybody had left is no news."""
    if not future.cancelled():
        future.exception()


def _first(error: BaseException) -> BaseException:
    """The error that a group is about."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
