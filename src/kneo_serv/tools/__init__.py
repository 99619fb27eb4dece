"""Tools: their definitions, the registry and the guard around each call."""

from kneo_serv.model.message import ToolCall
from kneo_serv.model.tool import Capability, Effect, ToolDefinition, ToolPolicy
from kneo_serv.tools.call_context import CallContext, call_scope, current_call
from kneo_serv.tools.examples import register_example_tools
from kneo_serv.tools.guarded_registry import GuardedToolRegistry
from kneo_serv.tools.import_path import load_callable, load_object, unsafe_import
from kneo_serv.tools.mcp.importer import MCPToolImporter, import_mcp_tools
from kneo_serv.tools.pool import HandlerPool
from kneo_serv.tools.registry import Handler, ToolRegistry
from kneo_serv.tools.result import ToolResult
from kneo_serv.tools.schema import OutputSchema
from kneo_serv.tools.toolbox import Toolbox

__all__ = [
    "CallContext",
    "Capability",
    "Effect",
    "GuardedToolRegistry",
    "Handler",
    "HandlerPool",
    "MCPToolImporter",
    "OutputSchema",
    "ToolCall",
    "ToolDefinition",
    "ToolPolicy",
    "ToolRegistry",
    "ToolResult",
    "Toolbox",
    "call_scope",
    "current_call",
    "import_mcp_tools",
    "load_callable",
    "load_object",
    "register_example_tools",
    "unsafe_import",
]
