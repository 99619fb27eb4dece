"""Executing runs in this process: claims, drivers, leases, and what becomes of runs that cannot be decided."""

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kneo_serv.errors import StoreError
from kneo_serv.model import event as ev
from kneo_serv.model.clock import Clock
from kneo_serv.model.ids import Owner, RunId
from kneo_serv.model.run import SessionConcurrency
from kneo_serv.platform.chance import RandomIds
from kneo_serv.platform.driver import DriveEnd, Driver, Lease
from kneo_serv.platform.journal import Journal, RunJournal, private
from kneo_serv.platform.leases import LeaseKeeper
from kneo_serv.platform.options import PlatformOptions
from kneo_serv.platform.performer import Performer
from kneo_serv.platform.sessions import Sessions
from kneo_serv.platform.tracing import Tracing
from kneo_serv.platform.watch import Watch
from kneo_serv.store.contract import Appended, Claim, Store

log = logging.getLogger("kneo_serv.platform")

_LEAVE_SECONDS = 5.0
"""How long a leg that is left may take to note what came of it, beside the grace of its attempts."""


@dataclass(slots=True)
class Seat:
    """Of one who waits for a run."""

    journal: RunJournal | None = None
    """Of the leg that came to its end here meanwhile."""


class Workers:
    """The legs that this process drives, each in a task of its own."""

    def __init__(
        self,
        *,
        store: Store,
        journal: Journal,
        performer: Performer,
        watch: Watch,
        owner: Owner,
        clock: Clock,
        ids: RandomIds,
        options: PlatformOptions,
        tracing: Tracing,
    ) -> None:
        self._store = store
        self._journal = journal
        self._performer = performer
        self._watch = watch
        self._owner = owner
        self._clock = clock
        self._ids = ids
        self._options = options
        self._tracing = tracing
        self._sessions = Sessions(store, journal)
        self._keeper = LeaseKeeper(store, owner=owner, seconds=options.lease_seconds, clock=clock)
        self._drivers: dict[RunId, Driver] = {}
        self._drives: set[asyncio.Task[None]] = set()
        self._asked: dict[RunId, float] = {}
        self._begun: set[RunId] = set()
        self._seats: dict[RunId, list[Seat]] = {}
        self._stopping = False

    @property
    def executes(self) -> bool:
        """Whether this process executes runs at all."""
        return self._options.worker_concurrency > 0

    def serves(self, queue: str) -> bool:
        """Whether this process executes runs of the queue."""
        return self.executes and (not self._options.queues or queue in self._options.queues)

    @property
    def in_hand(self) -> int:
        """How many runs are driven now."""
        return len(self._drivers)

    def drives(self, run_id: RunId) -> bool:
        """Whether this process drives the run now."""
        return run_id in self._drivers or run_id in self._begun

    @contextlib.contextmanager
    def seat(self, run_id: RunId) -> Iterator[Seat]:
        """A seat for one who waits for the run: a leg that ends here leaves its journal there."""
        taken = Seat()
        self._seats.setdefault(run_id, []).append(taken)
        try:
            yield taken
        finally:
            seats = self._seats[run_id]
            seats.remove(taken)
            if not seats:
                del self._seats[run_id]

    def nudge(self, run_id: RunId) -> None:
        """Others have appended to the run: its driver looks before it begins anything else."""
        driver = self._drivers.get(run_id)
        if driver is not None:
            driver.nudge()

    @property
    def stopping(self) -> bool:
        """Whether this process begins nothing more."""
        return self._stopping

    def stop(self) -> None:
        """No driver begins anything more, and no run is claimed."""
        self._stopping = True
        for driver in self._drivers.values():
            driver.stop()

    async def drain(self, timeout: float) -> bool:
        """Waits up to `timeout` seconds for the legs in hand, then has them left; whether all ended by themselves."""
        hanging: set[asyncio.Task[None]] = set()
        if self._drives:
            _, hanging = await asyncio.wait(self._drives, timeout=timeout)
        if hanging:
            for driver in self._drivers.values():
                driver.leave()
            _, stuck = await asyncio.wait(hanging, timeout=_LEAVE_SECONDS + self._options.grace_seconds)
            for task in stuck:
                task.cancel()
            await asyncio.gather(*stuck, return_exceptions=True)
        await self._keeper.close()
        return not hanging

    async def claim(self, limit: int) -> Sequence[Claim]:
        """Leases of up to `limit` runs that are runnable."""
        return await self._claim(limit, None)

    async def claim_one(self, run_id: RunId) -> Sequence[Claim]:
        """The lease of this run, unless another worker has it or it rests."""
        return await self._claim(1, run_id)

    async def _claim(self, limit: int, run_id: RunId | None) -> Sequence[Claim]:
        if self._stopping:
            return ()
        asked_at = self._clock.monotonic()
        seconds = self._options.lease_seconds
        in_turn = self._options.session_concurrency is not SessionConcurrency.INTERLEAVE
        claims = await self._store.claim(
            self._owner,
            lease_seconds=seconds,
            limit=limit,
            run_id=run_id,
            in_turn=in_turn,
            queues=self._options.queues or None,
        )
        self._asked.update((claim.run_id, asked_at) for claim in claims)
        return claims

    def execute(self, claim: Claim, opened: RunJournal | None = None) -> None:
        """Drives a claimed run in a task of its own; `opened` is its journal, where one has it at hand."""
        self._begun.add(claim.run_id)
        task = asyncio.create_task(self.drive(claim, opened))
        self._drives.add(task)
        task.add_done_callback(self._drives.discard)

    async def drive(self, claim: Claim, opened: RunJournal | None = None) -> None:
        """One leg; every failure is told and none is raised, since nobody waits for this task."""
        this = asyncio.current_task()
        if this is not None:
            self._drives.add(this)
            this.add_done_callback(self._drives.discard)
        asked_at = self._asked.pop(claim.run_id, self._clock.monotonic())
        lease = self._keeper.lease(claim.run_id, claim.fence, asked_at=asked_at)
        try:
            end = await self._leg(claim, lease, opened)
        except StoreError as error:
            log.error("run %s cannot be kept just now: %s", claim.run_id, error)
            await self._give_back(claim)
        except asyncio.CancelledError:
            await self._give_back(claim)
            raise
        except Exception as fault:
            log.exception("run %s cannot be decided and is put aside", claim.run_id)
            await self._park(claim, fault)
        else:
            if end is DriveEnd.STOPPED:
                await self._give_back(claim)
            elif end is DriveEnd.LOST:
                log.warning("the lease of run %s went to another worker", claim.run_id)
        finally:
            self._begun.discard(claim.run_id)
        self._watch.look(claim.run_id)

    async def _leg(self, claim: Claim, lease: Lease, opened: RunJournal | None) -> DriveEnd:
        opened = opened or await self._journal.open(claim.run_id)
        limit = self._options.max_takeovers
        if limit and claim.takeovers > limit:
            return await self._bury(opened, claim, limit)
        onlooker = self._tracing.leg(opened, worker=self._owner, fence=claim.fence)
        driver = Driver(
            opened,
            lease,
            await self._reason(claim, opened),
            performer=self._performer,
            clock=self._clock,
            ids=self._ids,
            options=self._options,
            history=await self._sessions.history(opened),
            onlooker=onlooker,
        )
        if self._stopping:
            return DriveEnd.STOPPED
        self._drivers[claim.run_id] = driver
        self._keeper.keep(lease, driver)
        self._watch.follow(claim.run_id, opened.run.seq, driver.nudge)
        try:
            with onlooker:
                end = await driver.drive()
                onlooker.ends(end.value)
                if end in (DriveEnd.ENDED, DriveEnd.REST):
                    for taken in self._seats.get(claim.run_id, ()):
                        taken.journal = opened
                return end
        finally:
            self._keeper.drop(lease)
            if self._drivers.get(claim.run_id) is driver:
                del self._drivers[claim.run_id]
                self._watch.unfollow(claim.run_id)

    async def _bury(self, opened: RunJournal, claim: Claim, limit: int) -> DriveEnd:
        draft = opened.draft(self._clock.now())
        message = f"{claim.takeovers} workers were lost with this run without progress; the limit is {limit}."
        draft.add(ev.RunFailed("dead_letter", message))
        facts = {"attempts": claim.takeovers, "limit": limit}
        result = await opened.append(draft, owner=self._owner, fence=claim.fence, facts=facts)
        return DriveEnd.ENDED if isinstance(result, Appended) else DriveEnd.STOPPED

    async def _reason(self, claim: Claim, opened: RunJournal) -> ev.LegReason:
        if claim.takeover:
            return ev.LegReason.TAKEOVER
        if opened.run.legs == 0:
            return ev.LegReason.START
        for row in await self._store.events(claim.run_id, after=opened.run.seq - 1):
            match private(row).event:
                case ev.HumanAnswered() as answer:
                    opened.automatic = answer.continuation_id if answer.automatic else None
                    return ev.LegReason.RESUME
                case ev.RunContinued():
                    return ev.LegReason.CONTINUE
                case ev.RunForked():
                    return ev.LegReason.START
                case _:
                    continue
        return ev.LegReason.TIMER

    async def _park(self, claim: Claim, fault: Exception) -> None:
        text = f"{type(fault).__name__}: {fault}"
        try:
            await self._store.park(claim.run_id, owner=self._owner, fence=claim.fence, fault=text)
        except StoreError as error:
            log.error("run %s cannot be put aside: %s", claim.run_id, error)

    async def _give_back(self, claim: Claim) -> None:
        # A lease that has run out is given to other workers, but never to this one again: so one tries until it works.
        while True:
            try:
                await self._store.release(claim.run_id, owner=self._owner, fence=claim.fence)
            except StoreError as error:
                log.error("the lease of run %s cannot be given back: %s", claim.run_id, error)
                if self._stopping:
                    return
                await asyncio.sleep(self._options.idle_poll_seconds)
            else:
                return
