"""A store that kills its own process at a chosen write, to prove that whatever was begun can be finished."""

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

from kneo_serv.model.ids import Owner, RunId
from kneo_serv.store.contract import Append, Appended, Claim, NewRun, Refused, Store


class Moment(StrEnum):
    """On which side of the write the process dies."""

    BEFORE = "before"
    """Nothing of the write reaches the database."""
    AFTER = "after"
    """The write is durable, and nobody is told."""


@dataclass(frozen=True, slots=True)
class CrashPoint:
    """Where the process dies: at the `number`-th write, counted from 1."""

    number: int
    moment: Moment

    @classmethod
    def parse(cls, text: str) -> "CrashPoint":
        """From the form `before:3`. Raises ValueError."""
        moment, _, number = text.partition(":")
        return cls(int(number), Moment(moment))

    def __str__(self) -> str:
        return f"{self.moment}:{self.number}"


class CrashingStore:
    """Passes every call on to another store, and sends SIGKILL to its own process at the crash point.

    Counted are `create`, `append`, those `claim` calls that give a lease, and `release`: all that moves a run. A claim
    that finds nothing is no write, so that an idle worker's polling does not move the crash point. Since it is known
    only afterwards whether a claim gives something, a claim is killed after it in both moments.

    ```python
    store = CrashingStore(SQLiteStore(path), CrashPoint.parse("after:4"))
    ```
    """

    def __init__(self, store: Store, point: CrashPoint | None) -> None:
        self._store = store
        self._point = point
        self.writes = 0
        """Writes so far."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def as_store(self) -> Store:
        """This store under its contract's name; every call that is not counted goes through by attribute."""
        return cast("Store", self)

    async def create(self, new: NewRun) -> bool:
        """A counted write."""
        self._before()
        leased = await self._store.create(new)
        self._after()
        return leased

    async def append(self, append: Append) -> Appended | Refused:
        """A counted write."""
        self._before()
        result = await self._store.append(append)
        self._after()
        return result

    async def release(self, run_id: RunId, *, owner: Owner, fence: int) -> bool:
        """A counted write."""
        self._before()
        released = await self._store.release(run_id, owner=owner, fence=fence)
        self._after()
        return released

    async def claim(self, owner: Owner, **which: Any) -> Sequence[Claim]:
        """A counted write if it gives a lease; takes what the store's own `claim` takes."""
        claims = await self._store.claim(owner, **which)
        if claims:
            self._before()
            self._after()
        return claims

    def _before(self) -> None:
        self.writes += 1
        self._die(Moment.BEFORE)

    def _after(self) -> None:
        self._die(Moment.AFTER)

    def _die(self, moment: Moment) -> None:
        if self._point == CrashPoint(self.writes, moment):
            os.kill(os.getpid(), signal.SIGKILL)
