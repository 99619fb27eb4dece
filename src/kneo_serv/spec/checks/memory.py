"""Memory: which policy, and what it needs."""

from collections.abc import Iterator, Mapping
from typing import Any

from kneo_serv.spec.finding import Finding, error, near
from kneo_serv.spec.models.spec import KneoSpec
from kneo_serv.spec.path import Path
from kneo_serv.spec.walk import agent_key, agents

POLICIES = ("full", "sliding_window", "summary", "retrieval")
_HELPERS = {"summary": "summarizer", "retrieval": "retriever"}
_COUNTS = {"sliding_window": "max_messages", "retrieval": "top_k"}


def check_memory(spec: KneoSpec) -> Iterator[Finding]:
    """Faults of each agent's memory."""
    for agent in agents(spec):
        if agent.spec.memory:
            yield from _memory(spec, (*agent.path, "memory"), agent.spec.memory)


def _memory(spec: KneoSpec, path: Path, memory: Mapping[str, Any]) -> Iterator[Finding]:
    policy = memory.get("policy")
    listed = ", ".join(f"`{name}`" for name in POLICIES)
    if policy is None:
        yield error("E_MEMORY_POLICY_REQUIRED", (*path, "policy"), "A memory needs a `policy`.", f"One of {listed}.")
        return
    if policy not in POLICIES:
        hint = near(str(policy), POLICIES)
        yield error("E_MEMORY_POLICY_UNKNOWN", (*path, "policy"), f"There is no memory policy `{policy}`.", hint)
        return
    helper = _HELPERS.get(policy)
    if helper is not None:
        block = memory.get(helper)
        ref = block.get("ref") if isinstance(block, Mapping) else block
        place = (*path, helper, "ref") if isinstance(block, Mapping) else (*path, helper)
        known = {*spec.components.functions, *spec.components.agents, spec.agent.name}
        if not isinstance(ref, str):
            hint = f"Write `{helper}: {{ref: <function or agent>}}`."
            yield error("E_MEMORY_REF", place, f"The memory policy `{policy}` needs a `{helper}`.", hint)
        elif ref not in spec.components.functions and agent_key(spec, ref) is None:
            yield error("E_MEMORY_REF", place, f"There is no function or agent `{ref}`.", near(ref, known))
    count = _COUNTS.get(policy)
    if count is not None and count in memory:
        value = memory[count]
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            yield error("E_MEMORY_CONFIG", (*path, count), f"`{count}` must be a whole number of at least 1.")
