"""MCP: tools that other processes and services offer over the Model Context Protocol."""

from kneo_serv.tools.mcp.background import build_lazy_mcp_handler, shutdown_mcp_session_hosts
from kneo_serv.tools.mcp.config import ServerConfig
from kneo_serv.tools.mcp.importer import MCPClientProtocol, MCPToolImporter, import_mcp_tools
from kneo_serv.tools.mcp.options import McpOptions
from kneo_serv.tools.mcp.servers import McpServers
from kneo_serv.tools.mcp.tool_spec import MCPToolSpec
from kneo_serv.tools.mcp.tools import McpTools

__all__ = [
    "MCPClientProtocol",
    "MCPToolImporter",
    "MCPToolSpec",
    "McpOptions",
    "McpServers",
    "McpTools",
    "ServerConfig",
    "build_lazy_mcp_handler",
    "import_mcp_tools",
    "shutdown_mcp_session_hosts",
]
