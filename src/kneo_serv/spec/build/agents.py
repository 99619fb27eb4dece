"""Agents of the plan."""

from collections.abc import Mapping
from typing import Any

from kneo_serv.model.plan import (
    AgentPlan,
    Budget,
    Guardrail,
    Memory,
    ModelPlan,
    OnBudget,
    RuntimeMode,
    RuntimePreferences,
    Strategy,
    StrategyType,
)
from kneo_serv.model.tool import OnDeny, ToolPolicy
from kneo_serv.spec.checks.guardrails import STAGES
from kneo_serv.spec.models.agent import AgentSpec, BudgetSpec, ModelSpec, RuntimePreferencesSpec, StrategySpec
from kneo_serv.spec.models.spec import KneoSpec
from kneo_serv.spec.visible_tools import included
from kneo_serv.spec.walk import agent_key

_HELPERS = ("summarizer", "retriever")
_OUTPUT_RETRIES = 2


def build_agent(spec: KneoSpec, agent: AgentSpec) -> AgentPlan:
    """The agent with everything resolved that its block left open."""
    mode = agent.defaults.get("append_mode")
    return AgentPlan(
        name=agent.name,
        description=agent.description,
        system_prompt=agent.system_prompt,
        model=_model(agent.model) if agent.model is not None else None,
        strategy=_strategy(agent.strategy),
        runtime=_runtime(agent.runtime_preferences),
        tools=tuple(dict.fromkeys(name for _, name in included(agent))),
        tool_policy=_tool_policy(agent),
        memory=_memory(spec, agent.memory),
        guardrails=_guardrails(spec, agent.guardrails or {}),
        skills=tuple(dict.fromkeys(agent.skills)),
        as_agent=agent.as_agent,
        append_mode=mode if isinstance(mode, str) else None,
        output_schema=agent.output_schema,
        output_retries=_OUTPUT_RETRIES if agent.output_retries is None else agent.output_retries,
        budget=build_budget(agent.budget),
        middleware=tuple(dict.fromkeys(agent.middleware)),
    )


def build_budget(budget: BudgetSpec | None) -> Budget | None:
    """The bounds that a block names; None where there is none."""
    if budget is None:
        return None
    return Budget(budget.tokens, budget.cost_usd, budget.calls, budget.seconds, OnBudget(budget.on_budget))


def _model(model: ModelSpec) -> ModelPlan:
    extra = dict(model.extra)
    base_url = extra.pop("base_url", None)
    key_ref = extra.pop("api_key_ref", None)
    return ModelPlan(
        provider=model.provider,
        name=model.name,
        temperature=model.temperature,
        max_tokens=model.max_tokens,
        token_budget=model.token_budget,
        timeout_seconds=model.timeout_seconds or None,
        base_url=model.base_url or (str(base_url) if base_url else None),
        api_key_ref=model.api_key_ref or (str(key_ref) if key_ref else None),
        extra=extra,
    )


def _strategy(strategy: StrategySpec | None) -> Strategy:
    if strategy is None:
        return Strategy()
    default = Strategy()
    return Strategy(
        type=StrategyType(strategy.type),
        max_iterations=default.max_iterations if strategy.max_iterations is None else strategy.max_iterations,
        stop_on_tool_error=bool(strategy.stop_on_tool_error),
        parallel_tool_calls=strategy.parallel_tool_calls is not False,
    )


def _runtime(wanted: RuntimePreferencesSpec | None) -> RuntimePreferences:
    if wanted is None:
        return RuntimePreferences()
    return RuntimePreferences(
        preferred_mode=RuntimeMode(wanted.preferred_mode or "bridge"),
        fallback_mode=RuntimeMode(wanted.fallback_mode) if wanted.fallback_mode else None,
        allowed_modes=tuple(RuntimeMode(mode) for mode in wanted.allowed_modes),
        native_provider=wanted.native_provider,
        adapter_ref=wanted.adapter_ref,
        bridge_provider=wanted.bridge_provider,
    )


def _tool_policy(agent: AgentSpec) -> ToolPolicy:
    policy = agent.policies.tool if agent.policies else None
    tools = agent.tools
    permissions = tools.permissions if tools else None
    deny = [*(policy.deny if policy else ()), *(tools.exclude if tools else ())]
    return ToolPolicy(
        allow=tuple(dict.fromkeys(policy.allow)) if policy else (),
        deny=tuple(dict.fromkeys(deny)),
        network=_flag(policy and policy.network, permissions and permissions.allow_network),
        filesystem=_flag(
            policy and policy.filesystem,
            permissions and permissions.allow_filesystem_read,
            permissions and permissions.allow_filesystem_write,
        ),
        shell=_flag(policy and policy.shell, permissions and permissions.allow_shell),
        allowed_domains=tuple(permissions.allowed_domains) if permissions else (),
        denied_domains=tuple(permissions.denied_domains) if permissions else (),
        on_deny=OnDeny(policy.on_deny) if policy else OnDeny.FAIL,
        approval=dict(policy.approval) if policy else {},
    )


def _flag(*said: object) -> bool | None:
    """What several places say together: one refusal refuses, silence restricts nothing."""
    if any(item is False for item in said):
        return False
    return True if any(item is True for item in said) else None


def _memory(spec: KneoSpec, memory: Mapping[str, Any] | None) -> Memory | None:
    policy = (memory or {}).get("policy")
    if memory is None or not isinstance(policy, str):
        return None
    ref: str | None = None
    for helper in _HELPERS:
        block = memory.get(helper)
        found = block.get("ref") if isinstance(block, Mapping) else block
        if isinstance(found, str):
            ref = found if found in spec.components.functions else agent_key(spec, found) or found
    config = {key: value for key, value in memory.items() if key not in ("policy", *_HELPERS)}
    return Memory(policy, ref, config)


def _guardrails(spec: KneoSpec, stages: Mapping[str, Any]) -> tuple[Guardrail, ...]:
    found: list[Guardrail] = []
    for stage in STAGES:
        items = stages.get(stage)
        for item in items if isinstance(items, list) else ():
            if not isinstance(item, Mapping) or not isinstance(item.get("type"), str):
                continue
            ref = item.get("ref")
            if item["type"] == "agent" and isinstance(ref, str):
                ref = agent_key(spec, ref) or ref
            config = item.get("config")
            found.append(
                Guardrail(
                    id=str(item.get("id", "")),
                    stage=stage,
                    type=item["type"],
                    action=str(item.get("action", "block")),
                    ref=ref if isinstance(ref, str) else None,
                    config=config if isinstance(config, Mapping) else {},
                )
            )
    return tuple(found)
