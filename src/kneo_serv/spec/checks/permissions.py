"""Permissions: what an agent's tools may reach, and whether that is said at all."""

from collections.abc import Iterator

from kneo_serv.spec.finding import Finding, warning
from kneo_serv.spec.models.agent import AgentSpec
from kneo_serv.spec.models.spec import KneoSpec
from kneo_serv.spec.visible_tools import included
from kneo_serv.spec.walk import AgentAt, agents


def check_permissions(spec: KneoSpec) -> Iterator[Finding]:
    """Doubts about what the tools of each agent may reach."""
    for agent in agents(spec):
        yield from _agent(agent)


def unrestricted(agent: AgentSpec) -> bool:
    """Whether the agent has tools that may do more than talk: no rules at all, or wide ones."""
    return any(True for _ in _agent(AgentAt(("agent",), "", agent)))


def _agent(agent: AgentAt) -> Iterator[Finding]:
    tools = agent.spec.tools
    if tools is None or not any(True for _ in included(agent.spec)):
        return
    path = (*agent.path, "tools", "permissions")
    permissions = tools.permissions
    policy = agent.spec.policies.tool if agent.spec.policies else None
    if permissions is None and policy is None:
        message = "The agent has tools, but nothing says what they may reach."
        hint = "Add `policies.tool` with network, filesystem and shell, or `tools.permissions`."
        yield warning("W_TOOL_POLICY_UNRESTRICTED", path, message, hint)
        return
    shell = (permissions and permissions.allow_shell) or (policy and policy.shell)
    write = (permissions and permissions.allow_filesystem_write) or (policy and policy.filesystem)
    read = (permissions and permissions.allow_filesystem_read) or (policy and policy.filesystem)
    network = (permissions and permissions.allow_network) or (policy and policy.network)
    if network and not (permissions and permissions.allowed_domains):
        hint = "List the hosts in `tools.permissions.allowed_domains`."
        message = "Tools may reach every host of the network."
        yield warning("W_TOOL_NETWORK_UNRESTRICTED", (*path, "allowed_domains"), message, hint)
    if shell:
        yield warning("W_TOOL_SHELL_ALLOWED", (*path, "allow_shell"), "Tools may run commands.")
    if write:
        message = "Tools may write files."
        yield warning("W_TOOL_FILESYSTEM_WRITE_ALLOWED", (*path, "allow_filesystem_write"), message)
    if read:
        yield warning("W_TOOL_FILESYSTEM_READ_ALLOWED", (*path, "allow_filesystem_read"), "Tools may read files.")
