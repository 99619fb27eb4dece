"""Schedules: changed by compare-and-set, together with the runs that they take in."""

import json
import sqlite3
from typing import Any

from kneo_serv.model.codec import decode, json_text
from kneo_serv.model.schedule import Schedule
from kneo_serv.store.contract import ScheduleChange
from kneo_serv.store.jsontext import array
from kneo_serv.store.sqlite.batch import ADD_AUDIT, apply
from kneo_serv.store.sqlite.requests import Creation, audit_row

_PUT = "INSERT OR REPLACE INTO schedules (tenant, name, revision, look_at, record) VALUES (?, ?, ?, ?, ?)"


def change(connection: sqlite3.Connection, change: ScheduleChange, run: Creation | None) -> Any:
    """Writes a change inside a transaction of the writer; whether it held, or the error that its caller gets."""
    place = (change.tenant or "", change.name)
    row = connection.execute("SELECT revision FROM schedules WHERE tenant = ? AND name = ?", place).fetchone()
    if (0 if row is None else row[0]) != change.expected:
        return False
    if run is not None:
        (made,) = apply(connection, [run])
        if isinstance(made, BaseException):
            return made
    after = change.after
    if after is None:
        connection.execute("DELETE FROM schedules WHERE tenant = ? AND name = ?", place)
    else:
        connection.execute(_PUT, (*place, after.revision, after.look_at, json_text(after)))
    if change.audit:
        connection.execute(ADD_AUDIT, (array([audit_row(event) for event in change.audit]),))
    return True


def get(connection: sqlite3.Connection, name: str, tenant: str | None) -> Schedule | None:
    """One schedule."""
    found = _fetch(connection, "WHERE tenant = ? AND name = ?", (tenant or "", name))
    return found[0] if found else None


def some(connection: sqlite3.Connection, tenant: str | None, limit: int) -> list[Schedule]:
    """Schedules of one tenant, or of all."""
    if tenant is None:
        return _fetch(connection, "ORDER BY name, tenant LIMIT ?", (limit,))
    return _fetch(connection, "WHERE tenant = ? ORDER BY name LIMIT ?", (tenant, limit))


def due(connection: sqlite3.Connection, now: float, limit: int) -> list[Schedule]:
    """Schedules whose moment has come."""
    return _fetch(connection, "WHERE look_at <= ? ORDER BY look_at, tenant, name LIMIT ?", (now, limit))


def _fetch(connection: sqlite3.Connection, condition: str, values: tuple[Any, ...]) -> list[Schedule]:
    rows = connection.execute(f"SELECT record FROM schedules {condition}", values)  # noqa: S608 - fixed parts
    return [decode(Schedule, json.loads(text)) for (text,) in rows.fetchall()]
