"""What happens to a run as a whole."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from kneo_serv.model.ids import ContinuationId, PlanHash, RunId, StepKey
from kneo_serv.model.message import Message
from kneo_serv.model.quick import quick


class LegReason(StrEnum):
    """Why a worker took a run up."""

    START = "start"
    RESUME = "resume"
    CONTINUE = "continue"
    TIMER = "timer"
    TAKEOVER = "takeover"


@quick
@dataclass(frozen=True, slots=True)
class RunCreated:
    """A run was accepted. `deadline_at` is seconds since the epoch."""

    KIND: ClassVar[str] = "run_created"
    VERSION: ClassVar[int] = 1
    plan_hash: PlanHash
    target: str
    input_text: str
    agent_name: str | None = None
    workflow_name: str | None = None
    workflow_kind: str | None = None
    session_id: str | None = None
    timeout_seconds: float | None = None
    deadline_at: float | None = None
    tags: tuple[str, ...] = ()
    environment: str | None = None
    parent_run_id: str | None = None
    engine_version: int = 1
    metadata: Mapping[str, Any] = field(default_factory=dict)
    token_budget: int | None = None
    """Of the platform, for a plan that has none of its own."""
    trace: Mapping[str, str] = field(default_factory=dict)
    """W3C trace context that the run was asked for under: `traceparent`, `tracestate`."""


@quick
@dataclass(frozen=True, slots=True)
class LegStarted:
    """A worker took the run up. Attempts that an earlier leg left in flight count as interrupted from here on."""

    KIND: ClassVar[str] = "leg_started"
    VERSION: ClassVar[int] = 1
    worker: str
    fence: int
    reason: LegReason
    history: Mapping[str, tuple[Message, ...]] = field(default_factory=dict)
    """With the first leg of a run with a session: by agent's name, what it and its users said in earlier runs."""


@quick
@dataclass(frozen=True, slots=True)
class RunContinued:
    """A failed or orphaned run was taken up again after its last finished step."""

    KIND: ClassVar[str] = "run_continued"
    VERSION: ClassVar[int] = 1
    actor: str | None = None


@quick
@dataclass(frozen=True, slots=True)
class RunForked:
    """The events before this one were copied from another run; from here on it goes its own way, by clocks of its own.

    What the parent had in flight begins again, and its open questions are asked anew. `deadline_at` is seconds since
    the epoch.
    """

    KIND: ClassVar[str] = "run_forked"
    VERSION: ClassVar[int] = 1
    parent_run_id: RunId
    parent_seq: int
    """Number of the last event that was copied: the same here as there."""
    at_sequence: int
    """Number of the parent's checkpoint after that event."""
    plan_hash: PlanHash
    changed: tuple[str, ...] = ()
    """What is not as it was: `input`, `answer`, `model`."""
    input_text: str | None = None
    """The text that flows on instead."""
    input_key: StepKey | None = None
    """Of the frame, or of the waiting step, that gets this text."""
    deadline_at: float | None = None
    actor: str | None = None


@quick
@dataclass(frozen=True, slots=True)
class RunCompleted:
    """The run came to its good end."""

    KIND: ClassVar[str] = "run_completed"
    VERSION: ClassVar[int] = 1
    output_text: str


@quick
@dataclass(frozen=True, slots=True)
class RunFailed:
    """The run failed; it may be continued."""

    KIND: ClassVar[str] = "run_failed"
    VERSION: ClassVar[int] = 1
    error_type: str
    message: str
    step_id: str | None = None
    violation: bool = False


@quick
@dataclass(frozen=True, slots=True)
class RunCancelled:
    """Somebody ended the run early."""

    KIND: ClassVar[str] = "run_cancelled"
    VERSION: ClassVar[int] = 1
    reason: str
    actor: str | None = None


@quick
@dataclass(frozen=True, slots=True)
class RunTimedOut:
    """The run's deadline passed."""

    KIND: ClassVar[str] = "run_timed_out"
    VERSION: ClassVar[int] = 1
    timeout_seconds: float | None
    deadline_at: float
    status_at_timeout: str


@quick
@dataclass(frozen=True, slots=True)
class RunExpired:
    """A human task's deadline passed and its component says that this fails the run."""

    KIND: ClassVar[str] = "run_expired"
    VERSION: ClassVar[int] = 1
    continuation_id: ContinuationId
    message: str
