"""The sessions of a platform with MCP servers: opened at the first call, shared, and opened anew when one was lost."""

import asyncio
import difflib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from kneo_serv.errors import (
    InvalidRequestError,
    MissingExtraError,
    PlatformClosedError,
    StepTimeoutError,
    ToolError,
    ToolOutcomeUnknownError,
    ToolUnavailableError,
)
from kneo_serv.model.plan import McpServerPlan
from kneo_serv.tools.mcp.config import ServerConfig
from kneo_serv.tools.mcp.connection import ConnectionLostError, RefusedError
from kneo_serv.tools.mcp.content import answer_text
from kneo_serv.tools.mcp.options import McpOptions
from kneo_serv.tools.mcp.tool_spec import MCPToolSpec
from kneo_serv.tools.pool import HandlerPool

if TYPE_CHECKING:
    from kneo_serv.tools.mcp.session import Session

INSTALL = "pip install 'kneo-serv[mcp]'"
"""What installs the library."""

type Server = McpServerPlan | ServerConfig | Mapping[str, Any]
"""How a server is reached: of a plan, or a mapping with the keys of the spec."""


class McpServers:
    """A pool of sessions, one for each server config that is in use, whatever plans and runs use it.

    It belongs to the loop that calls it. Names of servers are only for error texts. `environ` is our own environment
    (default: that of this process): a server that is started gets only harmless variables of it, and keys of clients
    are looked up in it.
    """

    def __init__(
        self, options: McpOptions | None = None, *, pool: HandlerPool, environ: Mapping[str, str] | None = None
    ) -> None:
        self.options = options or McpOptions()
        self._pool = pool
        self._environ = os.environ if environ is None else environ
        self._make: type[Session] | None = None
        self._sessions: dict[ServerConfig, Session] = {}
        self._living: set[Session] = set()
        self._closed = False

    async def tools(
        self,
        name: str,
        server: Server,
        *,
        outdated: Mapping[str, MCPToolSpec] | None = None,
        timeout: float | None = None,
    ) -> Mapping[str, MCPToolSpec]:
        """The server's tools by their names. The same mapping as long as its session lasts and they do not change.

        A mapping that this gave before and that is `outdated` is not given again: the server is asked once more.

        Raises:
            ToolError: the server cannot be reached, or does not say in time; names it and the reason.
            ToolUnavailableError: what is needed to reach it is missing here.
            MissingExtraError: the MCP library is not installed.
        """

        async def ask(session: "Session") -> Mapping[str, MCPToolSpec]:
            return await session.tools(outdated)

        try:
            return await self._persistently(
                name,
                server,
                ask,
                what="the question for its tools",
                options=self.options,
                repeatable=True,
                limit=self.options.call_seconds,
                timeout=timeout,
            )
        except StepTimeoutError as over:
            # Nothing was begun by it that somebody had to worry about.
            raise ToolError(str(over)) from None

    async def tool(self, name: str, server: Server, tool: str, *, timeout: float | None = None) -> MCPToolSpec:
        """One tool of the server; raises what `tools` raises, and ToolUnavailableError when there is none."""
        found = await self.tools(name, server, timeout=timeout)
        if tool not in found:  # it may have come since
            found = await self.tools(name, server, outdated=found, timeout=timeout)
        if tool not in found:
            near = difflib.get_close_matches(tool, list(found), n=3, cutoff=0.6)
            hint = f" Did you mean {' or '.join(repr(each) for each in near)}?" if near else ""
            raise ToolUnavailableError(f"MCP server {name!r} has no tool {tool!r}.{hint}")
        return found[tool]

    async def call(
        self,
        name: str,
        server: Server,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        meta: Mapping[str, Any] | None = None,
        repeatable: bool = False,
        limit: float | None = None,
        timeout: float | None = None,
        options: McpOptions | None = None,
        entry: Callable[[], None] | None = None,
    ) -> str:
        """The answer of one call, as text. A cancelled caller makes the server cancel this call, and nothing else.

        Args:
            name: What the server is called in error texts.
            server: How it is reached.
            tool: The tool, as the server calls it.
            arguments: They are sent as they are.
            meta: Goes along in the `_meta` of the request, such as `traceparent`.
            repeatable: Whether the call may be made again when its session was lost during it. A session that was
                never open, or that the server had forgotten, is opened anew in any case.
            limit: Seconds of the call itself. None: the server's own `timeout`, or that of the options.
            timeout: Seconds of everything, the opening of the session included.
            options: Instead of those of the pool, for retries and the time limit.
            entry: Is called right before the question goes out, each time; when it raises, it does not go out.

        Raises:
            ToolError: the tool failed, its answer is too large, or the server cannot be reached.
            ToolOutcomeUnknownError: the server ended meanwhile, and the call was not made again.
            ToolUnavailableError: what is needed to reach the server is missing here: a command, a file, a key.
            StepTimeoutError: the time is over, and the call was under way.
            MissingExtraError: the MCP library is not installed.
            PlatformClosedError: the pool was closed.
        """
        options = options or self.options
        own = _config(name, server).timeout

        async def ask(session: "Session") -> str:
            if entry is not None:
                entry()
            return answer_text(await session.call(tool, arguments, meta or {}), tool)

        return await self._persistently(
            name,
            server,
            ask,
            what=f"the call of its tool {tool!r}",
            options=options,
            repeatable=repeatable,
            limit=limit or own or options.call_seconds,
            timeout=timeout,
        )

    async def close(self) -> None:
        """Ends all sessions; what does not end within the time for it is killed. Calls that come later are refused."""
        self._closed = True
        living = {session.task: session for session in self._living}
        for session in living.values():
            session.end()
        if living:
            _, late = await asyncio.wait(living, timeout=self.options.closing_seconds)
            for task in late:
                living[task].kill()
            if late:
                await asyncio.wait(late, timeout=self.options.closing_seconds)
        self._sessions.clear()

    async def _persistently[T](
        self,
        name: str,
        server: Server,
        ask: "Callable[[Session], Awaitable[T]]",
        *,
        what: str,
        options: McpOptions,
        repeatable: bool,
        limit: float,
        timeout: float | None,
    ) -> T:
        """What comes of a question, asked again where that is allowed."""
        config = _config(name, server)
        label = f"MCP server {name!r}"
        repetitions, reopened, begun = 0, False, False
        try:
            async with _in_time(timeout, f"{label}: {what}"):
                while True:
                    opened = False
                    try:
                        session = await self._session(config)
                        await session.open()
                        opened = begun = True
                        async with _in_time(limit, f"{label}: {what}"):
                            return await ask(session)
                    except RefusedError as refusal:
                        raise ToolError(f"{label}: {refusal}") from None
                    except ConnectionLostError as lost:
                        if opened and not lost.reached and not reopened:
                            # It ended while nobody used it, and nothing was asked yet.
                            reopened = True
                            continue
                        repetitions += 1
                        if lost.lacking or repetitions > options.retries or (lost.reached and not repeatable):
                            raise _failure(label, what, lost) from None
                    await asyncio.sleep(options.wait_seconds(repetitions))
        except StepTimeoutError as over:
            if begun:
                raise
            raise ToolError(f"{over} It was not begun: there was no session yet.") from None

    async def _session(self, config: ServerConfig) -> "Session":
        if self._make is None:
            # In a thread, since the import takes the better part of a second.
            self._make = await self._pool.run(_library, name="Importing the MCP library")
        if self._closed:
            raise PlatformClosedError("The sessions with MCP servers were closed; the platform is shutting down.")
        session = self._sessions.get(config)
        if session is None or not session.usable:
            session = self._sessions[config] = self._make(config, self.options, self._environ)
            self._living.add(session)
            session.task.add_done_callback(lambda _: self._living.discard(session))
        return session


def _library() -> "type[Session]":
    try:
        from kneo_serv.tools.mcp.session import Session
    except ImportError as error:
        if (error.name or "").partition(".")[0] == "kneo_serv":
            raise
        raise MissingExtraError(
            f"Tools of MCP servers need the MCP library, which is not installed. Install it: {INSTALL}"
        ) from error
    return Session


def _config(name: str, server: Server) -> ServerConfig:
    if isinstance(server, ServerConfig):
        return server
    try:
        return ServerConfig.of(server)
    except InvalidRequestError as error:
        raise InvalidRequestError(f"MCP server {name!r}: {error}") from None


def _failure(label: str, what: str, lost: ConnectionLostError) -> ToolError:
    if lost.reached:
        return ToolOutcomeUnknownError(f"{label} ended during {what}: {lost.reason}. Whether it was done is not known.")
    unusable = f"{label} cannot be used: {lost.reason}."
    return ToolUnavailableError(unusable) if lost.lacking else ToolError(unusable)


@asynccontextmanager
async def _in_time(seconds: float | None, what: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds) as scope:
            yield
    except TimeoutError:
        if not scope.expired():
            raise
        raise StepTimeoutError(f"{what} took longer than {seconds or 0:g} s.") from None
