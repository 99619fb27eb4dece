"""Schedules: changed by compare-and-set, together with the runs that they take in."""
# ruff: noqa: S608 - statements are put together from fixed parts; values travel as parameters

import json
from typing import Any

import psycopg

from kneo_serv.model.codec import decode, json_text
from kneo_serv.model.schedule import Schedule
from kneo_serv.store.contract import ScheduleChange
from kneo_serv.store.jsontext import dumps
from kneo_serv.store.postgres import locks
from kneo_serv.store.postgres.answers import results
from kneo_serv.store.postgres.connections import Connections, Link
from kneo_serv.store.postgres.faults import is_lost
from kneo_serv.store.postgres.queries import ADD_AUDIT
from kneo_serv.store.postgres.requests import WRITE, Creation, audit_items, batch_text, creation, new_write_id
from kneo_serv.store.postgres.rows import NOW

_THIS = "WHERE tenant = %(tenant)s AND name = %(name)s"
_PUT = """
    INSERT INTO schedules (tenant, name, revision, look_at, record, write_id)
        VALUES (%(tenant)s, %(name)s, %(revision)s, %(look_at)s, %(record)s, %(write_id)s)
        ON CONFLICT (tenant, name) DO UPDATE SET revision = excluded.revision, look_at = excluded.look_at,
        record = excluded.record, write_id = excluded.write_id
"""
# Whether an attempt whose answer was lost has written: others may have gone on from there, but its audit stays.
_WRITTEN = f"""
    SELECT 1 WHERE EXISTS (SELECT 1 FROM schedules {_THIS} AND write_id = %(write_id)s)
    OR EXISTS (SELECT 1 FROM audit_events WHERE id = ANY (%(audit)s))
    OR (%(removes)s AND NOT EXISTS (SELECT 1 FROM schedules {_THIS}))
"""


async def change(connections: Connections, change: ScheduleChange) -> bool:
    """Writes a change in one transaction; whether it held.

    Raises:
        StoreError: the run's id is taken, or the database cannot do it.
        KeyTaken: its idempotency key is taken.
        SessionBusyError: its session has a run at work, and it is not to wait.
    """
    request = None if change.run is None else creation(change.run)
    after = change.after
    values: dict[str, Any] = {
        "tenant": change.tenant or "",
        "name": change.name,
        "revision": None if after is None else after.revision,
        "look_at": None if after is None else after.look_at,
        "record": None if after is None else json_text(after),
        "write_id": new_write_id(),
        "audit": [event.id for event in change.audit],
        "removes": after is None,
    }
    lost: list[tuple[int, str] | None] = []

    async def work(link: Link) -> bool:
        if lost:
            await connections.settle(lost[-1])
            if await link.fetch(_WRITTEN, values):
                return True
        try:
            async with link.connection.transaction():
                return await _write(link, change, request, values)
        except psycopg.Error as error:
            if is_lost(error):
                lost.append(link.backend)
            raise

    return await connections.ask(work)


async def _write(link: Link, change: ScheduleChange, request: Creation | None, values: dict[str, Any]) -> bool:
    await link.fetch("SELECT pg_advisory_xact_lock(%s)", (locks.of_schedule(change.tenant, change.name),))
    rows = await link.fetch(f"SELECT revision FROM schedules {_THIS}", values)
    if (rows[0][0] if rows else 0) != change.expected:
        return False
    await link.change(f"DELETE FROM schedules {_THIS}" if change.after is None else _PUT, values)
    if request is not None:
        ((text,),) = await link.fetch(WRITE, (batch_text([request], again=False),))
        (made,) = results([request], text)
        if isinstance(made, Exception):
            # Ends the transaction, with all that was written in it.
            raise made
    if change.audit:
        # After the run, whose tenant its audit takes.
        await link.change(ADD_AUDIT, (dumps([audit_items(event) for event in change.audit]).decode(),))
    return True


async def get(connections: Connections, name: str, tenant: str | None) -> Schedule | None:
    """One schedule."""
    found = await _fetch(connections, _THIS, {"tenant": tenant or "", "name": name})
    return found[0] if found else None


async def some(connections: Connections, tenant: str | None, limit: int) -> list[Schedule]:
    """Schedules of one tenant, or of all."""
    condition = "" if tenant is None else "WHERE tenant = %(tenant)s"
    values = {"tenant": tenant, "limit": limit}
    return await _fetch(connections, f"{condition} ORDER BY name, tenant LIMIT %(limit)s", values)


async def due(connections: Connections, now: float | None, limit: int) -> list[Schedule]:
    """Schedules whose moment has come."""
    condition = (
        f"WHERE look_at <= coalesce(%(now)s::double precision, (SELECT {NOW}))"
        " ORDER BY look_at, tenant, name LIMIT %(limit)s"
    )
    return await _fetch(connections, condition, {"now": now, "limit": limit})


async def _fetch(connections: Connections, condition: str, values: dict[str, Any]) -> list[Schedule]:
    rows = await connections.read(f"SELECT record FROM schedules {condition}", values)
    return [decode(Schedule, json.loads(text)) for (text,) in rows]
