"""A registry behind the guard."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from kneo_serv.model.tool import ToolDefinition, ToolPolicy
from kneo_serv.tools.call_context import CallContext
from kneo_serv.tools.guard import Guard
from kneo_serv.tools.pool import HandlerPool
from kneo_serv.tools.registry import ToolRegistry
from kneo_serv.tools.result import ToolResult


class GuardedToolRegistry:
    """A view of a registry in which each call is checked first. `visible_tools` None shows all tools."""

    def __init__(
        self,
        registry: ToolRegistry,
        *,
        policy: ToolPolicy | None = None,
        visible_tools: Collection[str] | None = None,
    ) -> None:
        self.registry = registry
        self.policy = policy or ToolPolicy()
        self.visible_tools = None if visible_tools is None else frozenset(visible_tools)
        self._guard = Guard()

    @property
    def definitions(self) -> dict[str, ToolDefinition]:
        """The definitions of the visible tools."""
        shown = self.visible_tools
        return {name: each for name, each in self.registry.definitions.items() if shown is None or name in shown}

    def call(self, name: str, args: dict[str, Any]) -> ToolResult:
        """As `ToolRegistry.call`, behind the guard; `metadata["tool_policy_checked"]` of the result is True.

        Raises:
            ToolPolicyViolation: the policy refuses the call; the handler is not reached.
            ToolArgumentValidationError: the arguments do not fit the schema; the handler is not reached.
            NotFoundError: no such tool; a KeyError.
        """
        return _checked(self.registry.call(name, self._admit(name, args)))

    async def acall(
        self,
        name: str,
        args: dict[str, Any],
        *,
        context: CallContext | None = None,
        pool: HandlerPool | None = None,
        timeout: float | None = None,
    ) -> ToolResult:
        """As `ToolRegistry.acall`, behind the guard; raises what `call` raises, and StepTimeoutError."""
        admitted = self._admit(name, args)
        return _checked(await self.registry.acall(name, admitted, context=context, pool=pool, timeout=timeout))

    def _admit(self, name: str, args: dict[str, Any]) -> dict[str, Any]:
        schema, arguments = self._guard.admit(
            name, args, definition=self.registry.definition, policy=self.policy, visible=self.visible_tools
        )
        schema.check(arguments)
        return arguments


def _checked(result: ToolResult) -> ToolResult:
    return replace(result, metadata={**result.metadata, "tool_policy_checked": True})
