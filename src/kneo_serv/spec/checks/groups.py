"""Groups: participants of concurrent, handoff and group chat workflows."""

from collections.abc import Iterator

from kneo_serv.spec.finding import Finding, error, near
from kneo_serv.spec.models.spec import KneoSpec
from kneo_serv.spec.models.workflow import GraphSpec, GroupChatSpec, HandoffSpec, SequentialSpec
from kneo_serv.spec.path import Path
from kneo_serv.spec.walk import steps, workflows


def check_groups(spec: KneoSpec) -> Iterator[Finding]:
    """Faults of participants and of the order in which they speak."""
    for path, _, workflow in workflows(spec):
        if isinstance(workflow, (SequentialSpec, GraphSpec)):
            continue
        seen: set[str] = set()
        for step in steps(path, workflow):
            if step.id in seen:
                yield error("E_PARTICIPANT_DUPLICATE_ID", (*step.path, "id"), f"The id `{step.id}` is used twice.")
            seen.add(step.id)
            if step.spec.on_error == "fallback" or step.spec.fallback_ref is not None:
                message = "Participants cannot fall back on another one."
                hint = "Use `on_error: continue` or `max_retries`."
                yield error("E_PARTICIPANT_FALLBACK_UNSUPPORTED", (*step.path, "fallback_ref"), message, hint)
        if isinstance(workflow, HandoffSpec):
            yield from _order(path, workflow, seen)
        if isinstance(workflow, GroupChatSpec) and workflow.rounds < 1:
            yield error("E_GROUP_CHAT_ROUNDS", (*path, "rounds"), "`rounds` must be at least 1.")


def _order(path: Path, workflow: HandoffSpec, known: set[str]) -> Iterator[Finding]:
    for index, name in enumerate(workflow.selector.sequence if workflow.selector else ()):
        if name not in known:
            place = (*path, "selector", "sequence", index)
            hint = near(name, known)
            yield error("E_HANDOFF_SELECTOR_REF", place, f"There is no participant `{name}`.", hint)
    if workflow.max_iterations is not None and workflow.max_iterations < 1:
        place = (*path, "max_iterations")
        yield error("E_HANDOFF_MAX_ITERATIONS", place, "`max_iterations` must be at least 1.")
