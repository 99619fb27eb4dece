"""Which tools an agent sees, and what is known about them."""

from collections.abc import Iterator, Mapping

from kneo_serv.model.tool import NEVER, Capability, Effect, ToolDefinition
from kneo_serv.spec.models.agent import AgentSpec
from kneo_serv.spec.models.spec import KneoSpec
from kneo_serv.spec.models.tool import ToolSpec

_AGENT_PARAMETERS = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
    "additionalProperties": False,
}


def included(agent: AgentSpec) -> Iterator[tuple[int, str]]:
    """The names in `tools.include` with their indexes, the excluded ones left out."""
    if agent.tools is not None:
        for index, name in enumerate(agent.tools.include):
            if name not in agent.tools.exclude:
                yield index, name


def definition(name: str, spec: KneoSpec, registered: Mapping[str, ToolDefinition] | None) -> ToolDefinition | None:
    """What is known about a tool: from the spec, or else from the registry."""
    tool = spec.tools.get(name)
    if tool is not None:
        return declared(name, tool)
    return None if registered is None else registered.get(name)


def approval_rules(
    spec: KneoSpec, agent: AgentSpec, registered: Mapping[str, ToolDefinition] | None
) -> dict[str, tuple[str, ...]]:
    """The rules other than `never` for each tool that the agent sees: that of the tool, then that of its policy.

    A person is asked where any of them says so. Tools without rules are left out.
    """
    policy = agent.policies.tool if agent.policies else None
    said: dict[str, tuple[str, ...]] = {}
    for _, name in included(agent):
        known = definition(name, spec, registered)
        rules = (known.approval if known is not None else NEVER, policy.approval.get(name, NEVER) if policy else NEVER)
        asking = tuple(dict.fromkeys(rule for rule in rules if rule != NEVER))
        if asking:
            said[name] = asking
    return said


def declared(name: str, tool: ToolSpec) -> ToolDefinition:
    """The definition that a spec's own tool makes."""
    return ToolDefinition(
        name=name,
        description=tool.description,
        parameters=_AGENT_PARAMETERS if tool.agent is not None else tool.parameters,
        capabilities=tuple(Capability(item) for item in tool.capabilities),
        effect=Effect(tool.effect) if tool.effect is not None else None,
        approval=tool.approval,
        timeout_seconds=tool.timeout_seconds,
    )
