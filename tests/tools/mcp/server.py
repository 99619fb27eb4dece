"""A server of the official SDK: `server.py stdio|http|json|sse`. Over HTTP it prints its port."""

import asyncio
import os
import signal
import socket
import ssl
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ImageContent, TextContent

server = MCPServer("probe")
_together = 0
_most = 0


def leave(marker: str) -> None:
    Path(marker).touch()


@server.tool(description="Says it back.")
def echo(text: str) -> str:
    return text


@server.tool()
def pid() -> str:
    return str(os.getpid())


@server.tool()
def fail(reason: str) -> str:
    raise ToolError(reason)


@server.tool()
def big(size: int) -> str:
    return "x" * size


@server.tool()
def environment() -> dict[str, str]:
    return dict(os.environ)


@server.tool()
def folder() -> str:
    return str(Path.cwd())


@server.tool()
def meta(context: Context[Any, Any]) -> str:
    return str(dict(context.request_context.meta or {}))


@server.tool(structured_output=False)
def picture() -> list[TextContent | ImageContent]:
    return [TextContent(type="text", text="A dot:"), ImageContent(type="image", data="AAAA", mime_type="image/png")]


@server.tool()
def headers(context: Context[Any, Any]) -> str:
    given: Mapping[str, str] = context.headers or {}
    return given.get("x-canary", "none")


@server.tool()
async def together(others: int) -> str:
    """Comes to its end when so many calls are in here at once."""
    global _together, _most
    _together += 1
    _most = max(_most, _together)
    while _most < others:  # noqa: ASYNC110 - the others are calls of this very function
        await asyncio.sleep(0.005)
    return "met"


@server.tool()
async def slow(marker: str) -> str:
    """Never ends. Says in a file that it began, and in another that it was cancelled."""
    leave(marker)
    try:
        await asyncio.sleep(3600)
    except BaseException:
        leave(f"{marker}.cancelled")
        raise
    return "never"


@server.tool()
def learn(name: str) -> str:
    """From now on there is a tool of this name."""
    server.add_tool(pid, name=name)
    return "learned"


@server.tool()
def die() -> str:
    os.kill(os.getpid(), signal.SIGKILL)
    return "never"


def attempt() -> int:
    """Notes an attempt in a file, and says how many there were before."""
    notes = Path(os.environ["PROBE_ATTEMPTS"])
    before = len(notes.read_text()) if notes.exists() else 0
    notes.write_text("x" * (before + 1))
    return before


@server.tool()
def die_once() -> str:
    return die() if not attempt() else "survived"


@server.tool()
def child() -> str:
    """Starts a process that outlives it, unless somebody ends its group."""
    import subprocess

    started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"], stdin=subprocess.DEVNULL)
    return str(started.pid)


def serve(mode: str) -> None:
    import uvicorn

    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", int(os.environ.get("PROBE_PORT", "0"))))
    listener.listen()
    app = server.sse_app() if mode == "sse" else server.streamable_http_app(json_response=mode == "json")
    config = uvicorn.Config(app, log_level="warning")
    if folder := os.environ.get("PROBE_TLS"):
        config.ssl_certfile, config.ssl_keyfile = f"{folder}/server.pem", f"{folder}/server.key"
        config.ssl_ca_certs, config.ssl_cert_reqs = f"{folder}/ca.pem", ssl.CERT_REQUIRED
    print(listener.getsockname()[1], flush=True)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    match sys.argv[1]:
        case "stdio":
            server.run("stdio")
        case "never":
            attempt()
            sys.exit(3)
        case "stubborn":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            server.run("stdio")
            signal.pause()
        case mode:
            serve(mode)
