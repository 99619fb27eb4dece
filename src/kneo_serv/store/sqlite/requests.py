"""What callers ask the writer for, encoded on the caller's side so that the writer has little to do."""

import json
import sqlite3
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from kneo_serv.errors import StoreError
from kneo_serv.model.audit import AuditEvent
from kneo_serv.model.codec import json_text
from kneo_serv.model.idempotency import IdempotencyKey, KeyRecord
from kneo_serv.model.ids import ContinuationId, Owner, RunId
from kneo_serv.model.run import Phase, SessionConcurrency
from kneo_serv.model.task import HumanTask, TaskStatus
from kneo_serv.store.contract import Append, EventRow, NewRun, Timer
from kneo_serv.store.jsontext import dumps
from kneo_serv.store.lanes import lane_name
from kneo_serv.store.sqlite.packing import pack

type Session = tuple[str, str | None]
"""A session: its id, and the tenant whose it is."""


@dataclass(slots=True)
class Rows:
    """Rows for the tables, each a JSON array; the fragments of one batch end in one statement for each table."""

    events: list[bytes]
    timers: list[bytes]
    audit: list[bytes]
    outputs: list[bytes]

    @property
    def size(self) -> int:
        """Bytes of the large ones."""
        return sum(map(len, self.events)) + sum(map(len, self.outputs))


@dataclass(slots=True)
class Creation:
    """A new run, ready to be written."""

    run_id: RunId
    plan_hash: str
    plan: str
    row: bytes
    input: bytes
    rows: Rows
    size: int
    leased: bool = False
    session: "Session | None" = None
    sessions: SessionConcurrency = SessionConcurrency.INTERLEAVE
    waiting_row: bytes = b""
    """The row without its lease, for a run that has to wait for its session."""
    key: KeyRecord | None = None
    """What the request's idempotency key is to stand for."""
    lane: str = ""
    alone: str | None = None


@dataclass(slots=True)
class Addition:
    """An append, ready to be written."""

    append: Append
    row: bytes
    rows: Rows
    opened: list[bytes]
    snapshot: bytes | None
    size: int
    alone: str | None
    key: KeyRecord | None = None


@dataclass(slots=True)
class NamedClaim:
    """A lease that is asked for by the run's name; those of one batch are decided together."""

    run_id: RunId
    owner: Owner
    lease_seconds: float
    in_turn: bool = False
    alone: str | None = None
    size: int = 100


@dataclass(slots=True)
class Work:
    """Any other writing, with statements of its own."""

    run: Callable[[sqlite3.Connection], Any]
    alone: str | None = None
    size: int = 100


def creation(new: NewRun) -> Creation:
    """The request for a new run.

    Raises:
        StoreError: the numbers of its events do not count from 1.
    """
    record = new.record
    _check_numbers(record.id, 0, new.events)
    lane = lane_name(record.queue, record.tenant, record.needs)
    row = [
        record.id,
        record.status,
        stored_phase(record.phase),
        len(new.events),
        record.updated_at,
        0 if record.lease_owner is None else 1,
        record.lease_owner,
        None if record.lease_owner is None else time.time() + new.lease_seconds,
        record.takeovers,
        record.current_step_id,
        record.current_step_index,
        record.current_node_id,
        record.continuation_id,
        record.error_type,
        record.error_message,
        record.started_at,
        record.completed_at,
        record.input_tokens,
        record.output_tokens,
        record.fault,
        record.created_at,
        record.deadline_at,
        record.plan_hash,
        record.target,
        record.agent_name,
        record.workflow_name,
        record.workflow_kind,
        record.session_id,
        record.parent_run_id,
        record.environment,
        record.tenant,
        record.cached_tokens,
        record.requests,
        record.cost_usd,
        record.priority,
        lane,
    ]
    rows = _rows(record.id, new.events, new.timers, new.audit, record.output_text, record.public_output_text)
    waiting = [*row[:5], 0, None, None, *row[8:]]
    texts = dumps(
        [record.id, record.input_text, record.public_input_text, json.dumps(record.tags), json_text(record.metadata)]
    )
    return Creation(
        run_id=record.id,
        plan_hash=record.plan_hash,
        plan=new.plan,
        row=dumps(row),
        input=texts,
        rows=rows,
        size=rows.size + len(texts) + len(new.plan),
        leased=record.lease_owner is not None,
        session=None if record.session_id is None else (record.session_id, record.tenant),
        sessions=new.sessions,
        waiting_row=dumps(waiting),
        key=_binding(new.key, record.id, len(new.events)),
        lane=lane,
    )


def addition(append: Append) -> Addition:
    """The request for an append.

    Raises:
        StoreError: the numbers of its events do not follow `expected_seq`.
    """
    _check_numbers(append.run_id, append.expected_seq, append.events)
    projection = append.projection
    ended = projection.phase is Phase.ENDED
    row = [
        append.run_id,
        append.expected_seq + len(append.events),
        projection.status,
        stored_phase(projection.phase),
        projection.updated_at,
        projection.current_step_id,
        projection.current_step_index,
        projection.current_node_id,
        projection.continuation_id,
        projection.error_type,
        projection.error_message,
        projection.started_at,
        projection.completed_at,
        projection.input_tokens,
        projection.output_tokens,
        1 if append.release or ended else 0,
        1 if append.progress else 0,
        1 if append.revive else 0,
        projection.cached_tokens,
        projection.requests,
        projection.cost_usd,
    ]
    rows = _rows(
        append.run_id,
        append.events,
        append.timers,
        append.audit,
        projection.output_text,
        projection.public_output_text,
    )
    return Addition(
        append=append,
        row=dumps(row),
        rows=rows,
        opened=[_task(task) for task in append.opened],
        snapshot=None
        if append.snapshot is None
        else dumps([append.run_id, append.expected_seq + len(append.events), pack(append.snapshot)]),
        size=rows.size + len(append.snapshot or ""),
        alone=append.run_id,
        key=_binding(
            append.key,
            append.run_id,
            append.expected_seq + len(append.events),
            append.closed[0].continuation_id if append.closed else None,
        ),
    )


def audit_row(event: AuditEvent) -> bytes:
    """One audit event as a row."""
    return dumps(
        [
            event.id,
            event.event_type,
            event.created_at,
            event.run_id,
            event.continuation_id,
            event.actor,
            json_text(event.metadata),
            event.tenant,
        ]
    )


def key_row(record: KeyRecord) -> bytes:
    """One idempotency key as a row."""
    key = record.key
    return dumps(
        [
            key.scope,
            key.principal,
            key.key,
            key.body_hash,
            record.run_id,
            record.continuation_id,
            record.from_seq,
            int(key.asynchronous),
            record.created_at,
        ]
    )


def stored_phase(phase: Phase) -> Phase:
    """Phase as it is kept: whether a runnable run is leased, its lease tells."""
    return Phase.RUNNABLE if phase is Phase.LEASED else phase


def _binding(
    key: IdempotencyKey | None, run_id: RunId, seq: int, continuation_id: ContinuationId | None = None
) -> KeyRecord | None:
    return None if key is None else KeyRecord(key, run_id, seq, time.time(), continuation_id)


def _rows(
    run_id: RunId,
    events: Iterable[EventRow],
    timers: Iterable[Timer],
    audit: Iterable[AuditEvent],
    output: str | None,
    public_output: str | None,
) -> Rows:
    return Rows(
        events=[_event(run_id, event) for event in events],
        timers=[dumps([timer.run_id, timer.kind, timer.key, timer.due_at]) for timer in timers],
        audit=[audit_row(event) for event in audit],
        outputs=[] if output is None else [dumps([run_id, output, public_output])],
    )


def _event(run_id: RunId, event: EventRow) -> bytes:
    public = None if event.public is None else pack(event.public)
    return dumps([run_id, event.seq, event.kind, event.at, pack(event.payload), public])


def _task(task: HumanTask) -> bytes:
    return dumps(
        [
            task.continuation_id,
            task.run_id,
            task.key,
            task.step_id,
            task.step_index,
            task.workflow_name,
            task.workflow_kind,
            json_text(task.request),
            task.input_text,
            task.public_input_text,
            task.created_at,
            task.status,
            task.expires_at,
            task.escalated_at,
            task.answered_at,
            None if task.status is TaskStatus.OPEN else task.answered_at or task.created_at,
            task.decision,
            task.actor,
        ]
    )


def _check_numbers(run_id: RunId, expected: int, events: Iterable[EventRow]) -> None:
    for number, event in enumerate(events, expected + 1):
        if event.seq != number:
            raise StoreError(
                f"Run {run_id}: event {event.kind} has the number {event.seq}; the journal needs {number}."
            )
