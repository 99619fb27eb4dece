"""Leases: who may execute which run, and until when, by the database's clock. They end by running out, and only so."""
# ruff: noqa: S608 - statements are put together from fixed parts; values travel as parameters

import os
import secrets
import socket
from collections.abc import Sequence

from kneo_serv.model.ids import Owner, RunId
from kneo_serv.store.contract import TimerKind
from kneo_serv.store.postgres.connections import Connections, Link
from kneo_serv.store.postgres.rows import NOW

FREE = f"phase = 'runnable' AND (lease_owner IS NULL OR lease_expires_at <= {NOW})"
"""Runs that could be claimed now."""
_RENEW = f"""
    WITH held AS MATERIALIZED (
        SELECT id FROM runs WHERE id = ANY (%(runs)s) AND lease_owner = %(owner)s ORDER BY id FOR UPDATE
    )
    UPDATE runs SET lease_expires_at = {NOW} + %(seconds)s FROM held WHERE runs.id = held.id RETURNING runs.id
"""
_MINE = "WHERE id = %(run)s AND lease_owner = %(owner)s AND fence = %(fence)s"
_RELEASE = f"UPDATE runs SET lease_owner = NULL, lease_expires_at = NULL {_MINE}"
_RELEASED = "SELECT id FROM runs WHERE id = %(run)s AND fence = %(fence)s AND lease_owner IS NULL"
_PARK = (
    "UPDATE runs SET phase = 'parked', fault = %(fault)s, lease_owner = NULL, lease_expires_at = NULL"
    f" {_MINE} RETURNING id"
)
_PARKED = f"{_RELEASED} AND phase = 'parked' AND fault = %(fault)s"
_WAKE = """
    WITH woken AS (
        UPDATE runs SET phase = 'runnable' WHERE id = %(run)s AND phase = 'waiting_timer' RETURNING id
    ), cleared AS (
        DELETE FROM timers USING woken WHERE timers.run_id = woken.id AND timers.kind = %(kind)s
    )
    SELECT id FROM woken
"""

# The clock is read where the row is held already, so that moments are in the order of the claims.
_DUTY = f"""
    INSERT INTO duties (name, claimed_at, write_id) VALUES (%(name)s, {NOW}, %(write_id)s)
        ON CONFLICT (name) DO UPDATE SET claimed_at = {NOW}, write_id = excluded.write_id
        WHERE duties.claimed_at <= {NOW} - %(every)s OR duties.claimed_at > {NOW} + %(every)s
        RETURNING name
"""


def new_owner() -> Owner:
    """A name for a worker of this process, never the same twice: host, process id and a random part, for eyes only."""
    return Owner(f"{socket.gethostname().replace(':', '_')}:{os.getpid()}:{secrets.token_hex(6)}")


async def renew(
    connections: Connections, owner: Owner, run_ids: Sequence[RunId], *, lease_seconds: float
) -> frozenset[RunId]:
    """Makes leases last; those that the owner still holds."""
    values = {"owner": owner, "runs": list(run_ids), "seconds": lease_seconds}
    return frozenset(row[0] for row in await connections.read(_RENEW, values)) if run_ids else frozenset()


async def release(connections: Connections, run_id: RunId, *, owner: Owner, fence: int) -> bool:
    """Gives a lease back."""
    return await _done(connections, f"{_RELEASE} RETURNING id", _RELEASED, run=run_id, owner=owner, fence=fence)


async def park(connections: Connections, run_id: RunId, *, owner: Owner, fence: int, fault: str) -> bool:
    """Puts a run aside and names the fault."""
    return await _done(connections, _PARK, _PARKED, run=run_id, owner=owner, fence=fence, fault=fault)


async def wake(connections: Connections, run_id: RunId) -> bool:
    """Makes a run that waits for a timer runnable."""
    seen = "SELECT id FROM runs WHERE id = %(run)s AND phase = 'runnable'"
    return await _done(connections, _WAKE, seen, run=run_id, kind=TimerKind.RETRY)


async def claim_duty(connections: Connections, name: str, *, every: float) -> bool:
    """Whether it is this caller's turn to do what one of all has to do now and then."""
    seen = "SELECT name FROM duties WHERE name = %(name)s AND write_id = %(write_id)s"
    return await _done(connections, _DUTY, seen, name=name, every=float(every), write_id=secrets.randbits(63))


async def runnable(connections: Connections, *, limit: int) -> list[RunId]:
    """Runs that could be claimed now, oldest first."""
    query = f"SELECT id FROM runs WHERE {FREE} ORDER BY created_at, id LIMIT %s"
    return [row[0] for row in await connections.read(query, (limit,))]


async def _done(connections: Connections, change: str, seen: str, **values: object) -> bool:
    """Whether a change was made. Where the answer to a first attempt was lost, `seen` tells whether that one did it."""
    attempts = 0

    async def work(link: Link) -> bool:
        nonlocal attempts
        attempts += 1
        return bool(await link.fetch(change, values)) or (attempts > 1 and bool(await link.fetch(seen, values)))

    return await connections.ask(work)
