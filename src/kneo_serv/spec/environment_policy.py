"""What an environment demands of every spec that is used in it."""

from collections.abc import Iterator, Sequence

from pydantic import BaseModel, ConfigDict, Field

from kneo_serv.spec.checks.humans import has_human_step
from kneo_serv.spec.checks.permissions import unrestricted
from kneo_serv.spec.diagnostic import Diagnostic, Severity
from kneo_serv.spec.finding import Finding, diagnose, error
from kneo_serv.spec.models.spec import KneoSpec
from kneo_serv.spec.node import SourceMap
from kneo_serv.spec.visible_tools import included
from kneo_serv.spec.walk import agents


class EnvironmentPolicy(BaseModel):
    """The rules of one environment; all are off by default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = True
    fail_on_warnings: bool = False
    blocked_diagnostic_codes: list[str] = Field(default_factory=list)
    require_human_review: bool = False
    require_tool_permissions: bool = False
    deny_unrestricted_tools: bool = False
    require_guardrails: bool = False


def enforce(
    policy: EnvironmentPolicy,
    spec: KneoSpec,
    diagnostics: Sequence[Diagnostic],
    source: SourceMap | None = None,
) -> list[Diagnostic]:
    """The violations of the policy, each an error; empty when the spec may be used there."""
    if not policy.enabled:
        return []
    return [*_about(policy, diagnostics), *diagnose(_demands(policy, spec), source or SourceMap())]


def _about(policy: EnvironmentPolicy, diagnostics: Sequence[Diagnostic]) -> Iterator[Diagnostic]:
    for item in diagnostics:
        if item.code in policy.blocked_diagnostic_codes:
            yield _violation("E_ENV_POLICY_DIAGNOSTIC", f"{item.code} is not allowed here: {item.message}", item)
        elif policy.fail_on_warnings and item.severity is Severity.WARNING:
            yield _violation("E_ENV_POLICY_WARNING", f"Warnings are errors here: {item.code}: {item.message}", item)


def _violation(code: str, message: str, item: Diagnostic) -> Diagnostic:
    place = (item.line, item.column, item.source)
    return Diagnostic(code, Severity.ERROR, message, item.path, item.suggestion, *place)


def _demands(policy: EnvironmentPolicy, spec: KneoSpec) -> Iterator[Finding]:
    if policy.require_human_review and not has_human_step(spec):
        message = "This environment demands a human step, and no workflow has one."
        yield error("E_ENV_POLICY_HUMAN_REVIEW", ("workflow",), message, "Add a human step.")
    for agent in agents(spec):
        if not any(True for _ in included(agent.spec)):
            continue
        has_policy = agent.spec.policies is not None and agent.spec.policies.tool is not None
        permissions = agent.spec.tools.permissions if agent.spec.tools else None
        if policy.require_tool_permissions and permissions is None and not has_policy:
            message = "This environment demands that every agent with tools says what they may reach."
            hint = "Add `policies.tool` or `tools.permissions`."
            yield error("E_ENV_POLICY_TOOL_PERMISSIONS", (*agent.path, "tools", "permissions"), message, hint)
        if policy.deny_unrestricted_tools and unrestricted(agent.spec):
            message = "This environment refuses agents whose tools are not restricted."
            yield error("E_ENV_POLICY_UNRESTRICTED_TOOLS", (*agent.path, "tools"), message)
    if policy.require_guardrails and not any(
        isinstance(items, list) and items for agent in agents(spec) for items in (agent.spec.guardrails or {}).values()
    ):
        message = "This environment demands a guardrail, and no agent has one."
        yield error("E_ENV_POLICY_GUARDRAILS", ("agent", "guardrails"), message, "Add one under `agent.guardrails`.")
