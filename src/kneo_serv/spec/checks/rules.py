"""All rules in their order."""

from collections.abc import Iterator, Mapping

from kneo_serv.model.tool import ToolDefinition
from kneo_serv.spec.checks.agents import check_agents
from kneo_serv.spec.checks.approvals import check_approvals
from kneo_serv.spec.checks.branches import check_branches
from kneo_serv.spec.checks.budgets import check_budgets
from kneo_serv.spec.checks.conditions import check_conditions
from kneo_serv.spec.checks.cycles import check_cycles
from kneo_serv.spec.checks.effects import check_effects
from kneo_serv.spec.checks.graphs import check_graphs
from kneo_serv.spec.checks.groups import check_groups
from kneo_serv.spec.checks.guardrails import check_guardrails
from kneo_serv.spec.checks.humans import check_approval, check_humans
from kneo_serv.spec.checks.imports import check_imports
from kneo_serv.spec.checks.mcp import check_mcp
from kneo_serv.spec.checks.memory import check_memory
from kneo_serv.spec.checks.outputs import check_outputs
from kneo_serv.spec.checks.permissions import check_permissions
from kneo_serv.spec.checks.steps import check_steps
from kneo_serv.spec.checks.tools import check_tools
from kneo_serv.spec.checks.variables import check_variables
from kneo_serv.spec.finding import Finding
from kneo_serv.spec.models.spec import KneoSpec


def check(spec: KneoSpec, registered: Mapping[str, ToolDefinition] | None) -> Iterator[Finding]:
    """Everything that is wrong or doubtful. Without `registered`, only tools that the spec declares are judged."""
    found: list[Finding] = []
    for finding in _rules(spec, registered):
        found.append(finding)
        yield finding
    yield from check_approval(spec, registered, found)


def _rules(spec: KneoSpec, registered: Mapping[str, ToolDefinition] | None) -> Iterator[Finding]:
    yield from check_steps(spec)
    yield from check_graphs(spec)
    yield from check_groups(spec)
    yield from check_branches(spec)
    yield from check_variables(spec)
    yield from check_agents(spec)
    yield from check_conditions(spec)
    yield from check_imports(spec)
    yield from check_tools(spec, registered)
    yield from check_permissions(spec)
    yield from check_approvals(spec, registered)
    yield from check_budgets(spec)
    yield from check_outputs(spec)
    yield from check_humans(spec)
    yield from check_memory(spec)
    yield from check_guardrails(spec)
    yield from check_mcp(spec)
    yield from check_cycles(spec)
    yield from check_effects(spec, registered)
