"""The process of a server that is spoken to over its standard input and output."""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import weakref
from asyncio.subprocess import PIPE, Process, SubprocessStreamProtocol
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from kneo_serv.tools.mcp.bounded_lines import BoundedLines
from kneo_serv.tools.mcp.config import ServerConfig
from kneo_serv.tools.mcp.connection import ConnectionLostError

INHERITED = ("HOME", "LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER")
"""The variables that a server gets of ours. All others may hold secrets; its config names what it needs of them."""

_GRACE_SECONDS = 2.0
"""How long a server may take to end after its input was closed, and again after it was asked to."""
_CHUNK = 64 * 1024
_LOG_LINE = 2_000
_LAST_WORDS = 3
"""Lines of the error output that are shown when a server ends."""

logger = logging.getLogger("kneo_serv.tools.mcp")


class ServerProcess:
    """A server of our own, in a process group of its own, which ends with it: nothing that it started stays behind."""

    def __init__(self, config: ServerConfig, process: Process, exited: asyncio.Event) -> None:
        self._config = config
        self._process = process
        self._exited = exited
        self._words: deque[str] = deque(maxlen=_LAST_WORDS)
        self._fault: str | None = None
        # At the end of this interpreter, also one that nobody shut down.
        self._last_resort = weakref.finalize(self, _kill_group, process.pid)
        self._listener = asyncio.create_task(self._listen(), name="kneo-mcp-stderr")
        self._burial = asyncio.create_task(self._bury(), name="kneo-mcp-exit")

    @classmethod
    async def start(cls, config: ServerConfig, environ: Mapping[str, str]) -> Self:
        """A started server. `environ` is our own environment, of which it gets only harmless variables.

        Raises:
            ConnectionLostError: it cannot be started; names the command.
        """
        inherited = {name: environ[name] for name in INHERITED if name in environ}
        variables = {**inherited, **dict(config.env)}
        command = config.command or ""
        _check(config, command, variables.get("PATH"))
        loop = asyncio.get_running_loop()
        exited = asyncio.Event()
        try:
            transport, protocol = await loop.subprocess_exec(
                lambda: _Protocol(exited, loop),
                command,
                *config.args,
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                env=variables,
                cwd=config.cwd,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            problem = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
            raise ConnectionLostError(f"its command {command!r} cannot be started: {problem}", lacking=True) from None
        return cls(config, Process(transport, protocol, loop), exited)

    async def read(self) -> bytes:
        """What it writes next; nothing at its end."""
        output = self._process.stdout
        return await output.read(_CHUNK) if output is not None else b""

    async def write(self, line: bytes) -> None:
        """Hands it a line. Raises OSError when it no longer listens."""
        if (into := self._process.stdin) is not None:
            into.write(line)
            await into.drain()

    async def stop(self) -> None:
        """Ends it in the protocol's order: its input is closed, then it is asked to end, then it is made to."""
        try:
            if self._process.stdin is not None:
                self._process.stdin.close()
            if not await self._ends_within(_GRACE_SECONDS):
                _signal_group(self._process.pid, signal.SIGTERM)
                await self._ends_within(_GRACE_SECONDS)
            self.kill()
            await self._ends_within(_GRACE_SECONDS)
            await asyncio.wait({self._listener, self._burial}, timeout=_GRACE_SECONDS)
        finally:
            self.kill()
            self._listener.cancel()
            self._process._transport.close()  # type: ignore[attr-defined]  # its pipes; nothing public closes them

    def kill(self, because: str | None = None) -> None:
        """Ends it, and whatever it started, at once. `because` is told instead of how it ended."""
        self._fault = self._fault or because
        self._last_resort()

    @property
    def epitaph(self) -> str:
        """How it ended."""
        code = self._process.returncode
        if self._fault is not None:
            return self._fault
        if code is None:
            return "its process closed its output"
        if code < 0:
            return f"its process was ended by {_signal_name(-code)}"
        return f"its process ended with exit code {code}"

    @property
    def last_words(self) -> str:
        """The last lines of its error output, as the end of a sentence."""
        return f"; it said: {self._config.told(' | '.join(self._words))}" if self._words else ""

    async def _ends_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._exited.wait()
        return self._exited.is_set()

    async def _bury(self) -> None:
        # What the server started may hold its pipes open, and would keep us waiting for words of the dead.
        await self._exited.wait()
        self.kill()

    async def _listen(self) -> None:
        lines = BoundedLines(_LOG_LINE, lambda head, tail: head + b"...")
        errors = self._process.stderr
        while errors is not None and (chunk := await errors.read(_CHUNK)):
            for line in lines.feed(chunk):
                self._heard(line)
        self._heard(lines.rest())

    def _heard(self, line: bytes) -> None:
        text = line.decode(errors="replace").strip()
        if text:
            clean = self._config.told(text)
            self._words.append(clean)
            logger.debug("MCP server %s says: %s", self._config.address, clean)


class _Protocol(SubprocessStreamProtocol):
    """Says at once that the process ended. `Process.wait` waits for the ends of its pipes too."""

    def __init__(self, exited: asyncio.Event, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=_CHUNK, loop=loop)
        self._exited = exited

    def process_exited(self) -> None:
        super().process_exited()
        self._exited.set()


def _check(config: ServerConfig, command: str, path: str | None) -> None:
    if config.cwd is not None and not Path(config.cwd).is_dir():
        raise ConnectionLostError(f"its working folder {Path(config.cwd).name!r} does not exist", lacking=True)
    here = Path(config.cwd or ".") / command if os.sep in command else None
    if not (here.is_file() if here else shutil.which(command, path=path)):
        raise ConnectionLostError(f"its command {command!r} was not found; install it or give its path", lacking=True)


def _kill_group(pid: int) -> None:
    _signal_group(pid, signal.SIGKILL)


def _signal_group(pid: int, number: signal.Signals) -> None:
    # The first process of a session gives the group its number; the group keeps it until its last process is gone.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
