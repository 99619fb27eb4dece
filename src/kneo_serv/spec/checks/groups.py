"""Groups: participants of concurrent, handoff and group chat workflows, and branches of parallel steps."""

import re
from collections.abc import Iterator

from kneo_serv.spec.finding import Finding, error, near, warning
from kneo_serv.spec.models.spec import KneoSpec
from kneo_serv.spec.models.workflow import GraphSpec, GroupChatSpec, HandoffSpec, SequentialSpec
from kneo_serv.spec.path import Path
from kneo_serv.spec.walk import AGGREGATOR, SPEAKER, agent_key, steps, workflows

_TOOL_PART = re.compile(r"[A-Za-z0-9_-]{1,52}")


def check_groups(spec: KneoSpec) -> Iterator[Finding]:
    """Faults of participants and of the order in which they speak."""
    for path, _, workflow, *_ in workflows(spec):
        if isinstance(workflow, (SequentialSpec, GraphSpec)):
            continue
        seen: set[str] = set()
        for step in steps(path, workflow):
            if step.id in seen:
                yield error("E_PARTICIPANT_DUPLICATE_ID", (*step.path, "id"), f"The id `{step.id}` is used twice.")
            if step.id in (AGGREGATOR, SPEAKER):
                message = f"The id `{step.id}` belongs to a step that the platform adds."
                yield error("E_PARTICIPANT_RESERVED_ID", (*step.path, "id"), message, "Use another id.")
            seen.add(step.id)
            if step.spec.on_error == "fallback" or step.spec.fallback_ref is not None:
                message = "Participants cannot fall back on another one."
                hint = "Use `on_error: continue` or `max_retries`."
                yield error("E_PARTICIPANT_FALLBACK_UNSUPPORTED", (*step.path, "fallback_ref"), message, hint)
        if isinstance(workflow, HandoffSpec):
            yield from _order(path, workflow, seen)
            if workflow.selector is not None and workflow.selector.type == "agent":
                yield from _transfer(path, workflow)
        if isinstance(workflow, GroupChatSpec):
            yield from _chat(spec, path, workflow)


def _order(path: Path, workflow: HandoffSpec, known: set[str]) -> Iterator[Finding]:
    for index, name in enumerate(workflow.selector.sequence if workflow.selector else ()):
        if name not in known:
            place = (*path, "selector", "sequence", index)
            hint = near(name, known)
            yield error("E_HANDOFF_SELECTOR_REF", place, f"There is no participant `{name}`.", hint)
    if workflow.max_iterations is not None and workflow.max_iterations < 1:
        place = (*path, "max_iterations")
        yield error("E_HANDOFF_MAX_ITERATIONS", place, "`max_iterations` must be at least 1.")


def _transfer(path: Path, workflow: HandoffSpec) -> Iterator[Finding]:
    enabled = [step for step in steps(path, workflow) if step.spec.enabled]
    for step in enabled:
        if not _TOOL_PART.fullmatch(step.id):
            message = f"`{step.id}` cannot be part of the name of a tool, and agents hand over by a tool call."
            hint = "Use at most 52 letters, digits, `_` and `-`."
            yield error("E_HANDOFF_PARTICIPANT_ID", (*step.path, "id"), message, hint)
    if enabled and enabled[0].spec.kind != "agent":
        message = f"`{enabled[0].id}` speaks first and cannot hand over, since it is no agent: nobody else will speak."
        yield warning("W_HANDOFF_FIRST_NO_AGENT", (*enabled[0].path, "kind"), message, "List an agent first.")
    if workflow.selector is not None and workflow.selector.sequence:
        message = "Agents choose who is next, so `sequence` has no effect."
        yield warning("W_HANDOFF_SEQUENCE_UNUSED", (*path, "selector", "sequence"), message, "Remove it.")


def _chat(spec: KneoSpec, path: Path, workflow: GroupChatSpec) -> Iterator[Finding]:
    if workflow.rounds < 1:
        yield error("E_GROUP_CHAT_ROUNDS", (*path, "rounds"), "`rounds` must be at least 1.")
    speaker = workflow.speaker
    if speaker is not None and agent_key(spec, speaker.agent) is None:
        hint = near(speaker.agent, [*spec.components.agents, spec.agent.name])
        yield error(
            "E_GROUP_CHAT_SPEAKER_REF", (*path, "speaker", "agent"), f"There is no agent `{speaker.agent}`.", hint
        )
