"""The platform: the use cases, in asynchronous form, on a loop of its own."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from typing import Any

from kneo_serv.dispatch import DispatcherFactory, EmbeddedDispatcher
from kneo_serv.engine import posture
from kneo_serv.errors import InvalidRequestError, LockAcquisitionError, NotFoundError, RunStateConflictError
from kneo_serv.model import event as ev
from kneo_serv.model.clock import Clock
from kneo_serv.model.idempotency import IdempotencyKey
from kneo_serv.model.ids import ContinuationId, RunId
from kneo_serv.model.quick import replace
from kneo_serv.model.run import Phase, RunRecord, RunResult, RunStatus
from kneo_serv.model.task import HumanResponse
from kneo_serv.platform.answers import public_history, result_at, result_of, view_of
from kneo_serv.platform.auditing import audit_event
from kneo_serv.platform.chance import RandomIds, SystemClock
from kneo_serv.platform.draft import Draft
from kneo_serv.platform.equipment import Runtimes
from kneo_serv.platform.export import export_lines
from kneo_serv.platform.feed import Feed, FeedFilter, FeedStretch
from kneo_serv.platform.fleet import Fleet
from kneo_serv.platform.forking import AgentProblem, Forked, ForkRequest, Forks
from kneo_serv.platform.hints import Hints
from kneo_serv.platform.humans import Humans
from kneo_serv.platform.journal import (
    Journal,
    JournalUnreadableError,
    Listener,
    RunJournal,
    event_row,
)
from kneo_serv.platform.once import as_it_is, once
from kneo_serv.platform.options import PlatformOptions
from kneo_serv.platform.outside import Outside, OutsideRefused
from kneo_serv.platform.performer import Performer
from kneo_serv.platform.projection import TaskFiles, TaskFolder
from kneo_serv.platform.rests import Rest, rest_in, rest_of
from kneo_serv.platform.retention import RetentionDuty, RetentionReport
from kneo_serv.platform.schedules import Schedules
from kneo_serv.platform.speech import Speech, SpeechListener
from kneo_serv.platform.streams import StreamItem, Streams, Until
from kneo_serv.platform.submission import Submission, created_of, record_of
from kneo_serv.platform.timekeeper import ClockDuty, Duty, Timekeeper, TimerDuty
from kneo_serv.platform.tracing import Tracing
from kneo_serv.platform.views import LightEvent
from kneo_serv.platform.waits import Waits
from kneo_serv.platform.watch import Watch
from kneo_serv.platform.workers import Workers
from kneo_serv.platform.wrapping import Wrapping
from kneo_serv.store.contract import Append, Claim, NewRun, ScheduleChange, Store, Timer, TimerKind
from kneo_serv.tools import HandlerPool, ToolRegistry

__all__ = ["Platform", "Submission"]

log = logging.getLogger("kneo_serv.platform")

_LEAVING = 60.0
"""Seconds beyond the time of a shutdown after which the dispatcher tears legs apart that could not be left."""


class Platform:
    """Everything that can be done with runs. Lives on one loop; create, use and close it there."""

    def __init__(
        self,
        *,
        store: Store,
        tools: ToolRegistry,
        runtimes: Runtimes,
        options: PlatformOptions | None = None,
        folder: TaskFolder | None = None,
        clock: Clock | None = None,
        ids: RandomIds | None = None,
        wrapping: Wrapping | None = None,
        dispatcher: DispatcherFactory[Claim] = EmbeddedDispatcher[Claim],
    ) -> None:
        self.store = store
        self.options = options or PlatformOptions()
        self._clock = clock or SystemClock()
        self._ids = ids or RandomIds()
        self._owner = store.new_owner()
        self._pool = HandlerPool(size=self.options.handler_threads, max_abandoned=self.options.max_abandoned)
        self._tracing = Tracing.of(self.options, self._clock)
        self._journal = Journal(store, clock=self._clock, ids=self._ids)
        self._journal.ended = self._tracing.ended
        self._speech = Speech(self._journal, batch_seconds=self.options.text_batch_seconds)
        self.fleet = Fleet(store, clock=self._clock, ids=self._ids, options=self.options)
        self._performer = Performer(
            tools=tools,
            runtimes=runtimes,
            pool=self._pool,
            options=self.options,
            speech=self._speech,
            wrapping=wrapping,
            providers=self.fleet.providers,
        )
        self._watch = Watch(store, interval=self.options.watch_seconds)
        self._workers = Workers(
            store=store,
            journal=self._journal,
            performer=self._performer,
            watch=self._watch,
            owner=self._owner,
            clock=self._clock,
            ids=self._ids,
            options=self.options,
            tracing=self._tracing,
        )
        self._streams = Streams(store, self._speech, self._watch, self._workers)
        self._feed = Feed(store, self._watch)
        self._outside = Outside(self._journal, clock=self._clock)
        self._humans = Humans(store, self._outside)
        self.forks = Forks(
            store=store,
            journal=self._journal,
            workers=self._workers,
            owner=self._owner,
            ids=self._ids,
            lease_seconds=self.options.lease_seconds,
        )
        self._files = TaskFiles(store, folder) if folder is not None else None
        self._dispatcher = dispatcher(
            claim=self._workers.claim,
            execute=self._workers.drive,
            concurrency=self.options.worker_concurrency,
            poll_seconds=self.options.idle_poll_seconds,
        )
        self._hints = Hints(store, interval=self.options.watch_seconds, submit=self._dispatcher.submit)
        self.schedules = Schedules(
            store,
            ids=self._ids,
            clock=self._clock,
            take_in=self._take_in_scheduled,
            run=store.get_run,
            cancel=self.cancel,
            spec_root=self.options.spec_root,
        )
        # Retries are no deadlines: they fire by themselves also where deadlines are left to the prunes.
        kinds = tuple(TimerKind) if self.options.timekeeper else (TimerKind.RETRY,)
        duties: list[Duty] = [TimerDuty(store, kind, self.fire, clock=self._clock) for kind in kinds]
        if self.options.timekeeper:
            duties += [self.schedules, ClockDuty(store, clock=self._clock)]
            duties += [RetentionDuty(store, self.options.retention, report=self.audit_retention)]
        self._timekeeper = Timekeeper(store, duties)
        self._waits = Waits(
            store,
            watch=self._watch,
            workers=self._workers,
            fire=self.fire,
            clock=self._clock,
            options=self.options,
        )
        self._journal.on_append(self._appended)
        self._users = 0
        self._unused = asyncio.Event()
        self._unused.set()

    async def open(self) -> None:
        """Opens the store."""
        await self.store.open()
        if self._files is not None:
            await self._files.tidy()

    def start_worker(self) -> None:
        """Begins to execute runnable runs and to fire timers; without places for runs, only the latter. Idempotent."""
        if self._workers.executes:
            self._dispatcher.start()
            self._hints.start()
        self._timekeeper.start()

    async def close(self, *, timeout: float) -> bool:
        """Drains for up to `timeout` seconds, then gives all leases back; whether every run in hand came to a rest."""
        await self._timekeeper.stop()
        await self._hints.stop()
        self._workers.stop()
        self._watch.look_all()
        await self._feed.close()
        # The workers have every leg left when the time is over, those of the dispatcher too.
        drained, _ = await asyncio.gather(self._workers.drain(timeout), self._dispatcher.stop(timeout + _LEAVING))
        # Callers that were waiting are set free, and have their answers before the store goes.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.options.grace_seconds):
                await self._unused.wait()
        await self._watch.close()
        await self._performer.close()
        self._pool.close()
        self.schedules.close()
        if self._files is not None:
            await self._files.settle()
        await self.store.close()
        await self._tracing.close(timeout)
        return drained

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Has `close` wait a moment for a caller inside."""
        self._users += 1
        self._unused.clear()
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._unused.set()

    @property
    def abandoned_calls(self) -> int:
        """Synchronous calls that timed out and still run."""
        return self._pool.abandoned

    @property
    def in_hand(self) -> int:
        """Runs that this process executes now."""
        return self._workers.in_hand

    async def start(
        self, submission: Submission, *, hold: bool = False, key: IdempotencyKey | None = None
    ) -> RunRecord:
        """Takes a run in: durable when it returns. With `hold` it is leased to this process at once, or in its turn.

        A process that executes no runs leaves it to the others all the same.

        A key that stands for the same submission already gives the run of then, as it is now.

        Raises:
            IdempotencyKeyConflictError: the key stands for another submission.
            QueueFullError: no more runs are taken in; nothing was stored.
            SessionBusyError: its session has a run at work and takes in no other; nothing was stored.
        """
        return await once(self.store, key, lambda: self._create(submission, hold, key), self.record)

    async def _create(self, submission: Submission, hold: bool, key: IdempotencyKey | None) -> RunRecord:
        await self.fleet.admit(submission.queue or submission.plan.dispatch.queue, submission.tenant)
        now = await self.store.now()
        run_id = self._ids.run(now)
        with self._tracing.dispatched(run_id, submission, now) as trace:
            return await self._take_in(run_id, replace(submission, trace=trace), now, hold=hold, key=key)

    async def _take_in(
        self, run_id: RunId, submission: Submission, now: float, *, hold: bool, key: IdempotencyKey | None
    ) -> RunRecord:
        new, opened = self._new_run(run_id, submission, now, hold=hold, key=key)
        if await self.store.create(new):
            self._workers.execute(Claim(run_id, 1), opened)
        else:
            self._dispatcher.submit()
        return replace(new.record, lease_owner=None)

    async def _take_in_scheduled(
        self,
        submission: Submission,
        change: Callable[[NewRun], ScheduleChange],
        *,
        key: IdempotencyKey | None = None,
    ) -> RunId | None:
        await self.fleet.admit(submission.queue or submission.plan.dispatch.queue, submission.tenant)
        now = await self.store.now()
        run_id = self._ids.run(now)
        with self._tracing.dispatched(run_id, submission, now) as trace:
            new, _ = self._new_run(run_id, replace(submission, trace=trace), now, hold=False, key=key)
            if not await self.store.change_schedule(change(new)):
                return None
        self._dispatcher.submit()
        return run_id

    def _new_run(
        self, run_id: RunId, submission: Submission, now: float, *, hold: bool, key: IdempotencyKey | None
    ) -> tuple[NewRun, RunJournal]:
        created = created_of(submission, now, self.options.token_budget)
        opened = self._journal.begin(submission.plan, run_id, created, now)
        record = opened.record = record_of(submission, created, run_id, now)
        metadata = {
            "async_mode": not hold,
            "target": submission.target,
            "environment": submission.environment,
            "session_id": submission.session_id,
            "timeout_seconds": submission.timeout_seconds,
            "spec_path": submission.metadata.get("spec_path"),
            "inline_spec": submission.metadata.get("spec_path") is None,
            "metadata": submission.metadata.get("caller_metadata", {}),
        }
        if "skills_overlay" in submission.metadata:
            metadata["skills_overlay"] = submission.metadata["skills_overlay"]
        timers = (
            (Timer(run_id, TimerKind.RUN_DEADLINE, "", created.deadline_at),) if created.deadline_at is not None else ()
        )
        first = ev.Recorded(1, now, created)
        row = event_row(first)
        opened.remember(first, row)
        new = NewRun(
            replace(record, lease_owner=self._owner) if hold and self._workers.serves(record.queue) else record,
            self._journal.plan_text(submission.plan),
            (row,),
            timers,
            (audit_event(self._ids, "run.created", now, run_id, None, submission.actor, metadata),),
            self.options.lease_seconds,
            self.options.session_concurrency,
            key,
        )
        return new, opened

    async def fork(
        self,
        run_id: RunId,
        request: ForkRequest,
        *,
        at_sequence: int | None = None,
        hold: bool = False,
        problem: AgentProblem | None = None,
        key: IdempotencyKey | None = None,
    ) -> Forked:
        """Takes in a run that begins with another one's history.

        A key that stands for the same fork already gives the one of then. Raises as `Forks.fork`, QueueFullError, and
        IdempotencyKeyConflictError when the key stands for another request.
        """

        async def make() -> Forked:
            if request.model is not None and self.options.require_spec_bundles:
                raise InvalidRequestError("Only signed specs are run here: a fork keeps the model of its run.")
            parent = await self.record(run_id)
            await self.fleet.admit(parent.queue, parent.tenant)
            held = hold and self._workers.serves(parent.queue)
            made = await self.forks.fork(run_id, request, at_sequence=at_sequence, hold=held, problem=problem, key=key)
            if not held:
                self._dispatcher.submit()
            return made

        async def again(child: RunId) -> Forked:
            assert key is not None  # noqa: S101 - without a key nothing was made before
            return await self.forks.made_with(key, child)

        return await once(self.store, key, make, again)

    async def run_to_rest(self, run_id: RunId, *, patience: float | None) -> RunRecord:
        """Executes the run here, or waits while others do, until it rests or ends or `patience` seconds are over.

        A process that executes no runs only waits. The end of patience changes nothing about the run. None means for
        ever.

        Raises:
            NotFoundError: there is no such run.
        """
        record, _ = await self._waits.settle(run_id, patience)
        return record

    async def rest(self, run_id: RunId, *, from_seq: int, patience: float | None) -> tuple[RunRecord, Rest | None]:
        """As `run_to_rest`; and how the run stood at its first rest from an event on, None if it has not come to it.

        Of a parked run there is no rest to tell. Raises as `run_to_rest`, and JournalUnreadableError.
        """
        record, journal = await self._waits.settle(run_id, patience)
        if record.phase is Phase.PARKED:
            return record, None
        rest = None if journal is None else rest_in(journal, from_seq)
        return record, rest or await rest_of(self.store, run_id, from_seq)

    async def result_at_rest(self, run_id: RunId, *, patience: float | None) -> RunResult:
        """As `run_to_rest`; what a caller gets of the run then."""
        _, journal = await self._waits.settle(run_id, patience)
        rest = None if journal is None else rest_in(journal, journal.opened_at)
        if rest is None:
            return await self.result(run_id)
        if self._files is not None:
            await self._files.settle()
        return result_at(rest)

    async def changed(self, run_id: RunId, *, patience: float, at_rest: bool = False) -> RunRecord:
        """The run once its status changes, or it rests or ends; as it stands when `patience` seconds are over.

        Executes nothing. With `at_rest`, a rest in which the run is already is no answer. Raises NotFoundError.
        """
        return await self._waits.changed(run_id, patience=patience, at_rest=at_rest)

    async def result(self, run_id: RunId) -> RunResult:
        """What a caller gets of the run as it stands."""
        if self._files is not None:
            await self._files.settle()
        return await result_of(self.store, await self.record(run_id))

    async def first_rest(self, run_id: RunId, from_seq: int) -> Rest | None:
        """How the run stood at its first rest from an event on; raises as `rest_of`."""
        return await rest_of(self.store, run_id, from_seq)

    async def record(self, run_id: RunId) -> RunRecord:
        """The run's row. Raises NotFoundError."""
        record = await self.store.get_run(run_id)
        if record is None:
            raise NotFoundError("run", run_id)
        return record

    async def events(self, run_id: RunId) -> list[ev.Recorded]:
        """The run's history without secrets. Raises JournalUnreadableError."""
        return await public_history(self.store, run_id)

    async def run_view(self, run_id: RunId) -> dict[str, Any]:
        """The run as lists show it, without secrets. Raises NotFoundError, JournalUnreadableError."""
        return await self.view_of(await self.record(run_id))

    async def view_of(self, record: RunRecord) -> dict[str, Any]:
        """The same of a run whose row was read just now."""
        return await view_of(self.store, record, trace_limit=self.options.trace_max_events)

    async def audit(
        self,
        event_type: str,
        *,
        actor: str | None = None,
        run_id: str | None = None,
        continuation_id: str | None = None,
        metadata: dict[str, Any],
        tenant: str | None = None,
    ) -> None:
        """Writes an audit event that belongs to no append; `tenant` is for one without a run."""
        now = await self.store.now()
        event = audit_event(self._ids, event_type, now, run_id, continuation_id, actor, metadata, tenant=tenant)
        await self.store.add_audit([event])

    async def audit_retention(self, report: RetentionReport, *, actor: str | None = None) -> None:
        """Writes down what a pass of retention has removed; nobody's name stands for the timekeeper's."""
        await self.audit("retention.pruned", actor=actor, metadata=dict(report.to_dict()))

    def submit(self) -> None:
        """Tells the workers that there may be work."""
        self._dispatcher.submit()

    def listen(self, run_id: RunId, listener: Listener) -> Callable[[], None]:
        """Calls `listener` with what this process appends to the run; returns what ends that."""
        return self._journal.listen(run_id, listener)

    def hear(self, run_id: RunId, listener: SpeechListener) -> Callable[[], None]:
        """Tells `listener` what models say in the run while they say it; returns what ends that.

        Each piece comes before the event that supersedes it reaches who listened to events after this call.
        """
        return self._speech.listen(run_id, listener)

    async def stream(
        self, run_id: RunId, *, after: int = 0, deltas: bool = True, until: Until = "end"
    ) -> AsyncGenerator[StreamItem]:
        """What happens in the run: its events without secrets, those of the past first, and pieces of text between.

        Every event comes exactly once and in order, also those that another process writes. It ends behind the last
        event of a run that has ended; with `until="rest"` also where the run waits for people, or is parked. Following
        a run does not execute it.

        Args:
            run_id: The run.
            after: Number of the last event that the caller knows already.
            deltas: Whether to tell what models are saying, as far as they are asked by this process.
            until: How long the run is followed.

        Raises:
            NotFoundError: there is no such run.
            InvalidRequestError: `after` is below 0, or `until` another word.
            JournalUnreadableError: the history cannot be read.
            PlatformClosedError: the platform was shut down before the run had ended.
        """
        with self.in_use():
            async with contextlib.aclosing(
                self._streams.follow(run_id, after=after, deltas=deltas, until=until)
            ) as items:
                async for item in items:
                    yield item

    async def feed(self, *, after: int | None = None, chosen: FeedFilter | None = None) -> AsyncGenerator[LightEvent]:
        """The events of all runs, in the order in which they became durable, and then those to come, for ever.

        None is skipped and none comes twice, whoever wrote it, and however slow the caller is: one who goes on with
        the last `position`, in this process or in another one at the same store, misses nothing.

        Args:
            after: Position of the last event that the caller knows already; 0 tells all that are kept, None only those
                from now on.
            chosen: Which events. None means all of them.

        Raises:
            InvalidRequestError: `after` is below 0.
            StoreError: the store could not be read.
            PlatformClosedError: the platform was shut down.
        """
        async with contextlib.aclosing(
            self.feed_stretches(chosen or FeedFilter(), after=await self.feed_position(after))
        ) as stretches:
            async for stretch in stretches:
                for event in stretch.events:
                    yield event

    async def feed_position(self, after: int | None) -> int:
        """The position from which `feed` follows: the present one for None. Raises InvalidRequestError."""
        return await self._feed.begin(after)

    async def feed_stretches(self, chosen: FeedFilter, *, after: int) -> AsyncGenerator[FeedStretch]:
        """What `feed` tells behind a position that `feed_position` gave, with how far it has looked; raises as it."""
        with self.in_use():
            async with contextlib.aclosing(self._feed.follow(chosen, after=after)) as stretches:
                async for stretch in stretches:
                    yield stretch

    def on_append(self, hook: Callable[[Append], None]) -> None:
        """Calls `hook` after everything that this process has durably appended to any run."""
        self._journal.on_append(hook)

    async def cancel(self, run_id: RunId, *, actor: str | None = None) -> RunRecord:
        """Ends the run early; one that has ended already stays as it is."""

        def make(draft: Draft) -> Sequence[ev.Event]:
            return () if draft.run.status.is_terminal else (ev.RunCancelled("Run cancellation requested.", actor),)

        try:
            await self._outside.append(run_id, make)
        except OutsideRefused as refused:
            log.debug("run %s is not cancelled: %s", run_id, refused)
        self._workers.nudge(run_id)
        return await self.record(run_id)

    async def export_run(self, run_id: RunId, *, private: bool = False) -> AsyncGenerator[str]:
        """The run as lines of JSON, as `export_lines` says; raises as it."""
        with self.in_use():
            async with contextlib.aclosing(export_lines(self.store, run_id, private=private)) as lines:
                async for line in lines:
                    yield line

    async def delete_run(self, run_id: RunId, *, actor: str | None = None) -> None:
        """Removes a run that has ended, with all that is its own; the audit keeps what was done, and `run.deleted`.

        Raises:
            NotFoundError: there is no such run.
            RunStateConflictError: it has not ended; cancel it first.
        """
        record = await self.record(run_id)
        facts = {"status": record.status.value, "workflow_name": record.workflow_name, "events": record.seq}
        deleted = audit_event(self._ids, "run.deleted", await self.store.now(), run_id, None, actor, facts)
        if not await self.store.delete_run(run_id, audit=[deleted]):
            record = await self.record(run_id)
            raise RunStateConflictError(run_id=run_id, status=record.status.value, operation="delete")

    async def continue_run(self, run_id: RunId, *, actor: str | None = None, key: IdempotencyKey | None = None) -> None:
        """Takes up a failed, parked or orphaned run after its last finished step.

        Nothing more is done for a key that stands for this already.

        Raises:
            IdempotencyKeyConflictError: the key stands for something else.
            RunStateConflictError: it is at work, waits for a person, or has ended otherwise than by failing.
        """
        await once(self.store, key, lambda: self._continue(run_id, actor, key), self.record)

    async def _continue(self, run_id: RunId, actor: str | None, key: IdempotencyKey | None) -> None:
        record = await self.record(run_id)
        now = await self.store.now()
        leased = record.lease_owner is not None and (record.lease_expires_at or 0.0) > now
        dead = leased and run_id in await self.store.runnable(limit=1000)
        at_work = record.phase is Phase.LEASED and leased and not dead
        # A parked run may have been about to rest, and does so again once it is readable.
        resting = {RunStatus.BLOCKED} if record.phase is Phase.PARKED else set()
        open_to_it = {RunStatus.FAILED, RunStatus.RUNNING} | resting
        if record.status not in open_to_it or at_work or self._workers.drives(run_id):
            raise RunStateConflictError(run_id=run_id, status=record.status.value, operation="continue")

        def make(draft: Draft) -> Sequence[ev.Event]:
            return (ev.RunContinued(actor),) if posture(draft.run).status in open_to_it else ()

        try:
            appended = await self._outside.append(run_id, make, revive=True, key=key)
        except OutsideRefused as refused:
            status = refused.refused.status or record.status
            raise RunStateConflictError(run_id=run_id, status=status.value, operation="continue") from None
        if appended is None:
            raise RunStateConflictError(run_id=run_id, status=record.status.value, operation="continue")
        self._dispatcher.submit()

    async def answer(
        self,
        continuation_id: ContinuationId,
        response: HumanResponse,
        *,
        actor: str | None = None,
        key: IdempotencyKey | None = None,
    ) -> RunId:
        """Journals a person's answer and sees to it that the run goes on.

        For a key that stands for this answer already, nothing more is done. Raises as `Humans.answer`, and
        IdempotencyKeyConflictError when the key stands for another one.
        """
        run_id = await once(
            self.store, key, lambda: self._humans.answer(continuation_id, response, actor=actor, key=key), as_it_is
        )
        self._workers.nudge(run_id)
        self._dispatcher.submit()
        return run_id

    async def fire(self, timer: Timer, *, now: float | None = None) -> bool:
        """Does what was due before `now` (None means the store's clock); whether there was still something to do."""
        try:
            match timer.kind:
                case TimerKind.RETRY:
                    done = await self.store.wake(timer.run_id)
                case TimerKind.HUMAN_DEADLINE:
                    done = await self._humans.expire(ContinuationId(timer.key), now=now) is not None
                case TimerKind.RUN_DEADLINE:
                    done = await self._time_out(timer.run_id)
                case TimerKind.REMINDER:
                    return await self._humans.remind(ContinuationId(timer.key), timer.due_at) is not None
        except (JournalUnreadableError, LockAcquisitionError, NotFoundError) as error:
            # One such run must not keep the timers of the others from firing.
            log.warning("a timer (%s) of run %s cannot be fired: %s", timer.kind.value, timer.run_id, error)
            return False
        self._workers.nudge(timer.run_id)
        self._dispatcher.submit()
        return done

    async def due(self, kind: TimerKind, *, now: float | None, limit: int) -> Sequence[Timer]:
        """Timers of one kind that are due."""
        return await self.store.due_timers(kinds=(kind,), now=now, limit=limit)

    async def _time_out(self, run_id: RunId) -> bool:
        def make(draft: Draft) -> Sequence[ev.Event]:
            run = draft.run
            if run.status.is_terminal or run.deadline_at is None:
                return ()
            return (ev.RunTimedOut(run.timeout_seconds, run.deadline_at, posture(run).status.value),)

        try:
            return await self._outside.append(run_id, make) is not None
        except OutsideRefused:
            return False

    def _appended(self, append: Append) -> None:
        self._watch.appended(append.run_id, append.events[-1].seq, at_work=append.projection.phase is Phase.RUNNABLE)
        if self._files is not None:
            self._files.appended(append)
