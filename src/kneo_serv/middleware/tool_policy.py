"""A tool policy of the whole platform, beside those of the agents."""

from kneo_serv.errors import InvalidRequestError, ToolPolicyViolation
from kneo_serv.middleware.tool import NextCall, ToolCallContext
from kneo_serv.model.tool import Capability, ToolPolicy, ToolResult


class ToolPolicyMiddleware:
    """Refuses calls of tools that no agent of this platform may make, whatever its spec says.

    Deny beats allow, an empty allow list allows all, and a capability that is switched off refuses tools that claim it.

    Raises:
        InvalidRequestError: the policy has rules that need more than name and definition of a tool: domains and
            approval are rules of an agent (`tools.permissions`, `policies.tool.approval`).
    """

    def __init__(self, policy: ToolPolicy) -> None:
        if policy.allowed_domains or policy.denied_domains or policy.approval:
            raise InvalidRequestError(
                "ToolPolicyMiddleware looks at names and capabilities. Domains belong into tools.permissions of an "
                "agent, rules of approval into its policies.tool.approval."
            )
        self._policy = policy

    async def wrap_tool_call(self, ctx: ToolCallContext, next_call: NextCall) -> ToolResult:
        """The tool's answer, when the policy lets it be called. Raises ToolPolicyViolation."""
        if (reason := self._reason(ctx)) is not None:
            text = f"Tool {ctx.tool_name[:100]!r} was not called: {reason}"
            raise ToolPolicyViolation(text, tool_name=ctx.tool_name)
        return await next_call(ctx)

    def _reason(self, ctx: ToolCallContext) -> str | None:
        policy = self._policy
        if ctx.tool_name in policy.deny:
            return "it is on the deny list of this platform."
        if policy.allow and ctx.tool_name not in policy.allow:
            return "it is not on the allow list of this platform."
        granted = {
            Capability.NETWORK: policy.network,
            Capability.FILESYSTEM: policy.filesystem,
            Capability.SHELL: policy.shell,
        }
        for capability in ctx.metadata.get("capabilities", ()):
            if granted[Capability(capability)] is False:
                return f"it needs {capability}, which this platform switches off."
        return None
