"""The store in one SQLite file."""

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from kneo_serv.errors import InvalidRequestError, StoreError
from kneo_serv.model.audit import AuditEvent
from kneo_serv.model.idempotency import KeyRecord
from kneo_serv.model.ids import ContinuationId, Owner, PlanHash, RunId
from kneo_serv.model.page import AuditFilter, Page, RunFilter
from kneo_serv.model.run import RunRecord
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
from kneo_serv.store.jsontext import array
from kneo_serv.store.sqlite import claims, leases, pages, queries, retention, schedules
from kneo_serv.store.sqlite.batch import ADD_AUDIT, apply
from kneo_serv.store.sqlite.checkpoints import Checkpointer
from kneo_serv.store.sqlite.connection import SYNCHRONOUS, connect, prepare_file
from kneo_serv.store.sqlite.faults import translate
from kneo_serv.store.sqlite.gauges import gauges
from kneo_serv.store.sqlite.keys import find_keys
from kneo_serv.store.sqlite.owner import JumpWatch, local_owner
from kneo_serv.store.sqlite.pruning import prune
from kneo_serv.store.sqlite.readers import Query, Readers
from kneo_serv.store.sqlite.requests import NamedClaim, Work, addition, audit_row, creation
from kneo_serv.store.sqlite.schema import SCHEMA_VERSION
from kneo_serv.store.sqlite.writer import Writer

log = logging.getLogger("kneo_serv.store")

_READERS = 3


class SQLiteStore:
    """Keeps journals in one file on a local disk. Implements `kneo_serv.store.contract.Store`.

    Several stores, also of several processes, may work on one file at a time. `synchronous` is FULL (every append
    survives a loss of power), NORMAL (the last ones may be lost then, never after a mere crash), EXTRA or OFF.
    `busy_timeout` says for how many seconds a call waits while another process holds the lock.
    """

    def __init__(self, path: str | os.PathLike[str], *, synchronous: str = "FULL", busy_timeout: float = 5.0) -> None:
        if synchronous.upper() not in SYNCHRONOUS:
            raise InvalidRequestError(f"synchronous is {synchronous!r}. Use one of {', '.join(SYNCHRONOUS)}.")
        self.path = Path(path).expanduser().absolute()
        self._synchronous = synchronous.upper()
        self._patience = busy_timeout
        self._writer: Writer | None = None
        self._readers: Readers | None = None
        self._watcher: Readers | None = None
        self._checkpointer: Checkpointer | None = None
        self._jumps = JumpWatch()

    async def open(self) -> None:
        """Makes or checks the file, brings its schema up to date and starts the threads."""
        if self._writer is None:
            await asyncio.get_running_loop().run_in_executor(None, self._open)

    def _open(self) -> None:
        prepare_file(self.path, synchronous=self._synchronous, patience=self._patience)
        try:
            # Checkpoints are made by a thread of their own, so that no append waits for one.
            connection = connect(self.path, pragmas={"synchronous": self._synchronous, "wal_autocheckpoint": 0})
            self._checkpointer = Checkpointer(self.path, synchronous=self._synchronous)
            self._readers = Readers(self.path, count=_READERS, patience=self._patience)
            self._watcher = Readers(self.path, count=1, patience=self._patience)
            self._writer = Writer(
                connection, self.path, apply, patience=self._patience, committed=self._checkpointer.committed
            )
        except sqlite3.Error as error:
            raise translate(error, self.path) from error

    async def close(self) -> None:
        """Finishes what was accepted, then lets go of the file. Idempotent."""
        for part in (self._writer, self._readers, self._watcher, self._checkpointer):
            if part is not None:
                await part.close()

    def new_owner(self) -> Owner:
        """A name for a worker of this process, as `claim` understands it; never the same twice."""
        return local_owner()

    async def now(self) -> float:
        """The host's clock, which is the clock of an embedded database."""
        return time.time()

    async def create(self, new: NewRun) -> bool:
        """Makes a run.

        Raises:
            KeyTaken: its idempotency key is taken.
            StoreError: its id is taken, or its events are not numbered from 1.
            SessionBusyError: `sessions` is reject, and its session has a run at work.
        """
        return bool(await self._write(creation(new)))

    async def append(self, append: Append) -> Appended | Refused:
        """Adds events; all or nothing, on disk when it returns Appended."""
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
        """Leases of runnable runs; leases of dead processes of this machine are free at once."""
        if run_id is not None:
            return cast("list[Claim]", await self._write(NamedClaim(run_id, owner, lease_seconds, in_turn)))
        return await self._work(
            partial(
                claims.claim_waiting,
                owner=owner,
                lease_seconds=lease_seconds,
                limit=limit,
                in_turn=in_turn,
                queues=queues,
            )
        )

    async def renew(self, owner: Owner, run_ids: Sequence[RunId], *, lease_seconds: float) -> frozenset[RunId]:
        """Makes the leases last; returns those that `owner` still holds. Logs it when the wall clock jumped."""
        jump = self._jumps.jump()
        if jump is not None:
            log.warning(
                "The clock of this machine jumped by %+.1f s: leases on %s may end early or late once", jump, self.path
            )
        return await self._work(partial(leases.renew, owner=owner, run_ids=run_ids, lease_seconds=lease_seconds))

    async def release(self, run_id: RunId, *, owner: Owner, fence: int) -> bool:
        """Gives a lease back; False when it was lost before."""
        return await self._work(partial(leases.release, run_id=run_id, owner=owner, fence=fence))

    async def wake(self, run_id: RunId) -> bool:
        """Makes a run that waits for a timer runnable; False when it did not wait."""
        return await self._work(partial(leases.wake, run_id=run_id))

    async def park(self, run_id: RunId, *, owner: Owner, fence: int, fault: str) -> bool:
        """Puts a run aside and names the fault; False when the lease was lost."""
        return await self._work(partial(leases.park, run_id=run_id, owner=owner, fence=fence, fault=fault))

    async def get_plan(self, plan_hash: PlanHash) -> str | None:
        """JSON text of a plan."""
        return await self._read(lambda db: queries.one_text(db, "SELECT plan FROM plans WHERE hash = ?", plan_hash))

    async def events(self, run_id: RunId, *, after: int = 0, limit: int | None = None) -> Sequence[EventRow]:
        """Events with a number above `after`, in order."""
        return await self._read(lambda db: queries.events(db, run_id, after, limit))

    async def snapshot(self, run_id: RunId) -> Snapshot | None:
        """The newest snapshot."""
        return await self._read(lambda db: queries.snapshot(db, run_id))

    async def get_key(self, scope: str, principal: str, key: str) -> KeyRecord | None:
        """What an idempotency key stands for."""
        name = (scope, principal, key)
        found = await self._read(lambda db: find_keys(db, [name]))
        return found.get(name)

    async def feed(self, *, after: int = 0, limit: int = 500, tenant: str | None = None) -> Sequence[FeedItem]:
        """Events of all runs, or of those of a tenant, with a position above `after`, in the order of commits."""
        items: list[FeedItem] = []
        begin: int | None = after
        while begin is not None and len(items) < limit:
            # In stretches, so that a tenant who has little to read holds up no other reader.
            found, begin = await self._read(partial(queries.feed, after=begin, limit=limit - len(items), tenant=tenant))
            items += found
        return items

    async def last_position(self) -> int:
        """The highest position so far."""
        return await self._read(queries.last_position)

    async def changes(self) -> int:
        """A number that grows with each commit to the file by any store or process, this one too."""
        if self._watcher is None:
            raise self._not_open()
        # Always the same connection: the number means nothing to another one.
        return await self._watcher.ask(lambda db: int(db.execute("PRAGMA data_version").fetchone()[0]))

    async def heads(self, run_ids: Sequence[RunId]) -> Sequence[Head]:
        """Where these runs stand, in the order of the ids; unknown ones are left out."""
        return await self._read(lambda db: queries.heads(db, run_ids))

    async def get_run(self, run_id: RunId) -> RunRecord | None:
        """One run."""
        return await self._read(lambda db: queries.get_run(db, run_id))

    async def list_runs(self, filters: RunFilter, page: Page, *, texts: bool = True) -> Sequence[RunRecord]:
        """Runs that pass the filter. Raises InvalidRequestError for a column that is no sort, or another's cursor."""
        return await self._read(lambda db: queries.list_runs(db, filters, page, texts=texts))

    async def count_runs(self, filters: RunFilter, *, at_most: int | None = None) -> int:
        """How many runs pass the filter; by status and tenant alone, the answer is kept and costs nothing."""
        return await self._read(lambda db: pages.count_runs(db, filters, at_most))

    async def gauges(self) -> Gauges:
        """How much there is just now."""
        return await self._read(gauges)

    async def runnable(self, *, limit: int = 100) -> Sequence[RunId]:
        """Runs that could be claimed now, oldest first."""
        return await self._read(lambda db: leases.runnable(db, limit=limit))

    async def waiting(self, *, queue: str | None = None, tenant: str | None = None, at_most: int) -> int:
        """How many runs wait for a worker; at most `at_most`."""
        return await self._read(lambda db: claims.waiting(db, queue=queue, tenant=tenant, at_most=at_most))

    async def get_task(self, continuation_id: ContinuationId) -> HumanTask | None:
        """One human task, whatever its status."""
        return await self._read(lambda db: queries.get_task(db, continuation_id))

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
        return await self._read(lambda db: queries.list_tasks(db, conditions, page))

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
        return await self._read(lambda db: pages.count_tasks(db, conditions, at_most))

    async def due_timers(
        self, *, kinds: Sequence[TimerKind], now: float | None = None, limit: int = 100
    ) -> Sequence[Timer]:
        """Timers that are due, earliest first."""
        moment = time.time() if now is None else now
        return await self._read(lambda db: queries.due_timers(db, kinds, moment, limit))

    async def next_due(self, *, kinds: Sequence[TimerKind] | None = None) -> float | None:
        """When the earliest timer of these kinds is due."""
        wanted = tuple(TimerKind) if kinds is None else kinds
        return await self._read(lambda db: queries.next_due(db, wanted))

    async def change_schedule(self, change: ScheduleChange) -> bool:
        """Makes, changes or removes a schedule, and takes in the run that is due; raises as `create`."""
        request = None if change.run is None else creation(change.run)
        return bool(await self._work(lambda db: schedules.change(db, change, request)))

    async def get_schedule(self, name: str, *, tenant: str | None) -> Schedule | None:
        """The schedule of this name that belongs to this tenant, or to none."""
        return await self._read(lambda db: schedules.get(db, name, tenant))

    async def list_schedules(self, *, tenant: str | None = None, limit: int = 1000) -> Sequence[Schedule]:
        """Schedules by name, then by tenant."""
        return await self._read(lambda db: schedules.some(db, tenant, limit))

    async def due_schedules(self, *, now: float | None = None, limit: int = 100) -> Sequence[Schedule]:
        """Schedules whose moment has come, earliest first."""
        moment = time.time() if now is None else now
        return await self._read(lambda db: schedules.due(db, moment, limit))

    async def add_audit(self, events: Sequence[AuditEvent]) -> None:
        """Writes audit events that belong to no append."""
        if events:
            rows = array([audit_row(event) for event in events])
            await self._work(lambda db: db.execute(ADD_AUDIT, (rows,)).rowcount)

    async def list_audit(self, filters: AuditFilter, page: Page | None = None) -> Sequence[AuditEvent]:
        """Audit events; without a page the newest 100. Raises InvalidRequestError as `list_runs` does."""
        return await self._read(lambda db: queries.list_audit(db, filters, page or Page()))

    async def count_audit(self, filters: AuditFilter, *, at_most: int | None = None) -> int:
        """How many audit events; at most one more than `at_most`."""
        return await self._read(lambda db: pages.count_audit(db, filters, at_most))

    async def get_document(self, kind: str, name: str) -> str | None:
        """A small named document."""
        query = "SELECT text FROM documents WHERE kind = ? AND name = ?"
        return await self._read(lambda db: queries.one_text(db, query, kind, name))

    async def put_document(self, kind: str, name: str, text: str | None) -> None:
        """Sets a document, or removes it with None."""
        await self.swap_document(kind, name, text)

    async def swap_document(self, kind: str, name: str, text: str | None) -> str | None:
        """Sets a document, or removes it with None; what was there right before."""
        return await self._work(lambda db: queries.swap_document(db, kind, name, text))

    async def change_document(self, kind: str, name: str, *, before: str | None, after: str | None) -> bool:
        """Sets a document, or removes it with None, where it still reads `before`; whether it did."""
        return await self._work(lambda db: queries.change_document(db, kind, name, before, after))

    async def list_documents(self, kind: str) -> Mapping[str, str]:
        """All documents of a kind by name."""
        return await self._read(lambda db: queries.list_documents(db, kind))

    async def claim_duty(self, name: str, *, every: float) -> bool:
        """Whether it is this caller's turn. A clock that went back far does not put the turn off for long."""
        query = (
            "INSERT INTO duties (name, claimed_at) VALUES (:name, :now) ON CONFLICT (name) DO UPDATE"
            " SET claimed_at = :now WHERE claimed_at <= :now - :every OR claimed_at > :now + :every"
        )

        def claim(db: sqlite3.Connection) -> bool:
            # The clock is read under the lock, so that moments are in the order of the claims.
            return bool(db.execute(query, {"name": name, "now": time.time(), "every": every}).rowcount)

        return await self._work(claim)

    async def prune(self, cut: RetentionCut, *, dry_run: bool = False) -> Pruned:
        """Removes what is old enough; see `kneo_serv.store.sqlite.pruning`."""
        if dry_run:
            return await self._read(lambda db: retention.measure(db, cut))
        return await prune(cut, read=self._read, work=self._work)

    async def delete_run(self, run_id: RunId, *, audit: Sequence[AuditEvent] = ()) -> bool:
        """Removes a run that has ended, with all that is its own but its audit."""
        rows = array([audit_row(event) for event in audit])

        def remove(db: sqlite3.Connection) -> bool:
            # The audit takes its tenant from the run, which must still be there.
            (over,) = db.execute(retention.IS_OVER, {"id": run_id, "terminal": retention.TERMINAL_TEXT}).fetchone()
            if over:
                db.execute(ADD_AUDIT, (rows,))
                retention.remove_runs(db, [run_id])
            return bool(over)

        return await self._work(remove)

    async def health(self) -> StoreHealth:
        """What the writer's own connection says of itself, and the sizes of the files in bytes."""
        facts = await self._work(_settings)
        facts |= await self._read(lambda _: _sizes(self.path))
        return StoreHealth(backend="sqlite", schema_version=SCHEMA_VERSION, facts=facts)

    async def _write(self, request: Any) -> Any:
        if self._writer is None:
            raise self._not_open()
        return await self._writer.submit(request)

    async def _work[T](self, run: Callable[[sqlite3.Connection], T]) -> T:
        return cast("T", await self._write(Work(run)))

    async def _read[T](self, query: Query[T]) -> T:
        if self._readers is None:
            raise self._not_open()
        return await self._readers.ask(query)

    def _not_open(self) -> StoreError:
        return StoreError(f"The store of {self.path} is not open. Call open() before it is used.")


def _sizes(path: Path) -> dict[str, Any]:
    wal = Path(f"{path}-wal")
    return {
        "path": str(path),
        "file_bytes": path.stat().st_size,
        "wal_bytes": wal.stat().st_size if wal.exists() else 0,
    }


def _settings(connection: sqlite3.Connection) -> dict[str, Any]:
    def pragma(name: str) -> Any:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]

    levels = {number: name for name, number in SYNCHRONOUS.items()}
    return {
        "sqlite_version": sqlite3.sqlite_version,
        "journal_mode": pragma("journal_mode"),
        "synchronous": levels[pragma("synchronous")],
        "page_count": pragma("page_count"),
        "page_size": pragma("page_size"),
    }
