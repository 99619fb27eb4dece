"""Approval of tool calls: the rules, the tools that they name, and whether anybody can be asked at all."""

from collections.abc import Collection, Iterator, Mapping

from kneo_serv.model.tool import ALWAYS, NEVER, ToolDefinition
from kneo_serv.spec.checks.expressions import read_expression
from kneo_serv.spec.finding import Finding, error, near
from kneo_serv.spec.models.spec import KneoSpec
from kneo_serv.spec.path import Path
from kneo_serv.spec.visible_tools import approval_rules, definition, included
from kneo_serv.spec.walk import AgentAt, agents

CALL_NAMES = ("tool", "arguments")
"""What a rule of approval may look at."""

_FORMS = f"Write `{NEVER}`, `{ALWAYS}`, or an expression such as `arguments.amount > 1000.0`."

_CAPABILITIES = {
    "W_TOOL_NETWORK_UNRESTRICTED": "network",
    "W_TOOL_SHELL_ALLOWED": "shell",
    "W_TOOL_FILESYSTEM_READ_ALLOWED": "filesystem",
    "W_TOOL_FILESYSTEM_WRITE_ALLOWED": "filesystem",
}


def check_approvals(spec: KneoSpec, registered: Mapping[str, ToolDefinition] | None) -> Iterator[Finding]:
    """Faults of the rules that say before which calls a person is asked."""
    for name, tool in spec.tools.items():
        yield from _rule(("tools", name, "approval"), tool.approval, _arguments(spec, registered, name))
    for agent in agents(spec):
        yield from _registered(spec, agent, registered)
        yield from _policy(spec, agent, registered)
        yield from _mode(spec, agent, registered)


def always_approved(spec: KneoSpec, registered: Mapping[str, ToolDefinition] | None, finding: Finding) -> bool:
    """Whether a person agrees beforehand to each call of the tools that a finding about privileges means."""
    if finding.path[:1] == ("tools",) and len(finding.path) > 1:
        tool = spec.tools.get(str(finding.path[1]))
        return tool is not None and tool.approval == ALWAYS
    for agent in agents(spec):
        if finding.path[: len(agent.path) + 1] == (*agent.path, "tools"):
            rules = approval_rules(spec, agent.spec, registered)
            meant = list(_privileged(spec, agent, registered, finding.code))
            return bool(meant) and all(ALWAYS in rules.get(name, ()) for name in meant)
    return False


def _privileged(
    spec: KneoSpec, agent: AgentAt, registered: Mapping[str, ToolDefinition] | None, code: str
) -> Iterator[str]:
    """The tools that a finding means: those with the capability that it is about, or all of them."""
    wanted = _CAPABILITIES.get(code)
    for _, name in included(agent.spec):
        known = definition(name, spec, registered)
        if wanted is None or known is None or wanted in known.capabilities:
            yield name


def _registered(spec: KneoSpec, agent: AgentAt, registered: Mapping[str, ToolDefinition] | None) -> Iterator[Finding]:
    """Rules of tools that the spec does not declare, told where the agent names them."""
    for index, name in included(agent.spec):
        known = None if name in spec.tools else definition(name, spec, registered)
        if known is not None:
            path = (*agent.path, "tools", index)
            at = (*agent.path, "tools", "include", index)
            yield from _rule(path, known.approval, _arguments(spec, registered, name), at=at, of=name)


def _policy(spec: KneoSpec, agent: AgentAt, registered: Mapping[str, ToolDefinition] | None) -> Iterator[Finding]:
    policy = agent.spec.policies.tool if agent.spec.policies else None
    visible = [name for _, name in included(agent.spec)]
    for name, rule in (policy.approval if policy else {}).items():
        path = (*agent.path, "policies", "tool", "approval", name)
        if name not in visible:
            message = f"The agent does not see a tool `{name}`, so nobody would ever be asked."
            hint = near(name, visible, otherwise=f"Add `{name}` to the agent's `tools`.")
            yield error("E_TOOL_APPROVAL_UNKNOWN", path, message, hint, key=True)
        yield from _rule(path, rule, _arguments(spec, registered, name))


def _mode(spec: KneoSpec, agent: AgentAt, registered: Mapping[str, ToolDefinition] | None) -> Iterator[Finding]:
    wanted = agent.spec.runtime_preferences
    if wanted is None or agent.spec.as_agent is not None:
        return
    mode, key = wanted.preferred_mode, "preferred_mode"
    if mode is None and wanted.allowed_modes and "bridge" not in wanted.allowed_modes:
        mode, key = wanted.allowed_modes[0], "allowed_modes"
    rules = approval_rules(spec, agent.spec, registered)
    if mode in ("native", "adapter") and rules:
        names = ", ".join(f"`{name}`" for name in rules)
        message = f"{names} may need approval, and nobody can be asked inside a loop that is not ours (mode `{mode}`)."
        hint = "Use `preferred_mode: bridge`, or give this agent no tool that needs approval."
        yield error("E_TOOL_APPROVAL_MODE", (*agent.path, "runtime_preferences", key), message, hint)


def _arguments(spec: KneoSpec, registered: Mapping[str, ToolDefinition] | None, name: str) -> Collection[str]:
    """The names of the tool's arguments, as far as its schema tells."""
    known = definition(name, spec, registered)
    properties = known.parameters.get("properties") if known is not None else None
    return properties if isinstance(properties, Mapping) else ()


def _rule(
    path: Path, rule: str, arguments: Collection[str], *, at: Path | None = None, of: str | None = None
) -> Iterator[Finding]:
    if rule in (NEVER, ALWAYS):
        return
    whose = "The rule" if of is None else f"The rule of the registered tool `{of}`"
    neither = f"{whose} is neither `{NEVER}` nor `{ALWAYS}`, "
    read = read_expression(path, rule)
    if isinstance(read, Finding):
        yield error(read.code, path, read.message, read.suggestion, at=at)
    elif read.fault is not None:
        message = f"{neither}and as an expression it cannot be read: {read.fault}."
        yield error("E_TOOL_APPROVAL", path, message, _FORMS, at=at)
    elif rule.strip() in read.names:
        hint = near(rule.strip().lower(), (NEVER, ALWAYS), otherwise=_FORMS)
        yield error("E_TOOL_APPROVAL", path, f"{neither}nor an expression over the call.", hint, at=at)
    else:
        for name in read.names:
            if name not in CALL_NAMES:
                hint = f"Did you mean `arguments.{name}`?" if name in arguments else near(name, CALL_NAMES)
                message = f"{whose} looks at `{name}`, but there are only `tool` and `arguments`."
                yield error("E_TOOL_APPROVAL", path, message, hint, at=at)
