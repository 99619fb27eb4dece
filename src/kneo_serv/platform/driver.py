"""Driving one run under a lease: decide, journal, perform, and again, until the run ends or rests.

No effect begins before its `started` is durable; and the outcomes of a step go into the same transaction as the
`started` of what follows it. Everything that this process appends to the run under its lease goes through here, so
parallel branches do not conflict with each other.
"""

import asyncio
import logging
from dataclasses import dataclass
from enum import StrEnum

from kneo_serv.engine import (
    CallFunction,
    CallTool,
    CheckGuardrail,
    Effect,
    JournalFault,
    RunAgentTurn,
    Wait,
    begin,
    decide,
    find,
)
from kneo_serv.engine.begin import IdSource
from kneo_serv.model import event as ev
from kneo_serv.model.clock import Clock
from kneo_serv.model.ids import Owner, RunId, StepKey
from kneo_serv.model.run import Phase
from kneo_serv.platform.draft import Draft
from kneo_serv.platform.journal import RunJournal
from kneo_serv.platform.leg import Leg
from kneo_serv.platform.onlooker import Onlooker, Passing
from kneo_serv.platform.options import PlatformOptions
from kneo_serv.platform.outcome import InnerCall, Outcome, begins, event_of, is_awaited, late
from kneo_serv.platform.performer import Performer
from kneo_serv.platform.sessions import History
from kneo_serv.store.contract import Appended, Refusal, Refused

log = logging.getLogger("kneo_serv.platform")

_LATE_TRIES = 5
_MARGIN_SECONDS = 0.5
"""Beyond the grace: attempts use up the grace themselves, and then end."""

_EFFECTS = (CallFunction, RunAgentTurn, CallTool, CheckGuardrail)


class DriveEnd(StrEnum):
    """How a drive ended."""

    REST = "rest"
    """The run waits for people or a timer; the lease was given back with the last append."""
    ENDED = "ended"
    """The run has a terminal status."""
    LOST = "lost"
    """The lease was lost: another worker goes on."""
    STOPPED = "stopped"
    """Nothing more is to be done in this leg; the lease is to be given back."""


@dataclass(slots=True, eq=False)
class _Note:
    """Something that an effect waits to have journaled."""

    call: InnerCall
    kept: asyncio.Future[bool]


@dataclass(slots=True)
class Lease:
    """The right to drive a run. `valid_until` is on the monotonic clock; renewals move it."""

    run_id: RunId
    owner: Owner
    fence: int
    valid_until: float
    lost: bool = False


class Driver:
    """One leg of one run."""

    def __init__(
        self,
        journal: RunJournal,
        lease: Lease,
        reason: ev.LegReason,
        *,
        performer: Performer,
        clock: Clock,
        ids: IdSource,
        options: PlatformOptions,
        history: History | None = None,
        onlooker: Onlooker | None = None,
    ) -> None:
        self._journal = journal
        self._onlooker: Onlooker = onlooker or Passing()
        self._history = history or {}
        active = self._onlooker.active
        self._leg = Leg(lease.run_id, lease.fence, self._note, self._is_held, self._history, active)
        self._notes: list[_Note] = []
        self._unkept: list[_Note] = []
        self._lease = lease
        self._reason = reason
        self._performer = performer
        self._clock = clock
        self._ids = ids
        self._options = options
        self._tasks: dict[asyncio.Task[Outcome], StepKey] = {}
        self._wakened = asyncio.Event()
        self._stale = False
        self._stopping = False
        self._leaving = False

    @property
    def journal(self) -> RunJournal:
        """The journal of the run that is driven."""
        return self._journal

    def nudge(self) -> None:
        """Something was appended to the run by others: look at it before anything else begins."""
        self._stale = True
        self._wakened.set()

    def lose(self) -> None:
        """The lease is gone: stop, and write nothing more."""
        self._lease.lost = True
        self._wakened.set()

    def stop(self) -> None:
        """Begin nothing more; come to an end as soon as what is in flight has."""
        self._stopping = True
        self._wakened.set()

    def leave(self) -> None:
        """Come to an end now; what is in flight is cancelled, and begins again in another leg."""
        self._leaving = True
        self.stop()

    async def drive(self) -> DriveEnd:
        """Takes the run as far as it goes without people.

        Raises:
            JournalFault, CodecError, KeyError: the run cannot be folded or decided; it should be parked.
            StoreError: the store cannot keep what happened; the lease runs out by itself.
        """
        outcomes: list[Outcome] = []
        try:
            end = await self._drive(outcomes)
        finally:
            outcomes += await self._settle()
            outcomes = [outcome for outcome in outcomes if not begins(outcome)]
        if outcomes and end is DriveEnd.STOPPED:
            end = await self._keep(outcomes)
        if outcomes and end is DriveEnd.ENDED:
            await self._note_late(outcomes)
        return end

    async def _drive(self, outcomes: list[Outcome]) -> DriveEnd:
        """Leaves in `outcomes` what came of effects and was not journaled."""
        leading: list[ev.Event] = [self._leg_started()]
        while True:
            if self._lease.lost:
                return DriveEnd.LOST
            if self._stale:
                self._stale = False
                await self._journal.catch_up()
            if self._journal.run.status.is_terminal:
                return DriveEnd.ENDED
            if self._leaving or (self._stopping and not self._tasks and not outcomes):
                return DriveEnd.STOPPED
            draft, effects = self._next(leading, outcomes)
            if draft.events:
                release = self._rests(draft, effects)
                result = await self._journal.append(
                    draft, owner=self._lease.owner, fence=self._lease.fence, release=release
                )
                if not isinstance(result, Appended):
                    if _is_lost(result):
                        return DriveEnd.LOST
                    # Only what really happened is kept; what was about to begin is decided anew.
                    self._stale = True
                    continue
                leading = []
                outcomes.clear()
                self._acknowledge(draft)
                if draft.run.status.is_terminal:
                    return DriveEnd.ENDED
                if release:
                    return DriveEnd.REST
                self._drop_unneeded()
                if not self._launch(effects):
                    return DriveEnd.LOST
            elif outcomes:
                # All of them were wishes to begin something, and refused.
                outcomes.clear()
                self._acknowledge(draft)
            elif not self._tasks and draft.stand.phase is Phase.RUNNABLE and not self._stopping:
                raise JournalFault(f"run {draft.run.id} is neither at work nor at rest after event {draft.run.seq}")
            elif self._rests(draft, effects):
                return DriveEnd.STOPPED
            if self._stopping and not self._tasks:
                continue
            outcomes += await self._wait(draft)

    def _leg_started(self) -> ev.LegStarted:
        # What a session holds is journaled once: later legs of the run see it as it was.
        history = {} if self._journal.run.legs else {name: tuple(said) for name, said in self._history.items()}
        return ev.LegStarted(self._lease.owner, self._lease.fence, self._reason, history)

    def _next(self, leading: list[ev.Event], outcomes: list[Outcome]) -> tuple[Draft, list[Effect]]:
        now = self._clock.now()
        draft = self._journal.draft(now)
        plan = draft.plan
        for event in leading:
            draft.add(event)
        for outcome in outcomes:
            if not begins(outcome) or (is_awaited(draft.run, outcome) and not self._stopping):
                draft.add(event_of(plan, draft.run, outcome, now=now))
        effects: list[Effect] = []
        deadline = draft.run.deadline_at
        if deadline is not None and now > deadline:
            draft.add(ev.RunTimedOut(draft.run.timeout_seconds, deadline, draft.stand.status.value))
            return draft, []
        # Who stops begins no effect; but what ends the run, or has it rest on people, is no beginning.
        passed = (Wait, *_EFFECTS) if self._stopping else Wait
        while commands := [command for command in decide(plan, draft.run, now) if not isinstance(command, passed)]:
            for command in commands:
                for event in begin(plan, draft.run, command, now=now, ids=self._ids):
                    draft.add(event)
                if isinstance(command, _EFFECTS):
                    effects.append(command)
        return draft, effects

    def _rests(self, draft: Draft, effects: list[Effect]) -> bool:
        """Whether nothing is left to do for this leg, so that the lease goes back with this append."""
        if effects or self._tasks or draft.run.status.is_terminal:
            return False
        stand = draft.stand
        if stand.phase is Phase.WAITING_TIMER and stand.retry_at is not None:
            return stand.retry_at - self._clock.now() > self._options.short_wait_seconds
        return stand.phase is Phase.WAITING_HUMAN

    def _launch(self, effects: list[Effect]) -> bool:
        """Begins the effects; False when somebody else may have the run by now, in whose leg they count as lost."""
        if effects and not self._is_held():
            return False
        journal = self._journal
        for effect in effects:
            if find(journal.run.frame, effect.key) is None:
                continue  # enough of its siblings finished within the same append
            with self._onlooker.active(effect):
                task = asyncio.create_task(self._performer.perform(journal.plan, self._leg, effect))
            task.add_done_callback(lambda _: self._wakened.set())
            self._tasks[task] = effect.key
        return True

    async def _wait(self, draft: Draft) -> list[Outcome]:
        """Waits until something ended, was appended by others, or is due; gives the outcomes."""
        moments = (draft.run.deadline_at, draft.stand.retry_at)
        # What was due already when the draft was made, and did not begin, waits for something else than time.
        due = [moment for moment in moments if moment is not None and moment >= draft.at]
        timeout = max(0.0, min(due) - self._clock.now()) + 0.001 if due else None
        try:
            async with asyncio.timeout(timeout):
                await self._wakened.wait()
        except TimeoutError:
            pass  # something is due: the caller looks what
        self._wakened.clear()
        done = [task for task in self._tasks if task.done()]
        for task in done:
            del self._tasks[task]
        notes, self._notes = self._notes, []
        self._unkept += notes
        # What happened within an effect comes before what came of it.
        return [note.call for note in notes] + [task.result() for task in done if not task.cancelled()]

    def _is_held(self) -> bool:
        return not self._lease.lost and self._clock.monotonic() < self._lease.valid_until

    async def _note(self, call: InnerCall) -> bool:
        """Journals what happens within an effect; whether the effect may go on."""
        note = _Note(call, asyncio.get_running_loop().create_future())
        self._notes.append(note)
        self._wakened.set()
        return await note.kept and self._is_held()

    def _acknowledge(self, draft: Draft) -> None:
        """Tells the effects that wait whether what they wanted to have journaled is durable now."""
        journaled = {id(recorded.event) for recorded in draft.events}
        notes, self._unkept = self._unkept, []
        for note in notes:
            if not note.kept.done():
                note.kept.set_result(id(note.call.event) in journaled)

    def _drop_unneeded(self) -> None:
        """Cancels what is in flight for branches that nobody waits for any more."""
        for task, key in self._tasks.items():
            if find(self._journal.run.frame, key) is None:
                task.cancel()

    async def _settle(self) -> list[Outcome]:
        """Cancels what is still in flight and gives it a grace; the outcomes of what ended all the same."""
        if not self._tasks:
            return []
        for task in self._tasks:
            task.cancel()
        done, hanging = await asyncio.wait(self._tasks, timeout=self._options.grace_seconds + _MARGIN_SECONDS)
        if hanging:
            log.warning("%d calls of run %s did not end when cancelled", len(hanging), self._journal.run.id)
        self._tasks.clear()
        notes, self._notes = self._notes, []
        return [note.call for note in notes] + [task.result() for task in done if not task.cancelled()]

    async def _keep(self, outcomes: list[Outcome]) -> DriveEnd:
        """Journals what ended while this leg was being left, so that the next one does not do it again."""
        while True:
            await self._journal.catch_up()
            if self._journal.run.status.is_terminal:
                return DriveEnd.ENDED
            now = self._clock.now()
            draft = self._journal.draft(now)
            for outcome in outcomes:
                draft.add(event_of(draft.plan, draft.run, outcome, now=now))
            result = await self._journal.append(draft, owner=self._lease.owner, fence=self._lease.fence)
            if isinstance(result, Appended):
                return DriveEnd.STOPPED
            if _is_lost(result):
                return DriveEnd.LOST

    async def _note_late(self, outcomes: list[Outcome]) -> None:
        """Journals what came too late to count, so that nobody wonders whether it happened."""
        for _ in range(_LATE_TRIES):
            await self._journal.catch_up()
            draft = self._journal.draft(self._clock.now())
            for outcome in outcomes:
                draft.add(late(outcome))
            if isinstance(await self._journal.append(draft, late=True), Appended):
                return
        log.warning("run %s: late outcomes could not be noted", self._journal.run.id)


def _is_lost(refused: Refused) -> bool:
    return refused.reason in (Refusal.FENCE, Refusal.MISSING)
