"""Tools, the servers that offer some of them, and skills."""

from typing import Any, Literal

from pydantic import Field

from kneo_serv.spec.models.block import ApprovalRule, Block, ConfinedPath
from kneo_serv.spec.models.component import EffectName


class McpBackingSpec(Block):
    """A tool of an MCP server. `name` is what the server calls it; default is our name."""

    server: str | None = None
    name: str | None = None


class ToolSpec(Block):
    """A tool and what answers its calls: exactly one of `implementation`, `mcp` and `agent`."""

    description: str
    parameters: dict[str, Any] = Field(default_factory=dict)
    implementation: str | None = None
    mcp: McpBackingSpec | None = None
    agent: str | None = None
    capabilities: list[Literal["network", "filesystem", "shell"]] = Field(default_factory=list)
    effect: EffectName | None = None
    approval: ApprovalRule = Field(
        default="never",
        description="When a person has to agree before a call: never, always, or CEL over tool and arguments.",
    )
    timeout_seconds: float | None = Field(default=None, gt=0, description="Time of one call.")


class McpServerSpec(Block):
    """How an MCP server is reached. Times in seconds."""

    transport: Literal["stdio", "http", "sse"]
    command: str | None = None
    args: list[str] = Field(default_factory=list)
    env: dict[str, str] = Field(default_factory=dict)
    cwd: ConfinedPath | None = None
    url: str | None = None
    sse_url: str | None = None
    message_url: str | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    timeout: float | None = None
    max_response_bytes: int | None = None
    sse_read_timeout: float | None = None
    verify: bool | None = None
    ca_bundle: ConfinedPath | None = None
    client_cert: ConfinedPath | None = None
    client_key: ConfinedPath | None = None
    client_key_ref: str | None = None


class SkillSpec(Block):
    """A text that joins the system prompt: a file, or a folder with a SKILL.md."""

    source: ConfinedPath
    description: str | None = None
