"""The store in a PostgreSQL database."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, cast

from kneo_serv.errors import InvalidRequestError, StoreError
from kneo_serv.model.audit import AuditEvent
from kneo_serv.model.idempotency import KeyRecord
from kneo_serv.model.ids import ContinuationId, Owner, PlanHash, RunId
from kneo_serv.model.page import AuditFilter, Page, RunFilter
from kneo_serv.model.quick import replace
from kneo_serv.model.run import RunRecord, SessionConcurrency
from kneo_serv.model.schedule import Schedule
from kneo_serv.model.task import HumanTask, TaskStatus
from kneo_serv.store.contract import (
    Append,
    Appended,
    Claim,
    EventRow,
    FeedItem,
    Gauges,
    Head,
    NewRun,
    Pruned,
    Refused,
    RetentionCut,
    ScheduleChange,
    Snapshot,
    StoreHealth,
    Timer,
    TimerKind,
)
from kneo_serv.store.filters import task_conditions
from kneo_serv.store.postgres import claims, leases, pages, queries, retention, schedules
from kneo_serv.store.postgres.address import parse
from kneo_serv.store.postgres.batcher import Batcher
from kneo_serv.store.postgres.connections import Connections, Link
from kneo_serv.store.postgres.feed import Feed
from kneo_serv.store.postgres.gauges import fold_counts, gauges
from kneo_serv.store.postgres.requests import addition, creation, named_claim
from kneo_serv.store.postgres.rows import audit_event, human_task, run_record
from kneo_serv.store.postgres.schema import migrate

log = logging.getLogger("kneo_serv.store")

SMALLEST_POOL, LARGEST_POOL = 2, 200
_BATCHES = 2
"""How many batches of writing are under way at a time."""
_FOLD_EVERY = 256
"""After so many batches the counts of runs are added up."""


class PostgresStore:
    """Keeps journals in one database of PostgreSQL 14 or later. Implements `kneo_serv.store.contract.Store`.

    Any number of stores, of any number of processes and machines, may work on one database at a time. All calls of one
    store come from the loop that opened it. `url` is what libpq understands (`postgresql://user:password@host/name`);
    its password is shown nowhere. `pool_size` bounds the connections of this store. `behind_pooler` is for a proxy
    that pools transactions: no statement is prepared then. `patience` says for how many seconds a call waits while the
    database is away or all connections are busy.
    """

    def __init__(self, url: str, *, pool_size: int = 8, behind_pooler: bool = False, patience: float = 5.0) -> None:
        if not SMALLEST_POOL <= pool_size <= LARGEST_POOL:
            raise InvalidRequestError(f"pool_size is {pool_size}. Use {SMALLEST_POOL} to {LARGEST_POOL}.")
        address = parse(url)
        self.place = address.place
        width = min(_BATCHES, pool_size - 1)
        self._connections = Connections(
            address, size=pool_size, reserved=width, prepared=not behind_pooler, patience=patience
        )
        self._batcher = Batcher(self._connections, width=width, written=self._written)
        self._feed = Feed(self._connections)
        self._rules = claims.RulesWatch(self._connections)
        self._batches = 0
        self._found_work = False
        self._opened = False

    async def open(self) -> None:
        """Connects, and brings the schema up to date.

        Raises:
            StoreSchemaError: the database is another program's or of a newer version.
            StoreError: it cannot be reached, or has settings with which no promise could be kept.
        """
        if self._opened:
            return

        async def prepare(link: Link) -> None:
            await migrate(link.connection, self.place)

        # Another process may be in the midst of a long migration.
        await self._connections.ask(prepare, hurry=False)
        self._opened = True

    async def close(self) -> None:
        """Finishes what was accepted, then lets go of the database. Idempotent."""
        await self._batcher.close()
        await self._connections.close()

    def new_owner(self) -> Owner:
        """A name for a worker of this process, as `claim` understands it; never the same twice."""
        return leases.new_owner()

    async def now(self) -> float:
        """The database's clock, in seconds since the epoch."""
        return await queries.now(self._database)

    async def create(self, new: NewRun) -> bool:
        """Makes a run.

        Raises:
            KeyTaken: its idempotency key is taken.
            StoreError: its id is taken, or its events are not numbered from 1.
            SessionBusyError: `sessions` is reject, and its session has a run at work.
        """
        owner = new.record.lease_owner
        if owner is None or not await self._rules.bind():
            return bool(await self._write(creation(new)))
        # Where rules hold, it is made first, and then claimed like all others; between the two it just waits.
        await self._write(creation(replace(new, record=replace(new.record, lease_owner=None))))
        in_turn = new.sessions is not SessionConcurrency.INTERLEAVE
        return bool(await self.claim(owner, lease_seconds=new.lease_seconds, run_id=new.record.id, in_turn=in_turn))

    async def append(self, append: Append) -> Appended | Refused:
        """Adds events; all or nothing, durable when it returns Appended."""
        return cast("Appended | Refused", await self._write(addition(append)))

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
        """Leases of runnable runs. A lease of somebody else ends by running out, and only so."""
        if run_id is None:
            given = await claims.claim_waiting(
                self._database,
                owner,
                lease_seconds=lease_seconds,
                limit=limit,
                in_turn=in_turn,
                queues=queues,
                hopeful=self._found_work,
            )
            # Where there was something a moment ago, there is more, most likely.
            self._found_work = bool(given)
            return given
        request = named_claim(run_id, owner, lease_seconds, in_turn=in_turn)

        async def claim() -> list[Claim]:
            return cast("list[Claim]", await self._write(request))

        return await self._rules.admitted(run_id, claim) if await self._rules.bind() else await claim()

    async def renew(self, owner: Owner, run_ids: Sequence[RunId], *, lease_seconds: float) -> frozenset[RunId]:
        """Makes the leases last; returns those that `owner` still holds."""
        return await leases.renew(self._database, owner, run_ids, lease_seconds=lease_seconds)

    async def release(self, run_id: RunId, *, owner: Owner, fence: int) -> bool:
        """Gives a lease back; False when it was lost before."""
        return await leases.release(self._database, run_id, owner=owner, fence=fence)

    async def wake(self, run_id: RunId) -> bool:
        """Makes a run that waits for a timer runnable; False when it did not wait."""
        return await leases.wake(self._database, run_id)

    async def park(self, run_id: RunId, *, owner: Owner, fence: int, fault: str) -> bool:
        """Puts a run aside and names the fault; False when the lease was lost."""
        return await leases.park(self._database, run_id, owner=owner, fence=fence, fault=fault)

    async def get_plan(self, plan_hash: PlanHash) -> str | None:
        """JSON text of a plan."""
        return await queries.one_text(self._database, "SELECT plan FROM plans WHERE hash = %s", plan_hash)

    async def events(self, run_id: RunId, *, after: int = 0, limit: int | None = None) -> Sequence[EventRow]:
        """Events with a number above `after`, in order."""
        return await queries.events(self._database, run_id, after, limit)

    async def snapshot(self, run_id: RunId) -> Snapshot | None:
        """The newest snapshot."""
        return await queries.snapshot(self._database, run_id)

    async def get_key(self, scope: str, principal: str, key: str) -> KeyRecord | None:
        """What an idempotency key stands for."""
        return await queries.find_key(self._database, scope, principal, key)

    async def feed(self, *, after: int = 0, limit: int = 500, tenant: str | None = None) -> Sequence[FeedItem]:
        """Events of all runs, or of those of a tenant, with a position above `after`, in the order of positions."""
        self._check_open()
        return await self._feed.read(after, limit, tenant)

    async def last_position(self) -> int:
        """The position up to which nothing can come in any more."""
        self._check_open()
        return await self._feed.last_position()

    async def changes(self) -> int:
        """A number that grows when a transaction has been committed in the server since, by whomever."""
        self._check_open()
        return await self._feed.changes()

    async def heads(self, run_ids: Sequence[RunId]) -> Sequence[Head]:
        """Where these runs stand, in the order of the ids; unknown ones are left out."""
        return await queries.heads(self._database, run_ids)

    async def get_run(self, run_id: RunId) -> RunRecord | None:
        """One run."""
        return await queries.get_run(self._database, run_id)

    async def list_runs(self, filters: RunFilter, page: Page, *, texts: bool = True) -> Sequence[RunRecord]:
        """Runs that pass the filter. Raises InvalidRequestError for a column that is no sort, or another's cursor."""
        rows = await pages.fetch(self._database, pages.run_page(filters, page, texts=texts))
        return [run_record(row) for row in rows]

    async def count_runs(self, filters: RunFilter, *, at_most: int | None = None) -> int:
        """How many runs pass the filter; by status and tenant alone, the answer is kept and costs nothing."""
        return await pages.count_runs(self._database, filters, at_most)

    async def gauges(self) -> Gauges:
        """How much there is just now."""
        return await gauges(self._database)

    async def runnable(self, *, limit: int = 100) -> Sequence[RunId]:
        """Runs that could be claimed now, oldest first."""
        return await leases.runnable(self._database, limit=limit)

    async def waiting(self, *, queue: str | None = None, tenant: str | None = None, at_most: int) -> int:
        """How many runs wait for a worker; at most `at_most`."""
        return await claims.waiting(self._database, queue=queue, tenant=tenant, at_most=at_most)

    async def get_task(self, continuation_id: ContinuationId) -> HumanTask | None:
        """One human task, whatever its status."""
        return await queries.get_task(self._database, continuation_id)

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
        """Human tasks; all of them without a page. Raises InvalidRequestError as `list_runs` does."""
        conditions = task_conditions(run_id, status, workflow_kind, escalated, tenant)
        return [human_task(row) for row in await pages.fetch(self._database, pages.task_page(conditions, page))]

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
        """How many human tasks; at most one more than `at_most`."""
        conditions = task_conditions(run_id, status, workflow_kind, escalated, tenant)
        return await pages.count_tasks(self._database, conditions, at_most)

    async def due_timers(
        self, *, kinds: Sequence[TimerKind], now: float | None = None, limit: int = 100
    ) -> Sequence[Timer]:
        """Timers that are due, earliest first."""
        return await queries.due_timers(self._database, kinds, now, limit)

    async def next_due(self, *, kinds: Sequence[TimerKind] | None = None) -> float | None:
        """When the earliest timer of these kinds is due."""
        return await queries.next_due(self._database, tuple(TimerKind) if kinds is None else kinds)

    async def change_schedule(self, change: ScheduleChange) -> bool:
        """Makes, changes or removes a schedule, and takes in the run that is due; raises as `create`."""
        return await schedules.change(self._database, change)

    async def get_schedule(self, name: str, *, tenant: str | None) -> Schedule | None:
        """The schedule of this name that belongs to this tenant, or to none."""
        return await schedules.get(self._database, name, tenant)

    async def list_schedules(self, *, tenant: str | None = None, limit: int = 1000) -> Sequence[Schedule]:
        """Schedules by name, then by tenant."""
        return await schedules.some(self._database, tenant, limit)

    async def due_schedules(self, *, now: float | None = None, limit: int = 100) -> Sequence[Schedule]:
        """Schedules whose moment has come, earliest first."""
        return await schedules.due(self._database, now, limit)

    async def add_audit(self, events: Sequence[AuditEvent]) -> None:
        """Writes audit events that belong to no append."""
        await queries.add_audit(self._database, events)

    async def list_audit(self, filters: AuditFilter, page: Page | None = None) -> Sequence[AuditEvent]:
        """Audit events; without a page the newest 100. Raises InvalidRequestError as `list_runs` does."""
        rows = await pages.fetch(self._database, pages.audit_page(filters, page or Page()))
        return [audit_event(row) for row in rows]

    async def count_audit(self, filters: AuditFilter, *, at_most: int | None = None) -> int:
        """How many audit events; at most one more than `at_most`."""
        return await pages.count_audit(self._database, filters, at_most)

    async def get_document(self, kind: str, name: str) -> str | None:
        """A small named document."""
        query = "SELECT text FROM documents WHERE kind = %s AND name = %s"
        return await queries.one_text(self._database, query, kind, name)

    async def put_document(self, kind: str, name: str, text: str | None) -> None:
        """Sets a document, or removes it with None."""
        await self.swap_document(kind, name, text)

    async def swap_document(self, kind: str, name: str, text: str | None) -> str | None:
        """Sets a document, or removes it with None; what was there right before."""
        before = await queries.swap_document(self._database, kind, name, text)
        self._rules.changed()
        return before

    async def change_document(self, kind: str, name: str, *, before: str | None, after: str | None) -> bool:
        """Sets a document, or removes it with None, where it still reads `before`; whether it did."""
        done = await queries.change_document(self._database, kind, name, before, after)
        self._rules.changed()
        return done

    async def list_documents(self, kind: str) -> Mapping[str, str]:
        """All documents of a kind by name."""
        return await queries.list_documents(self._database, kind)

    async def claim_duty(self, name: str, *, every: float) -> bool:
        """Whether it is this caller's turn. A clock that went back far does not put the turn off for long."""
        return await leases.claim_duty(self._database, name, every=every)

    async def prune(self, cut: RetentionCut, *, dry_run: bool = False) -> Pruned:
        """Removes what is old enough, in transactions of some hundred rows between which others get their turn."""
        if dry_run:
            return await retention.measure(self._database, cut)
        return await retention.prune(self._database, cut)

    async def delete_run(self, run_id: RunId, *, audit: Sequence[AuditEvent] = ()) -> bool:
        """Removes a run that has ended, with all that is its own but its audit."""
        return await retention.delete_run(self._database, run_id, audit)

    async def health(self) -> StoreHealth:
        """A round trip to the database, and what it says of itself; sizes in bytes, the latency in seconds."""
        return await queries.health(self._database)

    @property
    def _database(self) -> Connections:
        self._check_open()
        return self._connections

    def _check_open(self) -> None:
        if not self._opened:
            raise StoreError(f"The store of {self.place} is not open. Call open() before it is used.")

    async def _write(self, request: Any) -> Any:
        self._check_open()
        return await self._batcher.submit(request)

    async def _written(self) -> None:
        """Looks after the counts of runs now and then."""
        self._batches += 1
        if self._batches % _FOLD_EVERY == 0:
            try:
                await fold_counts(self._connections)
            except StoreError as error:
                # The callers have their answers, and the sums are right without it.
                log.warning("Adding up the counts of runs failed: %s", error)
