"""Tools as data: what they are called, what they take, what they need and may do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Capability(StrEnum):
    """What a tool needs from the machine."""

    NETWORK = "network"
    FILESYSTEM = "filesystem"
    SHELL = "shell"


class Effect(StrEnum):
    """What doing a thing twice would mean."""

    IDEMPOTENT = "idempotent"
    """Harmless: it may be tried again freely."""
    KEYED = "keyed"
    """The handler recognises a repetition by the idempotency key of `current_call()`."""
    ONCE = "once"
    """Never started again by the platform after an uncertain crash: a person decides."""


class OnDeny(StrEnum):
    """What follows when the tool policy refuses a call."""

    FAIL = "fail"
    """The step fails, and no `on_error` absorbs it."""
    TELL_MODEL = "tell_model"
    """The model is told why, and goes on."""


NEVER, ALWAYS = "never", "always"
"""Rules of approval; any other text is a CEL expression over the call."""


@dataclass(frozen=True, slots=True)
class ToolDefinition:
    """What a model and the guard know about a tool.

    `parameters` is a JSON Schema (draft 2020-12) of the arguments object. `effect` None means undeclared: after a
    crash the call may happen again. `timeout_seconds` bounds each call. `approval` says when a person has to agree
    before a call: `never`, `always`, or a CEL expression over `tool` and `arguments` that is true where one has to.
    """

    name: str
    description: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    capabilities: tuple[Capability, ...] = ()
    effect: Effect | None = None
    approval: str = NEVER
    timeout_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class ToolPolicy:
    """What an agent may do with tools. Deny beats allow; an empty allow list allows all.

    A capability flag that is None is not restricted; False refuses tools that claim the capability.
    """

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    network: bool | None = None
    filesystem: bool | None = None
    shell: bool | None = None
    allowed_domains: tuple[str, ...] = ()
    denied_domains: tuple[str, ...] = ()
    on_deny: OnDeny = OnDeny.FAIL
    approval: Mapping[str, str] = field(default_factory=dict)
    """Rules of approval by tool name, beside those of the tools themselves: a person is asked where either says so."""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The answer of one tool call, as text. `tool_call_id` is the id under which a model asked for it, if one did."""

    name: str
    output: str
    id: str | None = None
    tool_call_id: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def result(self) -> str:
        """The same as `output`."""
        return self.output
