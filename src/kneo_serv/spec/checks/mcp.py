"""MCP servers, and the tools that come from them."""

import importlib.util
from collections.abc import Iterator

from kneo_serv.spec.finding import Finding, Hint, error, near, warning
from kneo_serv.spec.models.spec import KneoSpec

_REQUIRED = {"stdio": "command", "http": "url", "sse": "sse_url"}


def check_mcp(spec: KneoSpec) -> Iterator[Finding]:
    """Faults of MCP servers and of the tools that name them."""
    hint: Hint
    for name, server in spec.mcp_servers.items():
        path = ("mcp_servers", name)
        required = _REQUIRED[server.transport]
        if not getattr(server, required):
            message = f"A server with transport `{server.transport}` needs `{required}`."
            yield error("E_MCP_MISSING_FIELD", (*path, required), message)
        if server.transport != "stdio" and server.verify is False:
            message = "Certificates are not verified: anybody in between can read and answer."
            hint = "Name your own certificate authority in `ca_bundle`."
            yield warning("W_MCP_TLS_VERIFY_DISABLED", (*path, "verify"), message, hint)
    yield from _unavailable(spec)
    for name, tool in spec.tools.items():
        if tool.mcp is None:
            continue
        place = ("tools", name, "mcp")
        if not tool.mcp.server:
            yield error("E_MCP_TOOL_NO_SERVER", place, f"The tool `{name}` does not name its `server`.")
        elif tool.mcp.server not in spec.mcp_servers:
            hint = near(tool.mcp.server, spec.mcp_servers)
            message = f"There is no server `{tool.mcp.server}` under `mcp_servers`."
            yield error("E_MCP_UNKNOWN_SERVER", (*place, "server"), message, hint)


def _unavailable(spec: KneoSpec) -> Iterator[Finding]:
    """That the tools of a server cannot be called here. Looks for the library without importing it."""
    found = importlib.util.find_spec("mcp")
    # A folder that happens to have the name is found too, but comes from no file.
    if found is not None and found.origin is not None:
        return
    for name in dict.fromkeys(tool.mcp.server for tool in spec.tools.values() if tool.mcp is not None):
        if name in spec.mcp_servers:
            message = f"The tools of `{name}` cannot be called here: the MCP library is not installed."
            yield warning("W_MCP_UNAVAILABLE", ("mcp_servers", name), message, "Run: pip install 'kneo-serv[mcp]'")
