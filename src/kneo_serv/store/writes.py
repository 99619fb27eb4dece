"""What is written to a store in one transaction each: a new run, or an addition to one."""

from dataclasses import dataclass
from enum import StrEnum

from kneo_serv.model.audit import AuditEvent
from kneo_serv.model.idempotency import IdempotencyKey, KeyRecord
from kneo_serv.model.ids import ContinuationId, Owner, RunId
from kneo_serv.model.quick import quick
from kneo_serv.model.run import Phase, RunRecord, RunStatus, SessionConcurrency
from kneo_serv.model.schedule import Schedule
from kneo_serv.model.task import Decision, HumanTask, TaskStatus


@quick
@dataclass(frozen=True, slots=True)
class EventRow:
    """One event as it is kept.

    `payload` is JSON text, exactly what the next step needs; `public` the same without secrets, None where both are
    the same.
    """

    seq: int
    kind: str
    at: float
    payload: str
    public: str | None = None


@quick
@dataclass(frozen=True, slots=True)
class Projection:
    """The columns of `runs` that an append sets. Of constant size but for the output, which is set once.

    `output_text` None leaves what is there.
    """

    status: RunStatus
    phase: Phase
    updated_at: float
    output_text: str | None = None
    public_output_text: str | None = None
    current_step_id: str | None = None
    current_step_index: int | None = None
    current_node_id: str | None = None
    continuation_id: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    started_at: float | None = None
    completed_at: float | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    requests: int = 0
    cost_usd: float = 0.0


class TimerKind(StrEnum):
    """What is due when a timer fires."""

    RETRY = "retry"
    HUMAN_DEADLINE = "human_deadline"
    RUN_DEADLINE = "run_deadline"
    REMINDER = "reminder"


@quick
@dataclass(frozen=True, slots=True)
class Timer:
    """A stored moment (seconds since the epoch). `key` is the step key, the continuation id, or empty for the run."""

    run_id: RunId
    kind: TimerKind
    key: str
    due_at: float


@quick
@dataclass(frozen=True, slots=True)
class TaskClosing:
    """A task is no longer open. The append is refused (`Refusal.TASK`) when it was not open."""

    continuation_id: ContinuationId
    status: TaskStatus
    at: float
    decision: Decision | None = None
    actor: str | None = None


@quick
@dataclass(frozen=True, slots=True)
class TaskEscalation:
    """An open task is marked as escalated. Refused (`Refusal.TASK`) when it is not open or marked already."""

    continuation_id: ContinuationId
    escalated_at: float


@quick
@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to be created, in one transaction with its plan, first events, timers and audit.

    `record` gives all columns; with `record.lease_owner` set the run is born leased to that owner with fence 1 for
    `lease_seconds`, else runnable with fence 0. Where its session is at work, `sessions` says what becomes of it:
    queued it is not born leased but waits its turn, rejected it is not made at all.
    """

    record: RunRecord
    plan: str
    """JSON text of the plan; stored once per `record.plan_hash`."""
    events: tuple[EventRow, ...]
    timers: tuple[Timer, ...] = ()
    audit: tuple[AuditEvent, ...] = ()
    lease_seconds: float = 30.0
    sessions: SessionConcurrency = SessionConcurrency.INTERLEAVE
    key: IdempotencyKey | None = None
    """Bound to the run in the same transaction; where it is taken, nothing is written."""


class KeyTaken(Exception):
    """The idempotency key of a new run stands for something already; nothing of the run was written."""

    def __init__(self, record: KeyRecord) -> None:
        super().__init__(f"The idempotency key stands for run {record.run_id} already.")
        self.record = record


@quick
@dataclass(frozen=True, slots=True)
class Append:
    """Events to be added to one run, with everything that they imply, in one transaction.

    Conditions, all checked in that transaction: the run's `seq` is `expected_seq`; with a `fence`, the run's fence is
    this one and its lease is held by `owner`; the run's status is not terminal (with `revive`: it may be failed);
    every task in `closed` and `escalated` is open.

    When `projection.phase` is ended, all open tasks of the run become cancelled and all its timers go; the lease ends
    too, as it does with `release`. `progress` sets the count of takeovers back to zero.
    """

    run_id: RunId
    expected_seq: int
    events: tuple[EventRow, ...]
    projection: Projection
    fence: int | None = None
    owner: Owner | None = None
    opened: tuple[HumanTask, ...] = ()
    closed: tuple[TaskClosing, ...] = ()
    escalated: tuple[TaskEscalation, ...] = ()
    abandoned: tuple[ContinuationId, ...] = ()
    """Open tasks that end with the run; told to who follows appends, while the store ends all that it finds."""
    timers: tuple[Timer, ...] = ()
    """Set; one of the same run, kind and key is replaced."""
    cleared: tuple[tuple[TimerKind, str], ...] = ()
    audit: tuple[AuditEvent, ...] = ()
    snapshot: str | None = None
    """JSON text of the folded run after the last of these events; replaces an older one."""
    release: bool = False
    revive: bool = False
    late: bool = False
    """Facts about a run that has ended already; refused (`Refusal.SEQUENCE`) while its status is not terminal."""
    progress: bool = True
    key: IdempotencyKey | None = None
    """Bound to the run, and to the first task in `closed`, in the same transaction; where it is taken, nothing is
    written (`Refusal.KEY`)."""


class Refusal(StrEnum):
    """Which condition of an append did not hold. The first of this order that applies is named."""

    KEY = "key"
    """Its idempotency key stands for something already."""
    MISSING = "missing"
    """There is no such run."""
    FENCE = "fence"
    """The lease is gone, or another worker has it."""
    ENDED = "ended"
    """The run's status is terminal."""
    SEQUENCE = "sequence"
    """Something else was appended in the meantime."""
    TASK = "task"
    """A task that was to be closed or escalated is not open."""


@quick
@dataclass(frozen=True, slots=True)
class Appended:
    """The append is durable. `seq` is the number of its last event."""

    seq: int


@quick
@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing of the append was written. `seq` and `status` are the run's own at that moment.

    `taken` is what the idempotency key stands for (`Refusal.KEY`).
    """

    reason: Refusal
    seq: int = 0
    status: RunStatus | None = None
    taken: KeyRecord | None = None


@dataclass(frozen=True, slots=True)
class ScheduleChange:
    """A schedule from one revision to the next, in one transaction with the run that it takes in and its audit.

    Nothing is written unless the schedule of this name and tenant stands at the revision `expected`; 0 means that there
    is none. `after` None removes it.
    """

    name: str
    tenant: str | None
    expected: int
    after: Schedule | None
    run: NewRun | None = None
    audit: tuple[AuditEvent, ...] = ()
