"""Questions to people, and their answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from kneo_serv.model.ids import ContinuationId, RequestId, RunId, StepKey
from kneo_serv.model.plan import OnTimeout, RequestType
from kneo_serv.model.quick import quick


class Decision(StrEnum):
    """What a person answers."""

    APPROVED = "approved"
    REJECTED = "rejected"
    EDITED = "edited"
    SELECTED = "selected"
    PROVIDED = "provided"


class About(StrEnum):
    """What a step asks about beside its own text."""

    APPROVAL = "approval"
    """Whether a tool may be called."""
    BUDGET = "budget"
    """Whether more may be used."""


class TaskStatus(StrEnum):
    """Where a human task stands. Only an open one can be answered."""

    OPEN = "open"
    ANSWERED = "answered"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


@quick
@dataclass(frozen=True, slots=True)
class HumanRequest:
    """What a person is asked. `timeout_seconds` counts from the moment of asking."""

    id: RequestId
    type: RequestType
    title: str
    prompt: str
    requested_by: str
    """Id of the step that asks."""
    context: Mapping[str, Any] = field(default_factory=dict)
    """What the spec says beside the text under review (which the task holds as `input_text`)."""
    options: tuple[str, ...] = ()
    default_option: str | None = None
    assignee: str | None = None
    timeout_seconds: float | None = None
    on_timeout: OnTimeout = OnTimeout.FAIL
    remind_every_seconds: float | None = None
    max_reminders: int = 0
    """Reminders that are given at most while nobody answers."""
    metadata: Mapping[str, Any] = field(default_factory=dict)


@quick
@dataclass(frozen=True, slots=True)
class HumanResponse:
    """A person's answer to one request."""

    request_id: str
    decision: Decision | str
    content: str | None = None
    selected_option: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@quick
@dataclass(frozen=True, slots=True)
class HumanTask:
    """A question that a run waits for, as it is kept. Times are seconds since the epoch, UTC."""

    continuation_id: ContinuationId
    run_id: RunId
    key: StepKey
    step_id: str
    step_index: int | None
    workflow_name: str | None
    workflow_kind: str | None
    request: HumanRequest
    input_text: str
    """The real text under review: private."""
    created_at: float
    status: TaskStatus = TaskStatus.OPEN
    expires_at: float | None = None
    escalated_at: float | None = None
    answered_at: float | None = None
    decision: Decision | None = None
    actor: str | None = None
    public_input_text: str | None = None
    """The text without secrets; None where both are the same."""
    tenant: str | None = None
    """Of its run, whatever is given when it is opened."""
