"""Doing by itself what is due: any number of processes may do so on one store, each thing is done once."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Hashable, Sequence
from itertools import batched
from typing import Protocol

from kneo_serv.errors import KneoError
from kneo_serv.model.clock import Clock
from kneo_serv.store.contract import Store, Timer, TimerKind

log = logging.getLogger("kneo_serv.platform")

BATCH = 100
"""Things of one sort that are done before it is looked again what is due."""
_AT_ONCE = 16
_JUMP = 2.0
_FIRST_DELAY, _LONGEST_DELAY = 1.0, 60.0
_MOST_PUT_OFF = 10_000


class Duty(Protocol):
    """One sort of thing that comes due."""

    async def work(self) -> float | None:
        """Does a bounded part of what is due; the moment at which more is, if one is known (the store's clock)."""
        ...


class Timekeeper:
    """Sees to its duties, each in a task of its own, so that none waits for another one.

    A duty is looked at when it said that something is due, and every `interval` seconds in any case, since other
    processes may have set something.
    """

    def __init__(self, store: Store, duties: Sequence[Duty], *, interval: float = 1.0) -> None:
        self._store = store
        self._duties = tuple(duties)
        self._interval = interval
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begins. Idempotent."""
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._keep(duty)) for duty in self._duties]

    async def stop(self) -> None:
        """Ends; what is being done is finished by whoever comes next."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def _keep(self, duty: Duty) -> None:
        while True:
            pause = self._interval
            try:
                due = await duty.work()
                if due is not None:
                    pause = min(pause, max(0.0, due - await self._store.now()))
            except KneoError as error:
                log.warning("what is due cannot be done just now: %s", error)
            except Exception:
                # Whatever it is, the rest of this duty waits for this very task.
                log.exception("what is due cannot be done")
            await asyncio.sleep(pause)


class PutOff:
    """What could not be done is not tried again and again: it waits, longer each time, and others come first."""

    def __init__(self, clock: Clock, *, first: float = _FIRST_DELAY, longest: float = _LONGEST_DELAY) -> None:
        self._clock = clock
        self._first = first
        self._longest = longest
        self._until: dict[Hashable, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._until)

    def waits(self, thing: Hashable) -> bool:
        """Whether its time has not come yet."""
        until, _ = self._until.get(thing, (0.0, 0.0))
        return self._clock.monotonic() < until

    def add(self, thing: Hashable) -> None:
        """Has it wait."""
        _, last = self._until.get(thing, (0.0, 0.0))
        delay = min(self._longest, last * 2 or self._first)
        self._until[thing] = (self._clock.monotonic() + delay, delay)
        while len(self._until) > _MOST_PUT_OFF:
            del self._until[next(iter(self._until))]

    def keep_only(self, things: Sequence[Hashable]) -> None:
        """Forgets what is not due any more."""
        if self._until:
            there = set(things)
            self._until = {thing: wait for thing, wait in self._until.items() if thing in there}


class TimerDuty:
    """The timers of one kind. `fire` says whether there was still something to do."""

    def __init__(
        self, store: Store, kind: TimerKind, fire: Callable[[Timer], Awaitable[bool]], *, clock: Clock
    ) -> None:
        self._store = store
        self._kind = kind
        self._fire = fire
        self._put_off = PutOff(clock)

    async def work(self) -> float | None:
        """Fires a batch of timers; when the next one is due."""
        limit = BATCH + len(self._put_off)
        due = list(await self._store.due_timers(kinds=(self._kind,), limit=limit))
        self._put_off.keep_only(due)
        ready = [timer for timer in due if not self._put_off.waits(timer)][:BATCH]
        # Of several processes each begins elsewhere, so that they do not all fire the same ones.
        random.shuffle(ready)
        for few in batched(ready, _AT_ONCE):
            await asyncio.gather(*(self._fire_one(timer) for timer in few))
        if ready and len(due) >= limit:
            return 0.0
        following = await self._store.next_due(kinds=(self._kind,))
        # What is due and still there has been tried in vain, and waits.
        return None if following is None or following <= await self._store.now() else following

    async def _fire_one(self, timer: Timer) -> None:
        try:
            done = await self._fire(timer)
        except KneoError as error:
            log.warning("a timer (%s) of run %s cannot be fired: %s", timer.kind.value, timer.run_id, error)
            done = False
        except Exception:
            log.exception("a timer (%s) of run %s cannot be fired", timer.kind.value, timer.run_id)
            done = False
        if not done:
            self._put_off.add(timer)


class ClockDuty:
    """Notices that the store's clock jumped against the time that has passed (sleep, NTP, somebody's hand)."""

    def __init__(self, store: Store, *, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._offset: float | None = None

    async def work(self) -> float | None:
        """Compares, and logs a jump."""
        before = self._clock.monotonic()
        now = await self._store.now()
        # An answer that was long under way proves nothing.
        if self._clock.monotonic() - before < _JUMP / 2:
            offset = now - before
            if self._offset is not None and abs(jump := offset - self._offset) > _JUMP:
                log.warning(
                    "The clock jumped by %+.1f s. What came due by that is done now; schedules count moments that "
                    "were passed over as missed, and keep none a second time.",
                    jump,
                )
            self._offset = offset
        return None
