"""Waiting for runs: they are executed here meanwhile, or waited for while others do it."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from kneo_serv.errors import NotFoundError
from kneo_serv.model.clock import Clock
from kneo_serv.model.ids import RunId
from kneo_serv.model.page import NO_TENANT, Page, RunFilter
from kneo_serv.model.run import Phase, RunRecord, RunStatus, SessionConcurrency
from kneo_serv.platform.journal import RunJournal
from kneo_serv.platform.options import PlatformOptions
from kneo_serv.platform.rests import record_in
from kneo_serv.platform.watch import Watch
from kneo_serv.platform.workers import Workers
from kneo_serv.store.contract import Store, Timer, TimerKind

_RESTS = (Phase.WAITING_HUMAN, Phase.ENDED, Phase.PARKED)
_LOOK_AGAIN = 1.0
"""Seconds after which one looks at a run that another process has in hand, which may have died with it."""


class Waits:
    """Those who wait for runs. They live on the platform's loop."""

    def __init__(
        self,
        store: Store,
        *,
        watch: Watch,
        workers: Workers,
        fire: Callable[[Timer], Awaitable[bool]],
        clock: Clock,
        options: PlatformOptions,
    ) -> None:
        self._store = store
        self._watch = watch
        self._workers = workers
        self._fire = fire
        self._clock = clock
        self._options = options

    async def settle(self, run_id: RunId, patience: float | None) -> tuple[RunRecord, RunJournal | None]:
        """Executes the run, or waits, until it rests or ends or `patience` seconds are over (None: never).

        With the run as it is then comes the journal of the leg that came to its end here, if one did.

        Raises:
            NotFoundError: there is no such run.
        """
        ends = None if patience is None else self._clock.monotonic() + patience
        with self._watch.turns(run_id) as turn, self._workers.seat(run_id) as seat:
            while True:
                turn.clear()
                journal, seat.journal = seat.journal, None
                if journal is not None and (there := record_in(journal)) is not None and there.phase in _RESTS:
                    return there, journal
                left = None if ends is None else ends - self._clock.monotonic()
                pause = self._options.lease_seconds
                # What goes on here tells by itself when it is over: only then there is something to look up.
                if not self._workers.drives(run_id) or (left is not None and left <= 0):
                    record = await self._record(run_id)
                    if record.phase in _RESTS or (left is not None and left <= 0) or self._workers.stopping:
                        return record, None
                    pause = await self._take_up(record)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause if left is None else min(pause, left)):
                        await turn.wait()

    async def changed(self, run_id: RunId, *, patience: float, at_rest: bool) -> RunRecord:
        """The run once its status changes, or it rests or ends, or `patience` seconds are over; executes nothing.

        With `at_rest`, a rest in which the run is already is no answer. Raises NotFoundError.
        """
        ends = self._clock.monotonic() + patience
        with self._watch.turns(run_id) as turn:
            first = record = await self._record(run_id)
            while True:
                rests = record.phase in (Phase.WAITING_HUMAN, Phase.PARKED)
                news = record.status is not first.status or (rests and not (at_rest and record.seq == first.seq))
                left = ends - self._clock.monotonic()
                if news or record.phase is Phase.ENDED or left <= 0 or self._workers.stopping:
                    return record
                # A run that goes on by itself again is not announced: so one looks from time to time.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(_LOOK_AGAIN, left)):
                        await turn.wait()
                turn.clear()
                record = await self._record(run_id)

    async def _take_up(self, record: RunRecord) -> float:
        """Executes the run here unless somebody does, or others have to; seconds until one should look again."""
        if not self._workers.drives(record.id):
            if record.phase is Phase.WAITING_TIMER:
                await self._fire_due(record.id)
            if self._workers.serves(record.queue):
                for claim in await self._workers.claim_one(record.id):
                    self._workers.execute(claim)
                if record.session_id is not None and record.started_at is None:
                    await self._clear_the_way(record)
        pause = self._options.lease_seconds if self._workers.drives(record.id) else _LOOK_AGAIN
        if record.session_id is not None and record.started_at is None:
            pause = min(pause, self._options.watch_seconds)
        return pause

    async def _clear_the_way(self, record: RunRecord) -> None:
        """Executes here what the run's session has before it: nobody else may be there to do it."""
        if self._options.session_concurrency is SessionConcurrency.INTERLEAVE or self._workers.drives(record.id):
            return
        before = RunFilter(
            session_id=record.session_id,
            status=(RunStatus.RUNNING.value,),
            created_before=record.created_at,
            tenant=record.tenant or NO_TENANT,
        )
        for earlier in await self._store.list_runs(before, Page(limit=10, sort="created_at", descending=False)):
            if not self._workers.drives(earlier.id) and self._workers.serves(earlier.queue):
                await self._fire_due(earlier.id)
                for claim in await self._workers.claim_one(earlier.id):
                    self._workers.execute(claim)

    async def _fire_due(self, run_id: RunId) -> None:
        for timer in await self._store.due_timers(kinds=(TimerKind.RETRY,), limit=1000):
            if timer.run_id == run_id:
                await self._fire(timer)

    async def _record(self, run_id: RunId) -> RunRecord:
        record = await self._store.get_run(run_id)
        if record is None:
            raise NotFoundError("run", run_id)
        return record
