"""Keeping leases alive while this process drives runs."""

import asyncio
import logging

from kneo_serv.errors import StoreError
from kneo_serv.model.clock import Clock
from kneo_serv.model.ids import Owner, RunId
from kneo_serv.platform.driver import Driver, Lease
from kneo_serv.store.contract import Store

log = logging.getLogger("kneo_serv.platform")


class LeaseKeeper:
    """Renews the leases of all runs in hand after each third of their time, and tells a driver when its own is gone."""

    def __init__(self, store: Store, *, owner: Owner, seconds: float, clock: Clock) -> None:
        self._store = store
        self._owner = owner
        self._seconds = seconds
        self._clock = clock
        self._held: dict[RunId, tuple[Lease, Driver]] = {}
        self._task: asyncio.Task[None] | None = None

    def lease(self, run_id: RunId, fence: int, *, asked_at: float) -> Lease:
        """The lease that was given under this fence, when asked for at `asked_at` on the monotonic clock."""
        return Lease(run_id, self._owner, fence, asked_at + self._seconds)

    def keep(self, lease: Lease, driver: Driver) -> None:
        """Renews this lease until `drop`."""
        self._held[lease.run_id] = lease, driver
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._renew())

    def drop(self, lease: Lease) -> None:
        """Renews this lease no longer."""
        if self._held.get(lease.run_id, (None,))[0] is lease:
            del self._held[lease.run_id]

    async def close(self) -> None:
        """Renews nothing any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _renew(self) -> None:
        while self._held:
            await asyncio.sleep(self._seconds / 3)
            asked = dict(self._held)
            if not asked:
                return
            before = self._clock.monotonic()
            try:
                kept = await self._store.renew(self._owner, list(asked), lease_seconds=self._seconds)
            except StoreError as error:
                # Each driver stops by itself once its lease has run out.
                log.warning("cannot renew %d leases: %s", len(asked), error)
                continue
            for run_id, (lease, driver) in asked.items():
                if run_id in kept:
                    lease.valid_until = before + self._seconds
                elif self._held.get(run_id, (None,))[0] is lease:
                    driver.lose()
