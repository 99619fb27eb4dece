"""What happens to a step."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from kneo_serv.model.ids import StepKey
from kneo_serv.model.message import Usage
from kneo_serv.model.plan import StepKind
from kneo_serv.model.quick import quick


class Resolution(StrEnum):
    """What follows a failed attempt; decided by the engine when the failure is journaled."""

    RETRY = "retry"
    CONTINUE = "continue"
    FALLBACK = "fallback"
    FAIL = "fail"


@quick
@dataclass(frozen=True, slots=True)
class StepStarted:
    """An attempt of a step began. `attempt` counts from 1 under its key."""

    KIND: ClassVar[str] = "step_started"
    VERSION: ClassVar[int] = 1
    key: StepKey
    step_id: str
    step_kind: StepKind
    attempt: int
    ref: str = ""
    index: int | None = None
    """Place in its workflow's list, from 0."""
    fallback_for: str | None = None
    """Id of the step that this one stands in for."""
    flow: str | None = None
    """Key of the workflow whose frame the step opens."""


@quick
@dataclass(frozen=True, slots=True)
class StepCompleted:
    """A step is finished and never runs again under this key. People's steps complete here too."""

    KIND: ClassVar[str] = "step_completed"
    VERSION: ClassVar[int] = 1
    key: StepKey
    step_id: str
    output_text: str
    index: int | None = None
    usage: Usage | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@quick
@dataclass(frozen=True, slots=True)
class StepFailed:
    """An attempt failed. `retry_at` (seconds since the epoch) goes with the resolution retry.

    `violation` marks a policy or guardrail refusal, which no `on_error` absorbs.
    """

    KIND: ClassVar[str] = "step_failed"
    VERSION: ClassVar[int] = 1
    key: StepKey
    step_id: str
    attempt: int
    error_type: str
    message: str
    resolution: Resolution
    retry_at: float | None = None
    index: int | None = None
    violation: bool = False
    uncertain: bool = False
    """It was given up while it was at work: nobody knows whether it happened."""
    held: bool = False
    """It could not be tried, since a provider is paused: it uses up no attempt."""


@quick
@dataclass(frozen=True, slots=True)
class StepReturned:
    """The work of a step is done; its text has guardrails to pass before the step is finished."""

    KIND: ClassVar[str] = "step_returned"
    VERSION: ClassVar[int] = 1
    key: StepKey
    step_id: str
    output_text: str


@quick
@dataclass(frozen=True, slots=True)
class EdgeTaken:
    """A graph went from one node to the next."""

    KIND: ClassVar[str] = "edge_taken"
    VERSION: ClassVar[int] = 1
    key: StepKey
    """Of the frame."""
    source: str
    target: str
    label: str | None = None


@quick
@dataclass(frozen=True, slots=True)
class LateOutcome:
    """Something that was in flight came to its end after the run had no more use for it; nothing changes by it."""

    KIND: ClassVar[str] = "late_outcome"
    VERSION: ClassVar[int] = 1
    key: StepKey
    step_id: str
    outcome: str
    """Kind of the event that it would have been."""
    output_text: str | None = None
    error_type: str | None = None
    message: str | None = None
