"""Tools: that they exist, what answers their calls, and whether the agent's policy lets them work."""

from collections.abc import Iterator, Mapping

from kneo_serv.model.tool import ToolDefinition
from kneo_serv.spec.checks.schemas import check_schema
from kneo_serv.spec.finding import Finding, Hint, error, near, warning
from kneo_serv.spec.models.spec import KneoSpec
from kneo_serv.spec.visible_tools import definition, included
from kneo_serv.spec.walk import AgentAt, agent_key, agents


def check_tools(spec: KneoSpec, registered: Mapping[str, ToolDefinition] | None) -> Iterator[Finding]:
    """Faults of declared tools, and of the tools that agents name."""
    for agent in agents(spec):
        yield from _conflicts(agent)
        if registered is not None:
            yield from _existence(spec, agent, registered)
        yield from _capabilities(spec, agent, registered)
    yield from _backings(spec)


def _conflicts(agent: AgentAt) -> Iterator[Finding]:
    tools = agent.spec.tools
    for index, name in enumerate(tools.include if tools else ()):
        if tools is not None and name in tools.exclude:
            place = (*agent.path, "tools", index)
            message = f"`{name}` is both included and excluded."
            yield error("E_TOOL_CONFLICT", place, message, at=(*agent.path, "tools", "include", index))


def _existence(spec: KneoSpec, agent: AgentAt, registered: Mapping[str, ToolDefinition]) -> Iterator[Finding]:
    for index, name in included(agent.spec):
        if definition(name, spec, registered) is None:
            place = (*agent.path, "tools", index)
            hint = near(name, [*spec.tools, *registered])
            message = f"There is no tool `{name}`, neither under `tools` nor in the tool registry."
            yield error("E_UNKNOWN_TOOL", place, message, hint, at=(*agent.path, "tools", "include", index))


def _capabilities(spec: KneoSpec, agent: AgentAt, registered: Mapping[str, ToolDefinition] | None) -> Iterator[Finding]:
    policy = agent.spec.policies.tool if agent.spec.policies else None
    permissions = agent.spec.tools.permissions if agent.spec.tools else None
    refused: dict[str, str] = {}
    for capability in ("network", "filesystem", "shell"):
        if policy is not None and getattr(policy, capability) is False:
            refused[capability] = f"policies.tool.{capability}"
    if permissions is not None:
        for key, capability in (
            ("allow_network", "network"),
            ("allow_filesystem_read", "filesystem"),
            ("allow_filesystem_write", "filesystem"),
            ("allow_shell", "shell"),
        ):
            if getattr(permissions, key) is False:
                refused.setdefault(capability, f"tools.permissions.{key}")
    for index, name in included(agent.spec):
        known = definition(name, spec, registered)
        for needed in known.capabilities if known is not None else ():
            if needed.value in refused:
                rule = refused[needed.value]
                message = f"The tool `{name}` needs {needed.value}, which `{rule}: false` refuses."
                place = (*agent.path, "tools", index)
                hint = f"Remove `{name}` here, or allow {needed.value}."
                at = (*agent.path, "tools", "include", index)
                yield error("E_TOOL_POLICY_CAPABILITY", place, message, hint, at=at)


def _backings(spec: KneoSpec) -> Iterator[Finding]:
    hint: Hint
    for name, tool in spec.tools.items():
        path = ("tools", name)
        backings = [key for key in ("implementation", "mcp", "agent") if getattr(tool, key) is not None]
        if not backings:
            hint = "Add `implementation`, `mcp` or `agent`."
            yield error("E_TOOL_NO_BACKING", path, f"Nothing answers the calls of `{name}`.", hint)
        elif len(backings) > 1:
            listed = " and ".join(f"`{key}`" for key in backings)
            yield error("E_TOOL_MULTIPLE_BACKINGS", path, f"`{name}` has {listed}; only one may answer.")
        if tool.agent is not None:
            if agent_key(spec, tool.agent) is None:
                hint = near(tool.agent, [*spec.components.agents, spec.agent.name])
                yield error("E_AGENT_TOOL_UNKNOWN_AGENT", (*path, "agent"), f"There is no agent `{tool.agent}`.", hint)
            if tool.parameters:
                message = "An agent always takes one text, `input`; these parameters have no effect."
                yield warning("W_AGENT_TOOL_PARAMETERS_IGNORED", (*path, "parameters"), message, "Remove them.")
        elif tool.parameters:
            what = f"`parameters` of `{name}`"
            yield from check_schema("E_TOOL_PARAMETERS", (*path, "parameters"), what, tool.parameters)
