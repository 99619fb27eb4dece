"""What a spec's agents may do, remember and guard, and which people look at it."""

from collections.abc import Mapping, Sequence
from typing import Any

from kneo_serv.model.tool import ALWAYS, ToolDefinition
from kneo_serv.spec.checks.humans import PRIVILEGED
from kneo_serv.spec.checks.permissions import unrestricted
from kneo_serv.spec.diagnostic import Diagnostic, Severity
from kneo_serv.spec.models.spec import KneoSpec
from kneo_serv.spec.path import show
from kneo_serv.spec.visible_tools import approval_rules
from kneo_serv.spec.walk import AgentAt, agents, named_workflows, steps, workflows


def policy_report(
    spec: KneoSpec, diagnostics: Sequence[Diagnostic], registered: Mapping[str, ToolDefinition] | None = None
) -> dict[str, Any]:
    """The report as a JSON object; sections for budgets, memory, tools, guardrails, people and findings.

    Without `registered`, the report does not know the rules of approval of tools that the spec does not declare.
    """
    found = list(agents(spec))
    flows = list(named_workflows(spec))
    reviews = _reviews(spec)
    budgets = {show((*agent.path, "budget")): agent.spec.budget for agent in found} | {"budget": spec.budget}
    imports = [(name, tool) for name, tool in spec.tools.items() if tool.mcp is not None]
    return {
        "valid": not any(item.severity is Severity.ERROR for item in diagnostics),
        "version": spec.version,
        "summary": {
            "agent_count": len(found),
            "workflow_count": len(flows),
            "tool_count": len(spec.tools),
            "mcp_tool_count": len(imports),
            "human_reviewer_count": len(spec.components.humans),
            "human_review_step_count": len(reviews),
            "budget_count": sum(1 for budget in budgets.values() if budget is not None),
            "diagnostic_count": len(diagnostics),
        },
        "budgets": [
            {"path": path, **budget.model_dump(exclude_none=True)}
            for path, budget in budgets.items()
            if budget is not None
        ],
        "memory": {"agents": [_memory(agent) for agent in found]},
        "tools": {
            "declared": list(spec.tools),
            "mcp_imports": [
                {"name": name, "config": tool.mcp.model_dump(exclude_none=True) if tool.mcp else {}}
                for name, tool in imports
            ],
            "agent_policies": [_tools(spec, agent, registered) for agent in found],
        },
        "guardrails": {"agents": [_guardrails(agent) for agent in found]},
        "human_review": _human_review(spec, reviews, diagnostics),
        "diagnostics": [item.to_dict() for item in diagnostics],
    }


def _reviews(spec: KneoSpec) -> list[dict[str, Any]]:
    return [
        {"workflow": show(flow.path), "step_id": step.id, "ref": step.ref}
        for flow in workflows(spec)
        if flow.enabled
        for step in steps(flow.path, flow.spec)
        if step.spec.kind == "human" and step.spec.enabled
    ]


def _memory(agent: AgentAt) -> dict[str, Any]:
    memory = agent.spec.memory or {}
    config = {key: value for key, value in memory.items() if key != "policy"}
    return {
        "agent": show(agent.path),
        "configured": bool(memory),
        "policy": memory.get("policy"),
        "config": config,
    }


def _tools(spec: KneoSpec, agent: AgentAt, registered: Mapping[str, ToolDefinition] | None) -> dict[str, Any]:
    tools = agent.spec.tools
    permissions = tools.permissions if tools else None
    policy = agent.spec.policies.tool if agent.spec.policies else None
    return {
        "agent": show(agent.path),
        "include": list(tools.include) if tools else [],
        "exclude": list(tools.exclude) if tools else [],
        "permissions": permissions.model_dump(exclude_none=True) if permissions else None,
        "policy": policy.model_dump(exclude_none=True) if policy else None,
        "on_deny": policy.on_deny if policy else "fail",
        "approval": {name: _together(rules) for name, rules in approval_rules(spec, agent.spec, registered).items()},
        "unrestricted": unrestricted(agent.spec),
    }


def _together(rules: Sequence[str]) -> str:
    """One rule that says what several say: a person is asked where any of them says so."""
    if ALWAYS in rules:
        return ALWAYS
    return rules[0] if len(rules) == 1 else " || ".join(f"({rule})" for rule in rules)


def _guardrails(agent: AgentAt) -> dict[str, Any]:
    stages = agent.spec.guardrails or {}
    counts = {stage: len(items) if isinstance(items, list) else 0 for stage, items in stages.items()}
    return {"agent": show(agent.path), "configured": any(counts.values()), "stages": counts}


def _human_review(
    spec: KneoSpec, reviews: Sequence[dict[str, Any]], diagnostics: Sequence[Diagnostic]
) -> dict[str, Any]:
    requirements = [
        {"code": item.code, "path": item.path, "reason": item.message}
        for item in diagnostics
        if item.code in PRIVILEGED
    ]
    required = bool(requirements)
    if not requirements and spec.components.humans:
        reason = "The spec names people who review."
        requirements = [{"code": "I_HUMAN_REVIEW_CONFIGURED", "path": "components.humans", "reason": reason}]
    return {
        "reviewers": list(spec.components.humans),
        "workflow_steps": list(reviews),
        "required": required,
        "requirements": requirements,
        "missing": required and not reviews,
    }
