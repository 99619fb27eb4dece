"""Agents: what they are told, which model answers, what they may do."""

from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from kneo_serv.spec.models.block import ApprovalRule, Block

type Mode = Annotated[str, WithJsonSchema({"anyOf": [{"enum": ["bridge", "native", "adapter"]}, {"type": "string"}]})]
"""One of the modes that come with the platform, or one that it was given: its registry knows."""


class ModelSpec(Block):
    """Which model answers. Times in seconds; `token_budget` bounds the whole run."""

    provider: str
    name: str
    temperature: float | None = None
    max_tokens: int | None = None
    token_budget: int | None = Field(default=None, gt=0)
    timeout_seconds: float | None = None
    base_url: str | None = None
    api_key_ref: str | None = None
    extra: dict[str, Any] = Field(default_factory=dict)


class StrategySpec(Block):
    """How the agent uses its model."""

    type: Literal["simple", "react", "plan-act"]
    max_iterations: int | None = None
    stop_on_tool_error: bool | None = None
    parallel_tool_calls: bool | None = None


class RuntimePreferencesSpec(Block):
    """Which runtime modes the agent wants and may use."""

    preferred_mode: Mode | None = None
    fallback_mode: Mode | None = None
    allowed_modes: list[Mode] = Field(default_factory=list)
    native_provider: str | None = None
    adapter_ref: str | None = None
    bridge_provider: str | None = None


class ToolPermissionsSpec(Block):
    """What the agent's tools may reach."""

    allow_network: bool | None = None
    allow_filesystem_read: bool | None = None
    allow_filesystem_write: bool | None = None
    allow_shell: bool | None = None
    allowed_domains: list[str] = Field(default_factory=list)
    denied_domains: list[str] = Field(default_factory=list)


class AgentToolsSpec(Block):
    """Which tools the agent sees."""

    include: list[str] = Field(default_factory=list)
    exclude: list[str] = Field(default_factory=list)
    permissions: ToolPermissionsSpec | None = None


class BudgetSpec(Block):
    """What a run, or an agent within a run, may use. At least one bound is needed."""

    tokens: int | None = Field(default=None, gt=0, description="Input and output together.")
    cost_usd: float | None = Field(default=None, gt=0, description="US dollars by list price.")
    calls: int | None = Field(default=None, gt=0, description="Questions to models.")
    seconds: float | None = Field(default=None, gt=0, description="Time at work, without waiting for people.")
    on_budget: Literal["fail", "ask"] = Field(
        default="fail", description="When it is used up: the run fails, or a person may allow as much again."
    )


class AgentToolPolicySpec(Block):
    """What is refused when a tool is called. Deny beats allow; an empty allow list allows all."""

    allow: list[str] = Field(default_factory=list)
    deny: list[str] = Field(default_factory=list)
    network: bool | None = None
    filesystem: bool | None = None
    shell: bool | None = None
    on_deny: Literal["fail", "tell_model"] = Field(
        default="fail", description="What follows a refused call: the run fails, or the model is told and goes on."
    )
    approval: dict[str, ApprovalRule] = Field(
        default_factory=dict,
        description="By tool, when a person has to agree before a call: never, always, or CEL over tool and arguments.",
    )


class AgentPoliciesSpec(Block):
    """The rules that travel with an agent."""

    tool: AgentToolPolicySpec | None = None


class AgentSpec(Block):
    """An agent: the root one, or one of `components.agents`."""

    name: str
    description: str | None = None
    system_prompt: str | None = None
    model: ModelSpec | None = None
    strategy: StrategySpec | None = None
    runtime_preferences: RuntimePreferencesSpec | None = None
    tools: AgentToolsSpec | None = None
    skills: list[str] = Field(default_factory=list)
    memory: dict[str, Any] | None = None
    guardrails: dict[str, Any] | None = None
    as_agent: str | None = None
    defaults: dict[str, Any] = Field(default_factory=dict)
    history: dict[str, Any] | None = None
    middleware: list[str] = Field(default_factory=list)
    policies: AgentPoliciesSpec | None = None
    output_schema: dict[str, Any] | None = Field(
        default=None, description="JSON Schema of the final answer, which is JSON text then."
    )
    output_retries: int | None = Field(
        default=None, ge=0, description="How often an answer that does not fit output_schema is asked for again (2)."
    )
    budget: BudgetSpec | None = Field(
        default=None, description="What the agent may use within one run, all its steps together."
    )
