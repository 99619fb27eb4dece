"""Effects: what may happen twice where a run can be taken up again, and nobody said whether that matters."""

from collections.abc import Iterator, Mapping

from kneo_serv.model.plan import ROOT
from kneo_serv.model.tool import ToolDefinition
from kneo_serv.spec.finding import Finding, warning
from kneo_serv.spec.models.spec import KneoSpec
from kneo_serv.spec.visible_tools import definition, included
from kneo_serv.spec.walk import StepAt, agent_key, enabled_steps, named_workflows

_HINT = "Declare `effect`: idempotent, keyed or once."


def check_effects(spec: KneoSpec, registered: Mapping[str, ToolDefinition] | None) -> Iterator[Finding]:
    """Warnings about functions and tools without `effect`, in workflows with people or retries."""
    seen: set[tuple[str, str]] = set()
    for workflow in named_workflows(spec):
        enabled = list(enabled_steps(workflow))
        if not any(step.spec.kind == "human" or step.spec.max_retries > 0 for step in enabled):
            continue
        for step in enabled:
            yield from _step(spec, registered, step, seen)


def _step(
    spec: KneoSpec, registered: Mapping[str, ToolDefinition] | None, step: StepAt, seen: set[tuple[str, str]]
) -> Iterator[Finding]:
    ref = step.ref
    if step.spec.kind == "function" and ref in spec.components.functions and ("function", ref) not in seen:
        seen.add(("function", ref))
        if spec.components.functions[ref].effect is None:
            path = ("components", "functions", ref)
            yield warning("W_EFFECT_UNDECLARED", path, _message(f"The function `{ref}`"), _HINT)
    key = agent_key(spec, ref) if step.spec.kind == "agent" else None
    if key is None:
        return
    agent = spec.agent if key == ROOT else spec.components.agents[key]
    place = ("agent",) if key == ROOT else ("components", "agents", key)
    for index, name in included(agent):
        known = definition(name, spec, registered)
        if known is None or known.effect is not None or ("tool", name) in seen:
            continue
        seen.add(("tool", name))
        if name in spec.tools:
            yield warning("W_EFFECT_UNDECLARED", ("tools", name), _message(f"The tool `{name}`"), _HINT)
        else:
            hint = "Declare `effect` in its ToolDefinition: idempotent, keyed or once."
            at = (*place, "tools", "include", index)
            path = (*place, "tools", index)
            yield warning("W_EFFECT_UNDECLARED", path, _message(f"The registered tool `{name}`"), hint, at=at)


def _message(what: str) -> str:
    return f"{what} says nothing about being done twice: after a crash or a retry it is called at least once."
