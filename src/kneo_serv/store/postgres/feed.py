"""The feed over all runs, and whether anything has changed.

Positions come from a sequence, so that they are whole numbers which survive a dump and a restore. A sequence alone
would make a reader miss the event whose transaction commits after one with a higher position; so a feed is read only up
to the horizon, below which no transaction is open (see `kneo_horizon_1`).
"""

# ruff: noqa: S608 - statements are put together from fixed parts; values travel as parameters

from typing import Any

from kneo_serv.model.page import NO_TENANT
from kneo_serv.store.contract import EventRow, FeedItem
from kneo_serv.store.postgres.connections import Connections

SPAN = 20_000
"""Positions that are looked through at a time for the events of one tenant."""


class Feed:
    """Reads events of all runs in the order of their positions."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._horizon = 0
        self._snapshot = ""
        self._changes = 0

    async def read(self, after: int, limit: int, tenant: str | None) -> list[FeedItem]:
        """Events above a position, up to `limit` of them."""
        items: list[FeedItem] = []
        fresh = False
        while len(items) < limit:
            if after >= self._horizon:
                if fresh:
                    break
                fresh = True
                # In a statement of its own, and before: what it says holds for every later look.
                await self.last_position()
                continue
            end = self._horizon if tenant is None else min(self._horizon, after + SPAN)
            found = await self._stretch(after, end, limit - len(items), tenant)
            items += found
            after = found[-1].position if len(items) >= limit and found else end
        return items

    async def last_position(self) -> int:
        """The position up to which a feed can be read now."""
        rows = await self._connections.read("SELECT kneo_horizon_1()")
        # It never falls: another look may only have been answered out of order.
        self._horizon = max(self._horizon, int(rows[0][0]))
        return self._horizon

    async def changes(self) -> int:
        """A number that grows when any transaction has been committed since, by whomever."""
        rows = await self._connections.read("SELECT pg_current_snapshot()::text")
        if rows[0][0] != self._snapshot:
            self._snapshot = rows[0][0]
            self._changes += 1
        return self._changes

    async def _stretch(self, after: int, end: int, limit: int, tenant: str | None) -> list[FeedItem]:
        values: dict[str, Any] = {"after": after, "end": end, "limit": limit, "tenant": tenant}
        whose = ""
        if tenant is not None:
            owner = "IS NULL" if tenant == NO_TENANT else "= %(tenant)s"
            whose = f"AND (SELECT tenant FROM runs WHERE runs.id = run_id) {owner}"
        rows = await self._connections.read(
            "SELECT position, run_id, seq, kind, at, payload, public FROM run_events"
            f" WHERE position > %(after)s AND position <= %(end)s {whose} ORDER BY position LIMIT %(limit)s",
            values,
        )
        return [FeedItem(position, run_id, EventRow(*event)) for position, run_id, *event in rows]
