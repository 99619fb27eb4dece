"""The check before each tool call."""

import difflib
from collections.abc import Callable, Collection, Mapping
from typing import Any

from kneo_serv.errors import ToolPolicyViolation
from kneo_serv.model.tool import Capability, ToolDefinition, ToolPolicy
from kneo_serv.tools.finding import json_path
from kneo_serv.tools.hosts import UNREADABLE, hosts_in, matches, texts_in
from kneo_serv.tools.schema import ArgumentSchema, plain


class Guard:
    """Lets a tool call pass or says why not. Keeps the compiled schema of every tool that it has seen."""

    def __init__(self) -> None:
        self._schemas: dict[str, ArgumentSchema] = {}

    def admit(
        self,
        name: str,
        arguments: Mapping[str, Any],
        *,
        definition: Callable[[str], ToolDefinition],
        policy: ToolPolicy,
        visible: Collection[str] | None,
    ) -> tuple[ArgumentSchema, dict[str, Any]]:
        """Checks everything but the schema, which the caller checks next: visible, deny, allow, capabilities, hosts.

        The second value is a copy of the arguments for the handler to keep. `visible` None means that all tools are.

        Raises:
            ToolPolicyViolation: refused; the text names the rule and, for hosts, the argument.
            ToolArgumentValidationError: the arguments are nested too deeply to be looked at.
            NotFoundError: allowed, but `definition` knows no such tool.
        """
        _check_name(name, policy, visible)
        tool = definition(name)
        _check_capabilities(tool, policy)
        copied: dict[str, Any] = plain(arguments, name)
        _check_hosts(name, copied, policy)
        return self._schema(tool), copied

    def _schema(self, definition: ToolDefinition) -> ArgumentSchema:
        schema = self._schemas.get(definition.name)
        if schema is None or schema.definition is not definition:
            schema = self._schemas[definition.name] = ArgumentSchema(definition)
        return schema


def _check_name(name: str, policy: ToolPolicy, visible: Collection[str] | None) -> None:
    if visible is not None and name not in visible:
        raise _denied(name, f"it is not among the tools of this agent.{_offer(name, visible)}")
    if name in policy.deny:
        raise _denied(name, "it is on the deny list of the tool policy.")
    if policy.allow and name not in policy.allow:
        raise _denied(name, f"it is not on the allow list of the tool policy.{_offer(name, policy.allow)}")


def _check_capabilities(tool: ToolDefinition, policy: ToolPolicy) -> None:
    granted = {
        Capability.NETWORK: policy.network,
        Capability.FILESYSTEM: policy.filesystem,
        Capability.SHELL: policy.shell,
    }
    for capability in tool.capabilities:
        if granted[capability] is False:
            raise _denied(tool.name, f"it needs {capability.value}, which the tool policy switches off.")


def _check_hosts(name: str, arguments: Mapping[str, Any], policy: ToolPolicy) -> None:
    """Denied hosts are found anywhere in a text; the allow list is about texts that are addresses.

    So a report may cite pages outside the allowed domains, but nothing may even mention the address of a denied one.
    """
    if not policy.denied_domains and not policy.allowed_domains:
        return
    outside: ToolPolicyViolation | None = None
    for path, text in texts_in(arguments):
        named = hosts_in(text)
        place = f"the argument at {json_path(path)}"
        for host in named.mentioned:
            if rule := matches(host, policy.denied_domains):
                raise _denied(name, f"{place} leads to {host!r}, and the tool policy denies the domain {rule!r}.")
        for host in named.addressed:
            if outside or not policy.allowed_domains or matches(host, policy.allowed_domains):
                continue
            whither = "to a host that cannot be told" if host == UNREADABLE else f"to {host!r}"
            allowed = ", ".join(policy.allowed_domains[:10])
            outside = _denied(name, f"{place} leads {whither}; the tool policy allows only these domains: {allowed}.")
    if outside:
        raise outside


def _offer(name: str, names: Collection[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f" Did you mean {near[0]!r}?"
    return f" It may use: {', '.join(sorted(names)[:10])}." if names else ""


def _denied(name: str, reason: str) -> ToolPolicyViolation:
    return ToolPolicyViolation(f"Tool {name[:100]!r} was not called: {reason}", tool_name=name)
