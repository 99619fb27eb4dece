"""Appends by those who hold no lease: people, cancellation, deadlines. They go by compare-and-set alone."""

from collections.abc import Callable, Sequence

from kneo_serv.errors import LockAcquisitionError
from kneo_serv.model import event as ev
from kneo_serv.model.clock import Clock
from kneo_serv.model.idempotency import IdempotencyKey
from kneo_serv.model.ids import RunId
from kneo_serv.platform.draft import Draft
from kneo_serv.platform.journal import Journal, RunJournal
from kneo_serv.store.contract import Appended, Refusal, Refused

_TRIES = 100


class OutsideRefused(Exception):
    """The store refused for another reason than a race on the sequence."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.reason)
        self.refused = refused


class Outside:
    """Adds events to runs from outside their leases."""

    def __init__(self, journal: Journal, *, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock

    async def append(
        self,
        run_id: RunId,
        make: Callable[[Draft], Sequence[ev.Event]],
        *,
        revive: bool = False,
        key: IdempotencyKey | None = None,
    ) -> RunJournal | None:
        """Appends what `make` makes of the run's present state; None when it makes nothing.

        `make` is called again when something else was appended in the meantime. `key` is bound to what was appended.

        Raises:
            NotFoundError: there is no such run.
            OutsideRefused: the run has ended, a task is no longer open, or the key is taken.
            LockAcquisitionError: the run changes faster than one can look.
        """
        opened = await self._journal.open(run_id)
        for _ in range(_TRIES):
            draft = opened.draft(self._clock.now())
            for event in make(draft):
                draft.add(event)
            if not draft.events:
                return None
            result = await opened.append(draft, revive=revive, key=key)
            if isinstance(result, Appended):
                return opened
            if result.reason is not Refusal.SEQUENCE:
                raise OutsideRefused(result)
            await opened.catch_up()
        raise LockAcquisitionError(f"Run {run_id}")
