"""What every store does. One contract, one suite (`kneo_serv.testing.store_suite`), several databases behind it.

The store keeps and never decides: it checks the conditions that an append names (sequence, fence, status, open tasks)
in the same transaction that writes, and says which of them did not hold. All times that lease and deadlines depend on
come from the database's clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from kneo_serv.model.audit import AuditEvent
from kneo_serv.model.idempotency import IdempotencyKey, KeyRecord
from kneo_serv.model.ids import ContinuationId, Owner, PlanHash, RunId
from kneo_serv.model.page import AuditFilter, Page, RunFilter
from kneo_serv.model.run import Phase, RunRecord, RunStatus, SessionConcurrency
from kneo_serv.model.task import Decision, HumanTask, TaskStatus


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


@dataclass(frozen=True, slots=True)
class Timer:
    """A stored moment (seconds since the epoch). `key` is the step key, the continuation id, or empty for the run."""

    run_id: RunId
    kind: TimerKind
    key: str
    due_at: float


@dataclass(frozen=True, slots=True)
class TaskClosing:
    """A task is no longer open. The append is refused (`Refusal.TASK`) when it was not open."""

    continuation_id: ContinuationId
    status: TaskStatus
    at: float
    decision: Decision | None = None
    actor: str | None = None


@dataclass(frozen=True, slots=True)
class TaskEscalation:
    """An open task is marked as escalated. Refused (`Refusal.TASK`) when it is not open or marked already."""

    continuation_id: ContinuationId
    escalated_at: float


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


@dataclass(frozen=True, slots=True)
class Appended:
    """The append is durable. `seq` is the number of its last event."""

    seq: int


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
class Claim:
    """A lease that was given. `takeover` says that another owner's lease had run out; `takeovers` counts them."""

    run_id: RunId
    fence: int
    takeover: bool = False
    takeovers: int = 0


@dataclass(frozen=True, slots=True)
class Head:
    """Where a run stands, in one glance."""

    run_id: RunId
    seq: int
    status: RunStatus
    phase: Phase
    fence: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A folded run, as JSON text, after its event `seq`."""

    seq: int
    state: str


@dataclass(frozen=True, slots=True)
class FeedItem:
    """An event of any run with its durable position in the order of commits."""

    position: int
    run_id: RunId
    row: EventRow


@dataclass(frozen=True, slots=True)
class RetentionCut:
    """What is old enough to go: moments in seconds since the epoch; None keeps all of that sort.

    Only terminal runs of one of `run_statuses` and only events, tasks and audit of what has ended are ever removed.
    Idempotency keys go with their runs, and beyond that by their own age alone.
    """

    runs_before: float | None = None
    run_statuses: tuple[RunStatus, ...] = ()
    events_before: float | None = None
    tasks_before: float | None = None
    audit_before: float | None = None
    keys_before: float | None = None


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many rows went."""

    runs: int = 0
    events: int = 0
    tasks: int = 0
    audit: int = 0
    keys: int = 0


@dataclass(frozen=True, slots=True)
class Gauges:
    """How much there is just now. Moments are seconds since the epoch, None where there is nothing."""

    runs: Mapping[RunStatus, int]
    """By status; a status without runs is there with 0."""
    queued: int
    """Runs that could be claimed now."""
    oldest_queued_at: float | None
    """When the first of them was created."""
    open_tasks: int
    oldest_open_task_at: float | None
    """When the first of them was asked."""
    leases: int
    """Runs that are executed now: those under a live lease."""


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """What an operator wants to know: backend name, schema version, durable settings, sizes."""

    backend: str
    schema_version: int
    facts: Mapping[str, Any] = field(default_factory=dict)


class Store(Protocol):
    """Keeper of journals. All methods are coroutines, safe to call from many tasks of one loop.

    Every method raises StoreError when the database cannot do it (disk full, locked beyond patience, gone), in words
    that name the database and the mend; nothing of the call is written then.
    """

    async def open(self) -> None:
        """Connects, and brings the schema up to date. Raises StoreSchemaError for a foreign or newer database."""
        ...

    async def close(self) -> None:
        """Finishes what was accepted, then lets go of the database. Idempotent."""
        ...

    def new_owner(self) -> Owner:
        """A name for a worker of this process, as `claim` understands it; never the same twice."""
        ...

    async def now(self) -> float:
        """The database's clock, in seconds since the epoch."""
        ...

    async def create(self, new: NewRun) -> bool:
        """Makes a run; whether it was born leased.

        Runs of one session are runs of one tenant with one `session_id`; those without a tenant are among themselves.

        Raises:
            KeyTaken: its idempotency key is taken. This is looked at first.
            StoreError: its id is taken.
            SessionBusyError: `sessions` is reject, and its session has a run at work.
        """
        ...

    async def append(self, append: Append) -> Appended | Refused:
        """Adds events; all or nothing, durable when it returns Appended."""
        ...

    async def claim(
        self,
        owner: Owner,
        *,
        lease_seconds: float,
        limit: int = 1,
        run_id: RunId | None = None,
        in_turn: bool = False,
    ) -> Sequence[Claim]:
        """Leases of up to `limit` runs (or of this one) that are runnable and leased to nobody, or whose lease ran out.

        Oldest first by creation. Increments the fence. On an embedded database a lease of a local process that is
        dead ends at once; a run that `owner` itself holds is never given to it again.

        With `in_turn`, a run that has not begun (`started_at`) is passed over while an earlier run of its session (by
        creation) is runnable, leased or waits for a timer. A run that has begun never waits for another one.
        """
        ...

    async def renew(self, owner: Owner, run_ids: Sequence[RunId], *, lease_seconds: float) -> frozenset[RunId]:
        """Makes the leases last `lease_seconds` from now; returns those that `owner` still holds."""
        ...

    async def release(self, run_id: RunId, *, owner: Owner, fence: int) -> bool:
        """Gives a lease back; False when it was lost before."""
        ...

    async def wake(self, run_id: RunId) -> bool:
        """Makes a run that waits for a timer runnable and clears its retry timers; False when it did not wait."""
        ...

    async def park(self, run_id: RunId, *, owner: Owner, fence: int, fault: str) -> bool:
        """Puts a run aside that cannot be folded or decided, names the fault, ends the lease; False when it was lost.

        A later append with `revive` clears it.
        """
        ...

    async def get_plan(self, plan_hash: PlanHash) -> str | None:
        """JSON text of a plan."""
        ...

    async def events(self, run_id: RunId, *, after: int = 0, limit: int | None = None) -> Sequence[EventRow]:
        """Events with a number above `after`, in order."""
        ...

    async def snapshot(self, run_id: RunId) -> Snapshot | None:
        """The newest snapshot."""
        ...

    async def get_key(self, scope: str, principal: str, key: str) -> KeyRecord | None:
        """What an idempotency key stands for; None when nobody has used it (or not for as long as keys are kept)."""
        ...

    async def feed(self, *, after: int = 0, limit: int = 500, tenant: str | None = None) -> Sequence[FeedItem]:
        """Events of all runs, or of those of a tenant, with a position above `after`, in the order of commits.

        Never skips one, and no position is ever given to two events. Fewer than `limit` means that there were no more
        when it was asked; one who reads for a tenant may then go on from what `last_position` said before.
        """
        ...

    async def last_position(self) -> int:
        """The highest position so far, as the feed counts; 0 while there was no event."""
        ...

    async def changes(self) -> int:
        """A number that differs from the last one when another process or connection has committed since."""
        ...

    async def heads(self, run_ids: Sequence[RunId]) -> Sequence[Head]:
        """Where these runs stand; unknown ones are left out."""
        ...

    async def get_run(self, run_id: RunId) -> RunRecord | None:
        """One run."""
        ...

    async def list_runs(self, filters: RunFilter, page: Page, *, texts: bool = True) -> Sequence[RunRecord]:
        """Runs that pass the filter; ties in the sort are broken by id.

        Without `texts`, what may be long is neither read nor given: input and output (empty or None), tags and
        metadata (empty).
        """
        ...

    async def count_runs(self, filters: RunFilter, *, at_most: int | None = None) -> int:
        """How many runs pass the filter; with `at_most`, one more than that stands for any larger number."""
        ...

    async def gauges(self) -> Gauges:
        """How much there is just now, at a cost that does not grow with the history."""
        ...

    async def runnable(self, *, limit: int = 100) -> Sequence[RunId]:
        """Runs that could be claimed now, oldest first."""
        ...

    async def get_task(self, continuation_id: ContinuationId) -> HumanTask | None:
        """One human task, whatever its status."""
        ...

    async def list_tasks(
        self,
        *,
        run_id: RunId | None = None,
        status: TaskStatus | None = TaskStatus.OPEN,
        workflow_kind: str | None = None,
        escalated: bool | None = None,
        tenant: str | None = None,
        page: Page | None = None,
    ) -> Sequence[HumanTask]:
        """Human tasks, all of them without a page. None asks for nothing, also as the status."""
        ...

    async def count_tasks(
        self,
        *,
        run_id: RunId | None = None,
        status: TaskStatus | None = TaskStatus.OPEN,
        workflow_kind: str | None = None,
        escalated: bool | None = None,
        tenant: str | None = None,
        at_most: int | None = None,
    ) -> int:
        """How many human tasks; `at_most` as with `count_runs`."""
        ...

    async def due_timers(
        self, *, kinds: Sequence[TimerKind], now: float | None = None, limit: int = 100
    ) -> Sequence[Timer]:
        """Timers that are due (strictly before `now`; None means the database's clock), earliest first."""
        ...

    async def next_due(self) -> float | None:
        """When the earliest timer is due."""
        ...

    async def add_audit(self, events: Sequence[AuditEvent]) -> None:
        """Writes audit events that belong to no append."""
        ...

    async def list_audit(self, filters: AuditFilter, page: Page | None = None) -> Sequence[AuditEvent]:
        """Audit events; without a page the newest 100. Those of one moment are in the order in which they were written.

        Only so far they differ from other lists: the id in a cursor stands for its event's place in that order.
        """
        ...

    async def count_audit(self, filters: AuditFilter, *, at_most: int | None = None) -> int:
        """How many audit events; `at_most` as with `count_runs`."""
        ...

    async def get_document(self, kind: str, name: str) -> str | None:
        """A small named document (JSON text), such as the policy of an environment."""
        ...

    async def put_document(self, kind: str, name: str, text: str | None) -> None:
        """Sets a document, or removes it with None."""
        ...

    async def swap_document(self, kind: str, name: str, text: str | None) -> str | None:
        """Sets a document, or removes it with None; what was there right before, so that no change goes unseen."""
        ...

    async def list_documents(self, kind: str) -> Mapping[str, str]:
        """All documents of a kind by name."""
        ...

    async def prune(self, cut: RetentionCut) -> Pruned:
        """Removes what is old enough, in bounded transactions."""
        ...

    async def health(self) -> StoreHealth:
        """A round trip to the database and what it says of itself."""
        ...
