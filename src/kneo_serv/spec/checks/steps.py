"""Steps: what they refer to, what follows a failure, and their bounds."""

from collections.abc import Iterator

from kneo_serv.spec.finding import Finding, Hint, error, near, warning
from kneo_serv.spec.models.spec import KneoSpec
from kneo_serv.spec.models.workflow import SequentialSpec, StepSpec
from kneo_serv.spec.walk import StepAt, WorkflowAt, agent_key, step_field, step_list, steps, workflows


def check_steps(spec: KneoSpec) -> Iterator[Finding]:
    """Faults of single steps, in every type of workflow."""
    for workflow in workflows(spec):
        yield from _presence(workflow)
        for step in steps(workflow.path, workflow.spec):
            yield from _reference(spec, workflow, step)
            yield from _bounds(step)
        if isinstance(workflow.spec, SequentialSpec):
            yield from _ids(workflow)
            yield from _fallbacks(workflow)


def _presence(workflow: WorkflowAt) -> Iterator[Finding]:
    name = step_field(workflow.spec)
    path = (*workflow.path, name)
    written = step_list(workflow.spec)
    if not written:
        yield error("E_WORKFLOW_EMPTY", path, f"The workflow has no {name}.", "Add at least one.")
    elif not any(step.enabled for step in written):
        yield error("E_WORKFLOW_EMPTY", path, f"All {name} are disabled; nothing would run.", "Enable at least one.")


def _reference(spec: KneoSpec, workflow: WorkflowAt, step: StepAt) -> Iterator[Finding]:
    if not isinstance(step.spec, StepSpec):
        return
    ref = step.ref
    path = (*step.path, "ref")
    parts = spec.components
    match step.spec.kind:
        case "agent" | "guardrail":
            if agent_key(spec, ref) is None:
                code = "E_STEP_AGENT_REF" if step.spec.kind == "agent" else "E_STEP_GUARDRAIL_REF"
                known = [*parts.agents, spec.agent.name]
                hint = near(ref, known)
                yield error(code, path, f"There is no agent `{ref}`, neither in components.agents nor the root.", hint)
        case "function":
            if ref not in parts.functions:
                hint = near(ref, parts.functions, otherwise=f"Add components.functions.{ref}.")
                yield error("E_STEP_FUNCTION_REF", path, f"There is no function `{ref}` in components.functions.", hint)
        case "human":
            if ref not in parts.humans:
                hint = near(ref, parts.humans, otherwise=f"Add components.humans.{ref}.")
                yield error("E_STEP_HUMAN_REF", path, f"There is no `{ref}` in components.humans.", hint)
        case "workflow":
            if ref not in parts.workflows:
                hint = near(ref, parts.workflows, otherwise=f"Add components.workflows.{ref}.")
                yield error("E_STEP_WORKFLOW_REF", path, f"There is no workflow `{ref}` in components.workflows.", hint)
            elif ref == workflow.key:
                yield error("E_STEP_WORKFLOW_SELF_REF", path, f"The workflow `{ref}` holds itself.")


def _bounds(step: StepAt) -> Iterator[Finding]:
    if step.spec.max_retries < 0:
        yield error(
            "E_STEP_RETRIES", (*step.path, "max_retries"), "`max_retries` is below 0.", "Use 0 for a single attempt."
        )
    if step.spec.timeout_seconds is not None and step.spec.timeout_seconds < 0:
        hint = "Leave it out for no time limit."
        yield error("E_STEP_TIMEOUT", (*step.path, "timeout_seconds"), "`timeout_seconds` is below 0.", hint)
    if step.spec.backoff_seconds is not None and step.spec.backoff_seconds < 0:
        hint = "Use 0 to retry at once."
        yield error("E_STEP_BACKOFF", (*step.path, "backoff_seconds"), "`backoff_seconds` is below 0.", hint)


def _ids(workflow: WorkflowAt) -> Iterator[Finding]:
    seen: set[str] = set()
    for step in steps(workflow.path, workflow.spec):
        if step.id in seen:
            hint = "Give each step an id of its own."
            yield error("E_STEP_DUPLICATE_ID", (*step.path, "id"), f"The id `{step.id}` is used twice.", hint)
        seen.add(step.id)


def _fallbacks(workflow: WorkflowAt) -> Iterator[Finding]:
    hint: Hint
    by_id = {step.id: step.spec for step in steps(workflow.path, workflow.spec)}
    for step in steps(workflow.path, workflow.spec):
        path = (*step.path, "fallback_ref")
        ref = step.spec.fallback_ref
        if step.spec.on_error != "fallback" and ref is None:
            continue
        if ref is None:
            hint = "Name the step whose target runs instead."
            yield error("E_STEP_FALLBACK_REF", path, "`on_error: fallback` needs a `fallback_ref`.", hint)
        elif ref not in by_id:
            hint = near(ref, by_id)
            yield error("E_STEP_FALLBACK_UNKNOWN", path, f"There is no step `{ref}` in this workflow.", hint)
        elif ref == step.id:
            yield error("E_STEP_FALLBACK_SELF", path, f"The step `{ref}` is its own fallback.", "Name another step.")
        elif by_id[ref].kind == "human":
            hint = "Name a step that is no person."
            yield error("E_STEP_FALLBACK_HUMAN", path, f"The fallback `{ref}` is a human step.", hint)
        elif not by_id[ref].enabled:
            message = f"The fallback `{ref}` is disabled: the step behaves as with `on_error: fail`."
            yield warning("W_STEP_FALLBACK_DISABLED", path, message, f"Enable `{ref}`.")
