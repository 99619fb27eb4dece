"""Questions to the database about single things."""
# ruff: noqa: S608 - statements are put together from fixed parts; values travel as parameters

import time
from collections.abc import Mapping, Sequence
from typing import Any

from kneo_serv.model.audit import AuditEvent
from kneo_serv.model.idempotency import KeyRecord
from kneo_serv.model.ids import ContinuationId, RunId
from kneo_serv.model.run import Phase, RunRecord, RunStatus
from kneo_serv.model.task import HumanTask
from kneo_serv.store.contract import EventRow, Head, Snapshot, StoreHealth, Timer, TimerKind
from kneo_serv.store.jsontext import dumps
from kneo_serv.store.postgres import locks
from kneo_serv.store.postgres.connections import Connections, Link
from kneo_serv.store.postgres.requests import audit_items
from kneo_serv.store.postgres.rows import KEY, NOW, RUN, SEEN_PHASE, TASK, human_task, key_record, run_record
from kneo_serv.store.postgres.schema import SCHEMA_VERSION

_RUN = (
    f"SELECT {RUN} FROM runs JOIN run_inputs ON run_inputs.run_id = runs.id"
    " LEFT JOIN run_outputs ON run_outputs.run_id = runs.id WHERE runs.id = %s"
)
# Each kind by itself, so that what is due of another kind, and left alone, is not passed over.
_DUE = f"""
    SELECT run_id, kind, key, due_at FROM (SELECT DISTINCT unnest(%(kinds)s::text[]) AS name) AS wanted
    CROSS JOIN LATERAL (
        SELECT * FROM timers WHERE timers.kind = wanted.name COLLATE "C"
        AND due_at < coalesce(%(moment)s::double precision, (SELECT {NOW}))
        ORDER BY due_at, run_id, key LIMIT %(limit)s) AS due
    ORDER BY due_at, run_id, kind, key LIMIT %(limit)s
"""
_NEXT_DUE = """
    SELECT min(due) FROM unnest(%s::text[]) AS wanted (name)
    CROSS JOIN LATERAL (SELECT min(due_at) AS due FROM timers WHERE timers.kind = wanted.name COLLATE "C") AS first
"""
ADD_AUDIT = """
    INSERT INTO audit_events (id, event_type, created_at, run_id, continuation_id, actor, metadata, tenant)
        SELECT v->>0, v->>1, (v->>2)::double precision, v->>3, v->>4, v->>5, v->>6,
            CASE WHEN runs.id IS NULL THEN v->>7 ELSE runs.tenant END
        FROM jsonb_array_elements(%s::jsonb) WITH ORDINALITY AS given (v, place)
        LEFT JOIN runs ON runs.id = v->>3 ORDER BY place
"""
"""Adds audit events, given as a JSON array of `audit_items`."""
_SETTINGS = (
    *("server_version", "synchronous_commit", "fsync", "full_page_writes", "max_connections"),
    "default_transaction_isolation",
)
_HEALTH = (
    f"SELECT {', '.join(f"current_setting('{name}')" for name in _SETTINGS)},"
    " pg_database_size(current_database()), pg_is_in_recovery()"
)


async def now(connections: Connections) -> float:
    """The database's clock."""
    return float((await connections.read(f"SELECT {NOW}"))[0][0])


async def one_text(connections: Connections, query: str, *values: str) -> str | None:
    """First column of the first row."""
    rows = await connections.read(query, values)
    return None if not rows else rows[0][0]


async def events(connections: Connections, run_id: RunId, after: int, limit: int | None) -> list[EventRow]:
    """Events of a run, in order."""
    rows = await connections.read(
        "SELECT seq, kind, at, payload, public FROM run_events WHERE run_id = %s AND seq > %s ORDER BY seq LIMIT %s",
        (run_id, after, limit),
    )
    return [EventRow(*row) for row in rows]


async def snapshot(connections: Connections, run_id: RunId) -> Snapshot | None:
    """The newest snapshot of a run."""
    rows = await connections.read("SELECT seq, state FROM snapshots WHERE run_id = %s", (run_id,))
    return Snapshot(*rows[0]) if rows else None


async def find_key(connections: Connections, scope: str, principal: str, key: str) -> KeyRecord | None:
    """What an idempotency key stands for."""
    rows = await connections.read(
        f"SELECT {KEY} FROM idempotency_keys WHERE scope = %s AND principal = %s AND key = %s", (scope, principal, key)
    )
    return key_record(rows[0]) if rows else None


async def heads(connections: Connections, run_ids: Sequence[RunId]) -> list[Head]:
    """Where runs stand, in the order of the ids."""
    rows = await connections.read(
        f"SELECT runs.id, seq, status, {SEEN_PHASE}, fence FROM runs WHERE id = ANY (%s)", (list(run_ids),)
    )
    found = {row[0]: Head(row[0], row[1], RunStatus(row[2]), Phase(row[3]), row[4]) for row in rows}
    return [found[run_id] for run_id in dict.fromkeys(run_ids) if run_id in found]


async def get_run(connections: Connections, run_id: RunId) -> RunRecord | None:
    """One run."""
    rows = await connections.read(_RUN, (run_id,))
    return run_record(rows[0]) if rows else None


async def get_task(connections: Connections, continuation_id: ContinuationId) -> HumanTask | None:
    """One human task."""
    rows = await connections.read(f"SELECT {TASK} FROM human_tasks WHERE continuation_id = %s", (continuation_id,))
    return human_task(rows[0]) if rows else None


async def due_timers(
    connections: Connections, kinds: Sequence[TimerKind], moment: float | None, limit: int
) -> list[Timer]:
    """Timers that are due, earliest first."""
    rows = await connections.read(_DUE, {"kinds": [str(kind) for kind in kinds], "moment": moment, "limit": limit})
    return [Timer(run_id, TimerKind(kind), key, due_at) for run_id, kind, key, due_at in rows]


async def next_due(connections: Connections, kinds: Sequence[TimerKind]) -> float | None:
    """When the earliest timer of these kinds is due."""
    due: float | None = (await connections.read(_NEXT_DUE, ([str(kind) for kind in kinds],)))[0][0]
    return due


async def add_audit(connections: Connections, given: Sequence[AuditEvent]) -> None:
    """Writes audit events. After a lost answer those that are there already are passed over."""
    rows = dumps([audit_items(event) for event in given]).decode()
    attempts = 0

    async def add(link: Link) -> None:
        nonlocal attempts
        attempts += 1
        await link.change(f"{ADD_AUDIT} {'ON CONFLICT (id) DO NOTHING' if attempts > 1 else ''}", (rows,))

    if given:
        await connections.ask(add)


async def swap_document(connections: Connections, kind: str, name: str, text: str | None) -> str | None:
    """Sets a document, or removes it with None; what was there before."""

    async def swap(link: Link) -> str | None:
        async with link.connection.transaction():
            await link.fetch("SELECT pg_advisory_xact_lock(%s)", (locks.of_name("document", kind, name),))
            before = await link.fetch("SELECT text FROM documents WHERE kind = %s AND name = %s", (kind, name))
            if text is None:
                await link.change("DELETE FROM documents WHERE kind = %s AND name = %s", (kind, name))
            else:
                await link.change(
                    "INSERT INTO documents (kind, name, text) VALUES (%s, %s, %s)"
                    " ON CONFLICT (kind, name) DO UPDATE SET text = excluded.text",
                    (kind, name, text),
                )
            return before[0][0] if before else None

    # Done twice, it would give what it has set itself for what was there before.
    return await connections.ask(swap, repeat=False)


async def change_document(
    connections: Connections, kind: str, name: str, before: str | None, after: str | None
) -> bool:
    """Sets a document, or removes it with None, where it still reads `before`."""

    async def change(link: Link) -> bool:
        async with link.connection.transaction():
            await link.fetch("SELECT pg_advisory_xact_lock(%s)", (locks.of_name("document", kind, name),))
            there = await link.fetch("SELECT text FROM documents WHERE kind = %s AND name = %s", (kind, name))
            if (there[0][0] if there else None) != before:
                return False
            if after is None:
                await link.change("DELETE FROM documents WHERE kind = %s AND name = %s", (kind, name))
            else:
                await link.change(
                    "INSERT INTO documents (kind, name, text) VALUES (%s, %s, %s)"
                    " ON CONFLICT (kind, name) DO UPDATE SET text = excluded.text",
                    (kind, name, after),
                )
            return True

    # Done twice, it would find what it has set itself.
    return await connections.ask(change, repeat=False)


async def list_documents(connections: Connections, kind: str) -> Mapping[str, str]:
    """Documents of a kind by name."""
    rows = await connections.read("SELECT name, text FROM documents WHERE kind = %s ORDER BY name", (kind,))
    return {str(name): str(text) for name, text in rows}


async def health(connections: Connections) -> StoreHealth:
    """A round trip, and what the server says of itself."""
    begin = time.perf_counter()
    await connections.read("SELECT 1")
    latency = time.perf_counter() - begin
    ((*settings, size, standby),) = await connections.read(_HEALTH)
    facts: dict[str, Any] = {
        "place": connections.place,
        **dict(zip(_SETTINGS, settings, strict=True)),
        "standby": standby,
        "database_bytes": size,
        "latency_seconds": round(latency, 6),
        "pool_size": connections.size,
        "pool_idle": connections.idle,
    }
    return StoreHealth(backend="postgresql", schema_version=SCHEMA_VERSION, facts=facts)
