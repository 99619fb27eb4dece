"""What a spec holds, by name."""

from typing import Any

from kneo_serv.spec.models.spec import KneoSpec


def explain(spec: KneoSpec) -> dict[str, Any]:
    """The names of the root parts (None where there is none) and of the components."""
    workflow = spec.workflow
    return {
        "has_root_agent": True,
        "has_root_workflow": workflow is not None,
        "root_agent": spec.agent.name,
        "root_workflow": (workflow.name or f"{workflow.type.replace('-', '_')}-workflow") if workflow else None,
        "component_agents": list(spec.components.agents),
        "component_workflows": list(spec.components.workflows),
    }
