"""People: their options, deadlines, and whether anybody looks at what privileged tools do."""

from collections.abc import Iterator, Mapping, Sequence

from kneo_serv.model.tool import ToolDefinition
from kneo_serv.spec.checks.approvals import always_approved
from kneo_serv.spec.finding import Finding, error, near, warning
from kneo_serv.spec.models.component import HumanSpec
from kneo_serv.spec.models.spec import KneoSpec
from kneo_serv.spec.models.workflow import GraphSpec, SequentialSpec
from kneo_serv.spec.path import Path, show
from kneo_serv.spec.walk import enabled_steps, named_workflows, steps, workflows

PRIVILEGED = frozenset(
    {
        "W_TOOL_POLICY_UNRESTRICTED",
        "W_TOOL_NETWORK_UNRESTRICTED",
        "W_TOOL_SHELL_ALLOWED",
        "W_TOOL_FILESYSTEM_WRITE_ALLOWED",
        "W_TOOL_FILESYSTEM_READ_ALLOWED",
        "E_UNSAFE_TOOL_IMPORT",
        "E_UNSAFE_FUNCTION_IMPORT",
    }
)
"""Codes of findings for which a person should look at the outcome."""


MOST_REMINDERS = 100
"""Reminders for one question at most: each is an event in the history of its run."""


def check_humans(spec: KneoSpec) -> Iterator[Finding]:
    """Faults of the questions to people."""
    for name, human in spec.components.humans.items():
        path = ("components", "humans", name)
        if human.options and human.default_option is not None and human.default_option not in human.options:
            hint = near(human.default_option, human.options)
            message = f"`{human.default_option}` is not among the options."
            yield error("E_HUMAN_DEFAULT_OPTION_NOT_IN_OPTIONS", (*path, "default_option"), message, hint)
        if human.request_type == "selection" and not human.options:
            message = "A selection needs options to select from."
            yield error("E_HUMAN_SELECTION_REQUIRES_OPTIONS", (*path, "options"), message)
        if human.response_role == "system":
            message = "The answer would speak to the model with the authority of the system prompt."
            yield warning("W_HUMAN_RESPONSE_ROLE_SYSTEM", (*path, "response_role"), message, "Use `user`.")
        if human.timeout_seconds is not None and human.timeout_seconds < 0:
            hint = "Leave it out for no deadline."
            yield error("E_HUMAN_TIMEOUT", (*path, "timeout_seconds"), "`timeout_seconds` is below 0.", hint)
        yield from _reminders(human, path)
        yield from _rejection(spec, name, human, path)


def has_human_step(spec: KneoSpec) -> bool:
    """Whether any workflow has an enabled human step."""
    return any(step.spec.kind == "human" for workflow in named_workflows(spec) for step in enabled_steps(workflow))


def check_approval(
    spec: KneoSpec, registered: Mapping[str, ToolDefinition] | None, found: Sequence[Finding]
) -> Iterator[Finding]:
    """A warning when something privileged is found and no person ever looks."""
    if has_human_step(spec):
        return
    for item in found:
        if item.code in PRIVILEGED and not always_approved(spec, registered, item):
            message = f"Nobody approves what this spec may do ({item.code}): no workflow has a human step."
            hint = "Add a human step before the effects, or `approval: always` to the tools."
            yield warning("W_HUMAN_APPROVAL_MISSING", ("workflow",), message, hint)
            return


def _reminders(human: HumanSpec, path: Path) -> Iterator[Finding]:
    every, timeout = human.remind_every_seconds, human.timeout_seconds
    if every is None:
        return
    if not 1 <= every < float("inf"):
        message = "`remind_every_seconds` is below 1."
        yield error("E_HUMAN_REMINDER", (*path, "remind_every_seconds"), message, "Leave it out for no reminders.")
    if not 1 <= human.max_reminders <= MOST_REMINDERS:
        message = f"`max_reminders` is not from 1 to {MOST_REMINDERS}."
        yield error("E_HUMAN_REMINDER", (*path, "max_reminders"), message)
    if timeout is not None and 0 < timeout <= every and human.on_timeout != "escalate":
        message = "Nobody is ever reminded: the time for an answer is over before the first reminder."
        hint = "Make `remind_every_seconds` shorter than `timeout_seconds`."
        yield warning("W_HUMAN_REMINDER_NEVER", (*path, "remind_every_seconds"), message, hint)


def _rejection(spec: KneoSpec, name: str, human: HumanSpec, path: Path) -> Iterator[Finding]:
    place = (*path, "reject_goto")
    if human.on_reject != "goto":
        if human.reject_goto is not None:
            message = "`reject_goto` has an effect only with `on_reject: goto`."
            yield warning("W_HUMAN_REJECT_GOTO_UNUSED", place, message)
        return
    if human.reject_goto is None:
        yield error("E_HUMAN_REJECT_GOTO", place, "`on_reject: goto` needs `reject_goto`, the id of a step.")
        return
    for workflow in workflows(spec):
        written = list(steps(workflow.path, workflow.spec))
        if not any(step.spec.kind == "human" and step.ref == name and step.spec.enabled for step in written):
            continue
        title = show(workflow.path)
        if not isinstance(workflow.spec, (SequentialSpec, GraphSpec)):
            message = f"{title} asks `{name}`, but its steps have no order in which a rejection could go back."
            hint = "Put the human step into a sequential or graph workflow, and refer to that."
            yield error("E_HUMAN_REJECT_GOTO", place, message, hint)
            continue
        known = [step.id for step in written if step.spec.enabled]
        if human.reject_goto not in known:
            message = f"{title} asks `{name}`, but has no enabled step `{human.reject_goto}` to go to."
            yield error("E_HUMAN_REJECT_GOTO", place, message, near(human.reject_goto, known))
