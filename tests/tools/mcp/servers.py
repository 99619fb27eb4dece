"""Servers in processes of their own, and how they are reached."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from kneo_serv.tools import HandlerPool
from kneo_serv.tools.mcp import McpOptions, McpServers

HERE = Path(__file__).parent
PROBE = str(HERE / "server.py")
PATIENCE = 60.0
RUNNING = {"PATH": os.environ.get("PATH", ""), "HOME": os.environ.get("HOME", "")}
"""What the tests take for the environment of the platform."""


def stdio(*, script: str = PROBE, args: tuple[str, ...] = ("stdio",), **more: Any) -> dict[str, Any]:
    """A server that is started when it is needed."""
    return {"transport": "stdio", "command": sys.executable, "args": ["-P", script, *args], **more}


@contextmanager
def serving(mode: str, port: int = 0, *, tls: Path | None = None) -> Iterator[dict[str, Any]]:
    """A server over HTTP that runs meanwhile: `http`, `json` (answers without a stream) or `sse`; its config.

    With a folder `tls` it speaks TLS, and wants to see a certificate of its callers.
    """
    with subprocess.Popen(
        [sys.executable, "-P", PROBE, mode],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PROBE_PORT": str(port), "PROBE_TLS": str(tls or "")},
    ) as process:
        try:
            assert process.stdout is not None
            yield address(mode, int(process.stdout.readline()), tls=tls is not None)
        finally:
            process.kill()


def address(mode: str, port: int, *, tls: bool = False) -> dict[str, Any]:
    base = f"http{'s' if tls else ''}://127.0.0.1:{port}"
    if mode == "sse":
        return {"transport": "sse", "sse_url": f"{base}/sse"}
    return {"transport": "http", "url": f"{base}/mcp"}


@asynccontextmanager
async def pool(*, environ: Mapping[str, str] = RUNNING, **options: Any) -> AsyncIterator[McpServers]:
    """A pool of sessions that is closed at the end."""
    servers = McpServers(McpOptions(**options), pool=HandlerPool(size=2), environ=environ)
    try:
        yield servers
    finally:
        await servers.close()


def run[T](coroutine: Awaitable[T]) -> T:
    """The result, or a failure when it does not come."""

    async def bounded() -> T:
        async with asyncio.timeout(PATIENCE):
            return await coroutine

    return asyncio.run(bounded())


async def until(holds: Callable[[], bool]) -> None:
    """Looks again and again until it holds."""
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110 - what is looked at belongs to other processes
            await asyncio.sleep(0.01)


def gone(pid: int) -> bool:
    """Whether a process has ended and was buried."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def dead(pid: int) -> bool:
    """Whether a process of others has ended; it may wait for its parent to bury it."""
    told = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return told.stdout.strip()[:1] in ("", "Z")
