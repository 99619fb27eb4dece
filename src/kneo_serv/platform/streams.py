"""Following a run: its events as they become durable, and between them what its models are saying.

Events come from the journal alone, by their numbers, so that none is lost and none comes twice, whoever wrote it and
however slow the follower is. Pieces of text come from the models of this process; a follower who does not keep up with
them loses them before anything else.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from typing import Literal

from kneo_serv.errors import InvalidRequestError, NotFoundError, PlatformClosedError
from kneo_serv.model import event as ev
from kneo_serv.model.ids import RunId, StepKey
from kneo_serv.model.quick import replace
from kneo_serv.model.run import Phase
from kneo_serv.platform.journal import public, readable
from kneo_serv.platform.speech import Speech, TextDelta
from kneo_serv.platform.watch import Watch
from kneo_serv.platform.workers import Workers
from kneo_serv.store.contract import Store

__all__ = ["StreamItem", "Streams", "TextDelta", "Until", "checked"]

_PAGE = 100
_LONGEST_QUEUE = 200_000
"""Characters of text that wait for one follower."""

type StreamItem = ev.Recorded | TextDelta
"""An event without secrets, which has a durable number, or a piece of text, which has none."""

type Until = Literal["end", "rest"]
"""How long a run is followed: until it has ended, or until it has ended or rests on people."""


class Streams:
    """Makes streams of runs. They live on the platform's loop."""

    def __init__(self, store: Store, speech: Speech, watch: Watch, workers: Workers) -> None:
        self._store = store
        self._speech = speech
        self._watch = watch
        self._workers = workers

    async def follow(
        self, run_id: RunId, *, after: int = 0, deltas: bool = True, until: Until = "end"
    ) -> AsyncGenerator[StreamItem]:
        """The stream of one run; see `Platform.stream`."""
        checked(after, until)
        # Before anything is waited for, so that nothing of a run that was just started is missed.
        ear = _Ear()
        leave = self._watch.listen(run_id, ear.grown)
        hush = self._speech.listen(run_id, ear.heard) if deltas else None
        try:
            if not await self._store.heads([run_id]):
                raise NotFoundError("run", run_id)
            while True:
                if ear.behind:
                    ear.behind = False
                    rows = await self._store.events(run_id, after=after, limit=_PAGE)
                    with readable(run_id):
                        events = [public(row) for row in rows]
                    for recorded in events:
                        if deltas:
                            self._speech.was_read(run_id, recorded)
                        for delta in ear.take(recorded.seq):
                            yield delta
                        after = recorded.seq
                        ear.told(recorded.event)
                        yield recorded
                    if rows:
                        ear.behind = True
                        continue
                    if await self._over(run_id, after, until):
                        return
                for delta in ear.take(after + 1):
                    yield delta
                await ear.anything()
        finally:
            leave()
            if hush is not None:
                hush()

    async def _over(self, run_id: RunId, after: int, until: Until) -> bool:
        """Whether nothing follows any more that is to be waited for."""
        heads = await self._store.heads([run_id])
        if not heads:
            return True  # retention has removed it
        (head,) = heads
        # What is in flight when a run ends or rests is noted behind that, by the leg that is still here.
        if head.seq > after or self._workers.drives(run_id):
            return False
        if head.status.is_terminal or (until == "rest" and head.phase in (Phase.WAITING_HUMAN, Phase.PARKED)):
            return True
        if self._workers.stopping:
            raise PlatformClosedError(f"The platform was shut down; run {run_id} was followed up to event {after}.")
        return False


def checked(after: int, until: str) -> None:
    """Raises InvalidRequestError where a run cannot be followed from there, or that long."""
    if after < 0:
        raise InvalidRequestError(f"after must be the number of an event, or 0 for all, not {after}.")
    if until not in ("end", "rest"):
        raise InvalidRequestError(f"until must be 'end' or 'rest', not {until!r}.")


class _Ear:
    """What one follower has still to be told."""

    def __init__(self) -> None:
        self.behind = True
        """Whether there may be events that were not read."""
        self._deltas: deque[TextDelta] = deque()
        self._waiting = 0
        self._deaf: set[tuple[StepKey, int]] = set()
        """Turns that are over, and those of which pieces were lost: a text with a hole in it is worse than none."""
        self._wake = asyncio.Event()

    def grown(self) -> None:
        self.behind = True
        self._wake.set()

    def heard(self, delta: TextDelta) -> None:
        turn = (delta.key, delta.turn)
        if delta.void:
            self._forget(turn)
            self._deaf.discard(turn)
        if turn in self._deaf:
            return
        last = self._deltas[-1] if self._deltas else None
        if last is not None and (last.key, last.turn) == turn and not delta.void:
            self._deltas[-1] = replace(last, text=last.text + delta.text)
        else:
            self._deltas.append(delta)
        self._waiting += len(delta.text)
        if self._waiting > _LONGEST_QUEUE:
            self._overflow()
        self._wake.set()

    def told(self, event: ev.Event) -> None:
        match event:
            case ev.ModelTurnStarted(key, _, turn):
                self._deaf.discard((key, turn))
            case ev.ModelTurnCompleted(key, _, turn):
                self._deaf.add((key, turn))
            case ev.StepCompleted(key) | ev.StepFailed(key):
                self._deaf = {turn for turn in self._deaf if turn[0] != key}
            case _:
                pass

    def take(self, before: int) -> Iterator[TextDelta]:
        """The pieces that came before the event of this number."""
        while self._deltas and self._deltas[0].after < before:
            delta = self._deltas.popleft()
            self._waiting -= len(delta.text)
            yield delta

    async def anything(self) -> None:
        """Waits until there is something to do."""
        if not self.behind:
            await self._wake.wait()
        self._wake.clear()

    def _forget(self, turn: tuple[StepKey, int]) -> None:
        self._deltas = deque(delta for delta in self._deltas if (delta.key, delta.turn) != turn)
        self._waiting = sum(len(delta.text) for delta in self._deltas)

    def _overflow(self) -> None:
        lost = {(delta.key, delta.turn): replace(delta, text="", void=True) for delta in self._deltas}
        self._deltas = deque(lost.values())
        self._deaf |= lost.keys()
        self._waiting = 0
