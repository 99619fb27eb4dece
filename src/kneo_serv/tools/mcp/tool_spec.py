"""A tool as a server describes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class MCPToolSpec:
    """One tool of an MCP server. `input_schema` is the JSON Schema of its arguments; `raw` is all that was said."""

    name: str
    description: str = ""
    input_schema: Mapping[str, Any] = field(default_factory=dict)
    server_name: str | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, raw: Mapping[str, Any], server_name: str | None = None) -> "MCPToolSpec":
        """The tool of a description in the protocol's form: `name`, `description`, `inputSchema`."""
        schema = raw.get("inputSchema")
        return cls(
            str(raw["name"]),
            str(raw.get("description") or raw.get("title") or ""),
            dict(schema) if isinstance(schema, Mapping) else {},
            server_name,
            raw,
        )
