"""The whole document."""

from typing import Any, Literal

from pydantic import Field

from kneo_serv.model.limits import DEFAULT_QUEUE, PRIORITIES
from kneo_serv.spec.models.agent import AgentSpec, BudgetSpec
from kneo_serv.spec.models.block import Block
from kneo_serv.spec.models.component import ComponentsSpec
from kneo_serv.spec.models.tool import McpServerSpec, SkillSpec, ToolSpec
from kneo_serv.spec.models.workflow import WorkflowSpec


class DispatchSpec(Block):
    """Where runs wait for a worker, unless whoever starts one says otherwise."""

    queue: str = Field(default=DEFAULT_QUEUE, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")
    priority: int = Field(default=0, ge=PRIORITIES[0], le=PRIORITIES[1], strict=True)


class KneoSpec(Block):
    """A spec of version v1: agents, tools, people, functions and the workflow that joins them."""

    version: Literal["v1"]
    metadata: dict[str, Any] | None = None
    agent: AgentSpec
    workflow: WorkflowSpec | None = None
    components: ComponentsSpec = ComponentsSpec()
    tools: dict[str, ToolSpec] = Field(default_factory=dict)
    mcp_servers: dict[str, McpServerSpec] = Field(default_factory=dict)
    skills: dict[str, SkillSpec] = Field(default_factory=dict)
    policies: dict[str, Any] = Field(default_factory=dict)
    budget: BudgetSpec | None = Field(default=None, description="What the whole run may use.")
    dispatch: DispatchSpec = Field(
        default_factory=DispatchSpec, description="Which workers execute the runs, and how soon."
    )
