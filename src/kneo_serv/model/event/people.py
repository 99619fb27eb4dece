"""What happens between a run and the people that it asks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from kneo_serv.model.ids import ContinuationId, RequestId, StepKey
from kneo_serv.model.plan import OnTimeout
from kneo_serv.model.quick import quick
from kneo_serv.model.task import About, Decision, HumanRequest


@quick
@dataclass(frozen=True, slots=True)
class HumanAsked:
    """A person was asked; the step waits for the answer. `expires_at` is seconds since the epoch."""

    KIND: ClassVar[str] = "human_asked"
    VERSION: ClassVar[int] = 1
    key: StepKey
    step_id: str
    continuation_id: ContinuationId
    request: HumanRequest
    index: int | None = None
    expires_at: float | None = None
    about: About | None = None
    """What is asked about, where it is neither the step's own question nor a text or an effect in doubt."""
    subject: str | None = None
    """Id of the tool call, or scope of the budget."""


@quick
@dataclass(frozen=True, slots=True)
class HumanAnswered:
    """A person answered, and it counts. `automatic` marks the answer that a passed deadline gives."""

    KIND: ClassVar[str] = "human_answered"
    VERSION: ClassVar[int] = 1
    key: StepKey
    step_id: str
    continuation_id: ContinuationId
    request_id: RequestId
    decision: Decision
    content: str | None = None
    selected_option: str | None = None
    actor: str | None = None
    automatic: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)


@quick
@dataclass(frozen=True, slots=True)
class HumanReminded:
    """Nobody has answered yet, and it was time to say so again: for the `number`th time, as was due at `due_at`."""

    KIND: ClassVar[str] = "human_reminded"
    VERSION: ClassVar[int] = 1
    key: StepKey
    step_id: str
    continuation_id: ContinuationId
    number: int = 1
    due_at: float | None = None
    next_due_at: float | None = None
    """When the next one is due; None after the last one."""
    assignee: str | None = None


@quick
@dataclass(frozen=True, slots=True)
class HumanEscalated:
    """Nobody answered in time; the task was marked and stays open."""

    KIND: ClassVar[str] = "human_escalated"
    VERSION: ClassVar[int] = 1
    key: StepKey
    step_id: str
    continuation_id: ContinuationId
    escalated_at: float
    original_expires_at: float | None = None


@quick
@dataclass(frozen=True, slots=True)
class HumanExpired:
    """Nobody answered in time; what follows is `on_timeout`."""

    KIND: ClassVar[str] = "human_expired"
    VERSION: ClassVar[int] = 1
    key: StepKey
    step_id: str
    continuation_id: ContinuationId
    on_timeout: OnTimeout
    timeout_seconds: float | None = None
    expires_at: float | None = None
    assignee: str | None = None
    """Who was asked, and has not answered."""
