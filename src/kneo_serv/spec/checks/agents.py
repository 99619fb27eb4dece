"""Agents: models, strategies, runtimes, skills, and workflows that answer for them."""

from collections.abc import Iterator

from kneo_serv.spec.finding import Finding, error, near, warning
from kneo_serv.spec.models.spec import KneoSpec
from kneo_serv.spec.walk import AgentAt, agents

_BESIDE_AS_AGENT = frozenset({"name", "description", "system_prompt", "as_agent"})
_EVEN_EMPTY = frozenset({"output_schema", "output_retries"})
"""Keys whose 0 or {} says something."""


def check_agents(spec: KneoSpec) -> Iterator[Finding]:
    """Faults of every agent that do not concern its tools, its memory or its guardrails."""
    for agent in agents(spec):
        yield from _skills(spec, agent)
        yield from _runtime(agent)
        yield from _model(agent)
        yield from _as_agent(spec, agent)
    if "tool" in spec.policies:
        hint = "Move it to `agent.policies.tool`."
        yield warning("W_POLICY_INERT", ("policies", "tool"), "A tool policy has no effect here.", hint)


def _skills(spec: KneoSpec, agent: AgentAt) -> Iterator[Finding]:
    for index, name in enumerate(agent.spec.skills):
        if name not in spec.skills:
            hint = near(name, spec.skills, otherwise=f"Add skills.{name} with its `source`.")
            path = (*agent.path, "skills", index)
            yield error("E_SKILL_REF", path, f"There is no skill `{name}` under `skills`.", hint)


def _runtime(agent: AgentAt) -> Iterator[Finding]:
    wanted = agent.spec.runtime_preferences
    if wanted is None:
        return
    path = (*agent.path, "runtime_preferences")
    allowed = ", ".join(wanted.allowed_modes)
    for code, key, mode in (
        ("E_RUNTIME_PREFERRED_NOT_ALLOWED", "preferred_mode", wanted.preferred_mode),
        ("E_RUNTIME_FALLBACK_NOT_ALLOWED", "fallback_mode", wanted.fallback_mode),
    ):
        if mode is not None and wanted.allowed_modes and mode not in wanted.allowed_modes:
            hint = f"Add `{mode}` to `allowed_modes`, or use one of: {allowed}."
            yield error(code, (*path, key), f"`{mode}` is not among the allowed modes ({allowed}).", hint)
    if wanted.preferred_mode == "native" and not wanted.native_provider:
        place = (*path, "native_provider")
        yield warning("W_RUNTIME_NATIVE_PROVIDER", place, "The native mode is preferred, but no provider is named.")
    if wanted.preferred_mode == "adapter" and not wanted.adapter_ref:
        place = (*path, "adapter_ref")
        yield warning("W_RUNTIME_ADAPTER_REF", place, "The adapter mode is preferred, but no adapter is named.")


def _model(agent: AgentAt) -> Iterator[Finding]:
    strategy = agent.spec.strategy
    if strategy is not None:
        if strategy.type != "simple" and agent.spec.model is None:
            message = f"The strategy `{strategy.type}` works with a model, but the agent names none."
            yield warning("W_AGENT_MODEL", (*agent.path, "model"), message, "Add a `model`.")
        if strategy.max_iterations is not None and strategy.max_iterations < 1:
            path = (*agent.path, "strategy", "max_iterations")
            yield error("E_AGENT_MAX_ITERATIONS", path, "`max_iterations` must be at least 1.")
    model = agent.spec.model
    if model is not None and model.extra.get("api_key"):
        place = (*agent.path, "model", "extra", "api_key")
        hint = "Put it into an environment variable, and name that in `api_key_ref`."
        yield warning("W_SECRET_INLINE", place, "A key stands in the spec, for all to read.", hint)
    if model is not None and model.timeout_seconds is not None and model.timeout_seconds < 0:
        yield error("E_AGENT_TIMEOUT", (*agent.path, "model", "timeout_seconds"), "`timeout_seconds` is below 0.")


def _as_agent(spec: KneoSpec, agent: AgentAt) -> Iterator[Finding]:
    name = agent.spec.as_agent
    if name is None:
        return
    extra = [
        key
        for key, value in agent.spec
        if key not in _BESIDE_AS_AGENT and (value or (key in _EVEN_EMPTY and value is not None))
    ]
    if extra:
        listed = ", ".join(f"`{key}`" for key in extra)
        message = f"A workflow answers for this agent, so {listed} would have no effect."
        yield error("E_AS_AGENT_FIELDS", agent.path, message, "Keep only name, description and system_prompt.")
    if name not in spec.components.workflows:
        hint = near(name, spec.components.workflows)
        path = (*agent.path, "as_agent")
        yield error(
            "E_AS_AGENT_UNKNOWN_WORKFLOW", path, f"There is no workflow `{name}` in components.workflows.", hint
        )
