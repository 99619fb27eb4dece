"""What every store does. One contract, one suite (`kneo_serv.testing.store_suite`), several databases behind it.

The store keeps and never decides: it checks the conditions that an append names (sequence, fence, status, open tasks)
in the same transaction that writes, and says which of them did not hold. All times that lease and deadlines depend on
come from the database's clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from kneo_serv.model.audit import AuditEvent
from kneo_serv.model.idempotency import KeyRecord
from kneo_serv.model.ids import ContinuationId, Owner, PlanHash, RunId
from kneo_serv.model.page import AuditFilter, Page, RunFilter
from kneo_serv.model.quick import quick
from kneo_serv.model.run import Phase, RunRecord, RunStatus
from kneo_serv.model.schedule import Schedule
from kneo_serv.model.task import HumanTask, TaskStatus
from kneo_serv.store.writes import (
    Append,
    Appended,
    EventRow,
    KeyTaken,
    NewRun,
    Projection,
    Refusal,
    Refused,
    ScheduleChange,
    TaskClosing,
    TaskEscalation,
    Timer,
    TimerKind,
)

__all__ = [
    "Append",
    "Appended",
    "Claim",
    "EventRow",
    "FeedItem",
    "Gauges",
    "Head",
    "KeyTaken",
    "NewRun",
    "Projection",
    "Pruned",
    "Refusal",
    "Refused",
    "RetentionCut",
    "ScheduleChange",
    "Snapshot",
    "Store",
    "StoreHealth",
    "TaskClosing",
    "TaskEscalation",
    "Timer",
    "TimerKind",
]


@quick
@dataclass(frozen=True, slots=True)
class Claim:
    """A lease that was given. `takeover` says that another owner's lease had run out; `takeovers` counts them."""

    run_id: RunId
    fence: int
    takeover: bool = False
    takeovers: int = 0


@quick
@dataclass(frozen=True, slots=True)
class Head:
    """Where a run stands, in one glance."""

    run_id: RunId
    seq: int
    status: RunStatus
    phase: Phase
    fence: int


@quick
@dataclass(frozen=True, slots=True)
class Snapshot:
    """A folded run, as JSON text, after its event `seq`."""

    seq: int
    state: str


@quick
@dataclass(frozen=True, slots=True)
class FeedItem:
    """An event of any run with its durable position in the order of commits."""

    position: int
    run_id: RunId
    row: EventRow


@quick
@dataclass(frozen=True, slots=True)
class RetentionCut:
    """What is old enough to go: moments in seconds since the epoch; None keeps all of that sort.

    A run, and the events of one, are as old as its last change (`updated_at`). Only terminal runs of one of
    `run_statuses` and only events, tasks and audit of what has ended are ever removed. Idempotency keys go with their
    runs, and beyond that by their own age alone.
    """

    runs_before: float | None = None
    run_statuses: tuple[RunStatus, ...] = ()
    events_before: float | None = None
    tasks_before: float | None = None
    audit_before: float | None = None
    keys_before: float | None = None


@quick
@dataclass(frozen=True, slots=True)
class Pruned:
    """How many rows went."""

    runs: int = 0
    events: int = 0
    tasks: int = 0
    audit: int = 0
    keys: int = 0


@quick
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
    queues: Mapping[str, int] = field(default_factory=dict)
    """Runs that wait for a worker, by queue; those without any are left out."""


@quick
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
        """Makes a run; whether it was born leased, which it is not where the rules of `claim` do not admit it now.

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
        queues: Sequence[str] | None = None,
    ) -> Sequence[Claim]:
        """Leases of up to `limit` runs (or of this one) that are runnable and leased to nobody, or whose lease ran out.

        Only runs of these `queues` (None: of all; the one that is named by `run_id` in any case), and only those that
        the rules admit: the limits in the document `fleet` of the kind `limits`, and the states and rates of the
        providers that a run needs (documents of the kinds `provider` and `provider_rate`; see `store.admission`). What
        is not admitted stays as it is. The next lease is for the tenant with the fewest runs under a lease, of several
        for the one whose last turn is the longest ago; of a tenant's runs the one with the highest priority goes
        first, then the oldest by creation. The cost does not grow with the number of runs that wait.

        Increments the fence. On an embedded database a lease of a local process that is
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

    async def waiting(self, *, queue: str | None = None, tenant: str | None = None, at_most: int) -> int:
        """How many runs wait for a worker, in this queue or of this tenant or at all; `at_most` stands for any more."""
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

    async def next_due(self, *, kinds: Sequence[TimerKind] | None = None) -> float | None:
        """When the earliest timer of these kinds (None means of any) is due."""
        ...

    async def change_schedule(self, change: ScheduleChange) -> bool:
        """Makes, changes or removes a schedule, and takes in the run that is due; False when it stood elsewhere.

        Raises as `create` when the run cannot be taken in; nothing is written then.
        """
        ...

    async def get_schedule(self, name: str, *, tenant: str | None) -> Schedule | None:
        """The schedule of this name that belongs to this tenant, or to none."""
        ...

    async def list_schedules(self, *, tenant: str | None = None, limit: int = 1000) -> Sequence[Schedule]:
        """Schedules of this tenant (`NO_TENANT`: of none; None: all there are), by name, then by tenant."""
        ...

    async def due_schedules(self, *, now: float | None = None, limit: int = 100) -> Sequence[Schedule]:
        """Schedules whose `look_at` has come (not after `now`; None means the database's clock), earliest first."""
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

    async def change_document(self, kind: str, name: str, *, before: str | None, after: str | None) -> bool:
        """Sets a document, or removes it with None, where it still reads `before` (None: is not there).

        Whether it did; of several who begin with the same text, one does.
        """
        ...

    async def list_documents(self, kind: str) -> Mapping[str, str]:
        """All documents of a kind by name."""
        ...

    async def claim_duty(self, name: str, *, every: float) -> bool:
        """Whether it is this caller's turn: `every` seconds have passed since anybody had it. Of many, one has it."""
        ...

    async def prune(self, cut: RetentionCut, *, dry_run: bool = False) -> Pruned:
        """Removes what is old enough, in bounded transactions between which others get their turn.

        With `dry_run`, only tells how much that would be now.
        """
        ...

    async def delete_run(self, run_id: RunId, *, audit: Sequence[AuditEvent] = ()) -> bool:
        """Removes a run with all that is its own but its audit; False when it is not there, or its status not terminal.

        `audit` is written in the same transaction.
        """
        ...

    async def health(self) -> StoreHealth:
        """A round trip to the database and what it says of itself."""
        ...
