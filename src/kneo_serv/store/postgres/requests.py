"""What callers ask the writer for, encoded so that whole batches are put together by joining texts."""

import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from kneo_serv.errors import StoreError
from kneo_serv.model.audit import AuditEvent
from kneo_serv.model.codec import json_text
from kneo_serv.model.idempotency import IdempotencyKey
from kneo_serv.model.ids import ContinuationId, Owner, RunId
from kneo_serv.model.run import Phase, SessionConcurrency
from kneo_serv.model.task import HumanTask, TaskStatus
from kneo_serv.store.contract import Append, EventRow, NewRun, Timer
from kneo_serv.store.jsontext import dumps
from kneo_serv.store.lanes import lane_name
from kneo_serv.store.postgres import locks

WRITE = "SELECT kneo_write_2(%s::jsonb)::text"
"""Writes a batch, given as `batch_text`."""


@dataclass(slots=True)
class Request:
    """One writing to one run. `parts` are JSON arrays by the names that the function in the database knows."""

    run_id: RunId
    parts: dict[str, list[bytes]]
    names: frozenset[str] = frozenset()
    """Of requests that share a name only one is under way at a time; its run's id is always among them."""
    locks: tuple[int, ...] = ()
    locked_run: bool = True
    """Whether its run is there already."""
    size: int = 100


@dataclass(slots=True)
class Creation(Request):
    """A new run."""

    leased: bool = False
    session_id: str | None = None


@dataclass(slots=True)
class Addition(Request):
    """An append. `seq` is the number of its last event."""

    seq: int = 0


@dataclass(slots=True)
class NamedClaim(Request):
    """A lease that is asked for by the run's name."""


@dataclass(slots=True)
class _Parts:
    """Rows by part; each begins with the id of the run that is written to."""

    run_id: RunId
    found: dict[str, list[bytes]] = field(default_factory=dict)

    def add(self, part: str, *items: Any) -> None:
        self.found.setdefault(part, []).append(dumps([self.run_id, *items]))

    @property
    def size(self) -> int:
        return sum(len(row) for rows in self.found.values() for row in rows)


def creation(new: NewRun) -> Creation:
    """The request for a new run.

    Raises:
        StoreError: the numbers of its events do not count from 1.
    """
    record = new.record
    _check_numbers(record.id, 0, new.events)
    parts = _Parts(record.id)
    write_id = new_write_id()
    parts.add(
        "creations",
        record.status,
        stored_phase(record.phase),
        len(new.events),
        record.updated_at,
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
        record.cached_tokens,
        record.requests,
        record.cost_usd,
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
        write_id,
        record.lease_owner,
        new.lease_seconds,
        SessionConcurrency.INTERLEAVE if record.session_id is None else new.sessions,
        record.priority,
        lane_name(record.queue, record.tenant, record.needs),
    )
    parts.add("plans", record.plan_hash, new.plan)
    parts.add(
        "inputs",
        record.plan_hash,
        record.input_text,
        record.public_input_text,
        json.dumps(record.tags),
        json_text(record.metadata),
    )
    _add_rows(parts, write_id, new.events, new.timers, new.audit, record.output_text, record.public_output_text)
    names, taken_locks = [str(record.id)], []
    if record.session_id is not None and new.sessions is not SessionConcurrency.INTERLEAVE:
        names.append(f"session\0{record.session_id}\0{record.tenant}")
        taken_locks.append(locks.of_name("session", record.session_id, record.tenant))
    _bind(parts, new.key, len(new.events), None, names, taken_locks)
    return Creation(
        run_id=record.id,
        parts=parts.found,
        names=frozenset(names),
        locks=tuple(taken_locks),
        locked_run=False,
        size=parts.size,
        leased=record.lease_owner is not None,
        session_id=record.session_id,
    )


def addition(append: Append) -> Addition:
    """The request for an append.

    Raises:
        StoreError: the numbers of its events do not follow `expected_seq`.
    """
    _check_numbers(append.run_id, append.expected_seq, append.events)
    projection = append.projection
    ended = projection.phase is Phase.ENDED
    seq = append.expected_seq + len(append.events)
    parts = _Parts(append.run_id)
    write_id = new_write_id()
    parts.add(
        "appends",
        seq,
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
        append.release or ended,
        append.progress,
        append.revive,
        projection.cached_tokens,
        projection.requests,
        projection.cost_usd,
        append.expected_seq,
        append.fence,
        append.owner,
        append.late,
        bool(append.closed or append.escalated),
        write_id,
    )
    _add_rows(
        parts,
        write_id,
        append.events,
        append.timers,
        append.audit,
        projection.output_text,
        projection.public_output_text,
    )
    for task in append.opened:
        parts.add("opened", *_task(task))
    for closing in append.closed:
        parts.add("closed", closing.continuation_id, closing.status, closing.at, closing.decision, closing.actor)
    for escalation in append.escalated:
        parts.add("escalated", escalation.continuation_id, escalation.escalated_at)
    for kind, key in append.cleared:
        parts.add("cleared", kind, key)
    if ended:
        parts.add("ended", projection.updated_at)
    if append.snapshot is not None:
        parts.add("snapshots", seq, append.snapshot)
    names, taken_locks = [str(append.run_id)], list[int]()
    answered = append.closed[0].continuation_id if append.closed else None
    _bind(parts, append.key, seq, answered, names, taken_locks)
    return Addition(
        run_id=append.run_id,
        parts=parts.found,
        names=frozenset(names),
        locks=tuple(taken_locks),
        size=parts.size,
        seq=seq,
    )


def named_claim(run_id: RunId, owner: Owner, lease_seconds: float, *, in_turn: bool) -> NamedClaim:
    """The request for a lease."""
    parts = _Parts(run_id)
    parts.add("claims", owner, lease_seconds, in_turn, new_write_id())
    return NamedClaim(run_id=run_id, parts=parts.found, names=frozenset({str(run_id)}))


def batch_text(requests: Iterable[Request], *, again: bool) -> str:
    """The batch as the function in the database takes it; `again` makes it look for what was written already."""
    parts: dict[str, list[bytes]] = {}
    runs: list[str] = []
    taken_locks: set[int] = set()
    for request in requests:
        for name, rows in request.parts.items():
            parts.setdefault(name, []).extend(rows)
        taken_locks.update(request.locks)
        if request.locked_run:
            runs.append(request.run_id)
    fields = [b'"%s":[%s]' % (name.encode(), b",".join(rows)) for name, rows in parts.items()]
    if runs:
        fields.append(b'"runs":%s' % dumps(runs))
    if taken_locks:
        fields.append(b'"locks":%s' % dumps(sorted(taken_locks)))
    if again:
        fields.append(b'"again":true')
    return (b"{" + b",".join(fields) + b"}").decode()


def audit_items(event: AuditEvent) -> list[Any]:
    """The columns of one audit event."""
    return [
        event.id,
        event.event_type,
        event.created_at,
        event.run_id,
        event.continuation_id,
        event.actor,
        json_text(event.metadata),
        event.tenant,
    ]


def stored_phase(phase: Phase) -> Phase:
    """Phase as it is kept: whether a runnable run is leased, its lease tells."""
    return Phase.RUNNABLE if phase is Phase.LEASED else phase


def new_write_id() -> int:
    """A number that tells the rows of one attempt to write from those of any other."""
    return secrets.randbits(63)


def _bind(
    parts: _Parts,
    key: IdempotencyKey | None,
    seq: int,
    continuation_id: ContinuationId | None,
    names: list[str],
    taken_locks: list[int],
) -> None:
    if key is None:
        return
    parts.add(
        *("keys", key.scope, key.principal, key.key, key.body_hash),
        *(continuation_id, seq, key.asynchronous),
    )
    names.append(f"key\0{key.scope}\0{key.principal}\0{key.key}")
    taken_locks.append(locks.of_name("key", key.scope, key.principal, key.key))


def _add_rows(
    parts: _Parts,
    write_id: int,
    events: Iterable[EventRow],
    timers: Iterable[Timer],
    audit: Iterable[AuditEvent],
    output: str | None,
    public_output: str | None,
) -> None:
    for event in events:
        parts.add("events", event.seq, event.kind, event.at, event.payload, event.public, write_id)
    # Of one timer given twice the last one holds.
    for timer in {(timer.run_id, timer.kind, timer.key): timer for timer in timers}.values():
        parts.add("timers", timer.run_id, timer.kind, timer.key, timer.due_at)
    for event_ in audit:
        parts.add("audit", *audit_items(event_))
    if output is not None:
        parts.add("outputs", output, public_output)


def _task(task: HumanTask) -> list[Any]:
    return [
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


def _check_numbers(run_id: RunId, expected: int, events: Iterable[EventRow]) -> None:
    for number, event in enumerate(events, expected + 1):
        if event.seq != number:
            raise StoreError(
                f"Run {run_id}: event {event.kind} has the number {event.seq}; the journal needs {number}."
            )
