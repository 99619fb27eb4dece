"""One batch of requests as a handful of statements: one for each table, whatever the number of rows."""
# ruff: noqa: S608 - statements are put together from fixed parts; values travel as parameters

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from kneo_serv.errors import SessionBusyError, StoreError
from kneo_serv.model.idempotency import KeyRecord
from kneo_serv.model.quick import replace
from kneo_serv.model.run import Phase, RunStatus, SessionConcurrency
from kneo_serv.store.contract import Append, Appended, KeyTaken, Refusal, Refused
from kneo_serv.store.jsontext import array, dumps, loads
from kneo_serv.store.lanes import lane_of
from kneo_serv.store.sqlite.claims import admission_now, claim_named
from kneo_serv.store.sqlite.keys import ADD_KEYS, Name, name_of, taken_keys
from kneo_serv.store.sqlite.leases import AT_WORK
from kneo_serv.store.sqlite.requests import Addition, Creation, NamedClaim, Session, Work, key_row

_RUN_COLUMNS = (
    "id, status, phase, seq, updated_at, fence, lease_owner, lease_expires_at, takeovers, current_step_id,"
    " current_step_index, current_node_id, continuation_id, error_type, error_message, started_at, completed_at,"
    " input_tokens, output_tokens, fault, created_at, deadline_at, plan_hash, target, agent_name, workflow_name,"
    " workflow_kind, session_id, parent_run_id, environment, tenant, cached_tokens, requests, cost_usd,"
    " priority, lane"
)
_TASK_COLUMNS = (
    "continuation_id, run_id, key, step_id, step_index, workflow_name, workflow_kind, request, input_text,"
    " public_input_text, created_at, status, expires_at, escalated_at, answered_at, closed_at, decision, actor"
)


def _items(columns: str) -> str:
    """One SQL expression for each named column: the items of a row that stands in `value`."""
    return ", ".join(f"json_extract(value, '$[{number}]')" for number in range(columns.count(",") + 1))


def _insert(table: str, columns: str, *, conflict: str = "") -> str:
    # WHERE true: without it SQLite reads ON CONFLICT as part of a join.
    return f"INSERT INTO {table} ({columns}) SELECT {_items(columns)} FROM json_each(?) WHERE true {conflict}"


def _insert_of_tenant(table: str, columns: str, *, run: int, tenant: str) -> str:
    """Adds rows whose `tenant` is that of the run which stands at place `run`; where there is none, `tenant`."""
    return (
        f"INSERT INTO {table} ({columns}, tenant) SELECT {_items(columns)}, iif(runs.id IS NULL, {tenant}, runs.tenant)"
        f" FROM json_each(?) LEFT JOIN runs ON runs.id = json_extract(value, '$[{run}]')"
    )


_KNOWN = (
    "SELECT json_array("
    "(SELECT json_group_array(runs.id) FROM json_each(?) AS wanted CROSS JOIN runs ON runs.id = wanted.value),"
    " (SELECT json_group_array(hash) FROM json_each(?) AS wanted CROSS JOIN plans ON hash = wanted.value))"
)
_BUSY = (
    "SELECT json_group_array(json(wanted.value)) FROM json_each(?) AS wanted WHERE EXISTS ("
    "SELECT 1 FROM runs WHERE session_id = json_extract(wanted.value, '$[0]')"
    f" AND tenant IS json_extract(wanted.value, '$[1]') AND {AT_WORK})"
)
_HEADS = (
    "SELECT json_group_array(json_array(runs.id, seq, status, fence, lease_owner,"
    " EXISTS (SELECT 1 FROM timers WHERE run_id = runs.id),"
    " EXISTS (SELECT 1 FROM human_tasks WHERE run_id = runs.id AND status = 'open')))"
    " FROM json_each(?) AS wanted CROSS JOIN runs ON runs.id = wanted.value"
)
_OPEN_TASKS = (
    "SELECT json_group_array(json_array(continuation_id, run_id, escalated_at IS NOT NULL))"
    " FROM json_each(?) AS wanted CROSS JOIN human_tasks ON continuation_id = wanted.value WHERE status = 'open'"
)
_PROJECT = """
    UPDATE runs SET
        seq = json_extract(value, '$[1]'),
        status = json_extract(value, '$[2]'),
        phase = json_extract(value, '$[3]'),
        updated_at = json_extract(value, '$[4]'),
        current_step_id = json_extract(value, '$[5]'),
        current_step_index = json_extract(value, '$[6]'),
        current_node_id = json_extract(value, '$[7]'),
        continuation_id = json_extract(value, '$[8]'),
        error_type = json_extract(value, '$[9]'),
        error_message = json_extract(value, '$[10]'),
        started_at = json_extract(value, '$[11]'),
        completed_at = json_extract(value, '$[12]'),
        input_tokens = json_extract(value, '$[13]'),
        output_tokens = json_extract(value, '$[14]'),
        lease_owner = iif(json_extract(value, '$[15]'), NULL, lease_owner),
        lease_expires_at = iif(json_extract(value, '$[15]'), NULL, lease_expires_at),
        takeovers = iif(json_extract(value, '$[16]'), 0, takeovers),
        fault = iif(json_extract(value, '$[17]'), NULL, fault),
        cached_tokens = json_extract(value, '$[18]'),
        requests = json_extract(value, '$[19]'),
        cost_usd = json_extract(value, '$[20]')
    FROM json_each(?) WHERE runs.id = json_extract(value, '$[0]')
"""
_ADD_PLANS = _insert("plans", "hash, plan")
_ADD_RUNS = _insert("runs", _RUN_COLUMNS)
_ADD_INPUTS = _insert("run_inputs", "run_id, input_text, public_input_text, tags, metadata")
_SET_OUTPUTS = _insert(
    "run_outputs",
    "run_id, output_text, public_output_text",
    conflict="ON CONFLICT (run_id) DO UPDATE SET"
    " output_text = excluded.output_text, public_output_text = excluded.public_output_text",
)
_ADD_EVENTS = _insert("run_events", "run_id, seq, kind, at, payload, public")
_CLEAR_TIMERS = (
    "DELETE FROM timers WHERE (run_id, kind, key) IN"
    " (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]') FROM json_each(?))"
)
_SET_TIMERS = _insert(
    "timers",
    "run_id, kind, key, due_at",
    conflict="ON CONFLICT (run_id, kind, key) DO UPDATE SET due_at = excluded.due_at",
)
_OPEN = _insert_of_tenant("human_tasks", _TASK_COLUMNS, run=1, tenant="NULL")
_CLOSE = """
    UPDATE human_tasks SET
        status = json_extract(value, '$[1]'),
        closed_at = json_extract(value, '$[2]'),
        answered_at = iif(json_extract(value, '$[1]') = 'answered', json_extract(value, '$[2]'), NULL),
        decision = json_extract(value, '$[3]'),
        actor = json_extract(value, '$[4]')
    FROM json_each(?) WHERE human_tasks.continuation_id = json_extract(value, '$[0]')
"""
_ESCALATE = """
    UPDATE human_tasks SET escalated_at = json_extract(value, '$[1]')
    FROM json_each(?) WHERE human_tasks.continuation_id = json_extract(value, '$[0]')
"""
_CANCEL_TASKS = """
    UPDATE human_tasks INDEXED BY human_tasks_by_run SET status = 'cancelled', closed_at = json_extract(value, '$[1]')
    FROM json_each(?) WHERE human_tasks.run_id = json_extract(value, '$[0]') AND human_tasks.status = 'open'
"""
_END_TIMERS = "DELETE FROM timers WHERE run_id IN (SELECT json_extract(value, '$[0]') FROM json_each(?))"
_SET_SNAPSHOTS = _insert(
    "snapshots",
    "run_id, seq, state",
    conflict="ON CONFLICT (run_id) DO UPDATE SET seq = excluded.seq, state = excluded.state",
)
ADD_AUDIT = _insert_of_tenant(
    "audit_events",
    "id, event_type, created_at, run_id, continuation_id, actor, metadata",
    run=3,
    tenant="json_extract(value, '$[7]')",
)
"""Adds audit events, given as a JSON array of rows."""


def all_at_once(connection: sqlite3.Connection, query: str, parameter: str) -> Any:
    """The value of a query that gives one JSON text."""
    (text,) = connection.execute(query, (parameter,)).fetchone()
    return loads(text)


def apply(connection: sqlite3.Connection, requests: Sequence[Creation | Addition | NamedClaim | Work]) -> list[Any]:
    """Writes a batch inside an open transaction; a result for each request, or the error that its caller gets."""
    results: list[Any] = [None] * len(requests)
    rows = _Rows()
    keys = taken_keys(connection, [request.key for request in requests if isinstance(request, (Creation, Addition))])
    creations = [(place, request) for place, request in enumerate(requests) if isinstance(request, Creation)]
    if creations:
        _create(connection, creations, keys, rows, results)
    additions = [(place, request) for place, request in enumerate(requests) if isinstance(request, Addition)]
    if additions:
        _add(connection, additions, keys, rows, results)
    rows.write(connection)
    claims = [(place, request) for place, request in enumerate(requests) if isinstance(request, NamedClaim)]
    if claims:
        given = claim_named(connection, [request for _, request in claims])
        for (place, _), leases in zip(claims, given, strict=True):
            results[place] = leases
    for place, request in enumerate(requests):
        if isinstance(request, Work):
            results[place] = request.run(connection)
    return results


@dataclass(slots=True)
class _Rows:
    """The rows of all winners of a batch, by statement. Those statements are executed in the order of the fields."""

    plans: list[bytes] = field(default_factory=list)
    runs: list[bytes] = field(default_factory=list)
    inputs: list[bytes] = field(default_factory=list)
    projections: list[bytes] = field(default_factory=list)
    outputs: list[bytes] = field(default_factory=list)
    events: list[bytes] = field(default_factory=list)
    opened: list[bytes] = field(default_factory=list)
    closed: list[bytes] = field(default_factory=list)
    escalated: list[bytes] = field(default_factory=list)
    cleared: list[bytes] = field(default_factory=list)
    timers: list[bytes] = field(default_factory=list)
    resting: list[bytes] = field(default_factory=list)
    timed: list[bytes] = field(default_factory=list)
    snapshots: list[bytes] = field(default_factory=list)
    audit: list[bytes] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)

    def write(self, connection: sqlite3.Connection) -> None:
        for statement, fragments in (
            (_ADD_PLANS, self.plans),
            (_ADD_RUNS, self.runs),
            (_ADD_INPUTS, self.inputs),
            (_PROJECT, self.projections),
            (_SET_OUTPUTS, self.outputs),
            (_ADD_EVENTS, self.events),
            (_OPEN, self.opened),
            (_CLOSE, self.closed),
            (_ESCALATE, self.escalated),
            (_CLEAR_TIMERS, self.cleared),
            (_SET_TIMERS, self.timers),
            (_CANCEL_TASKS, self.resting),
            (_END_TIMERS, self.timed),
            (_SET_SNAPSHOTS, self.snapshots),
            (ADD_AUDIT, self.audit),
            (ADD_KEYS, self.keys),
        ):
            if fragments:
                connection.execute(statement, (array(fragments),))


def _taken(key: KeyRecord | None, keys: dict[Name, KeyRecord]) -> KeyRecord | None:
    return None if key is None else keys.get(name_of(key.key))


def _bind(key: KeyRecord | None, keys: dict[Name, KeyRecord], rows: _Rows) -> None:
    if key is not None:
        keys[name_of(key.key)] = key
        rows.keys.append(key_row(key))


def _create(
    connection: sqlite3.Connection,
    creations: Sequence[tuple[int, Creation]],
    keys: dict[Name, KeyRecord],
    rows: _Rows,
    results: list[Any],
) -> None:
    ids = dumps([request.run_id for _, request in creations]).decode()
    hashes = dumps(list({request.plan_hash for _, request in creations})).decode()
    (text,) = connection.execute(_KNOWN, (ids, hashes)).fetchone()
    taken, plans = map(set, loads(text))
    busy = _busy_sessions(connection, [request for _, request in creations])
    admission = admission_now(connection) if any(request.leased for _, request in creations) else None
    for place, request in creations:
        if (earlier := _taken(request.key, keys)) is not None:
            results[place] = KeyTaken(earlier)
            continue
        if request.run_id in taken:
            results[place] = StoreError(f"There is a run {request.run_id} already. Make a new id for a new run.")
            continue
        waits = request.session in busy
        if request.session is not None and waits and request.sessions is SessionConcurrency.REJECT:
            results[place] = SessionBusyError(request.session[0])
            continue
        waits = waits and request.sessions is SessionConcurrency.QUEUE
        if request.leased and admission is not None and not waits:
            # Who asks for a run to be executed at once waits for a place all the same.
            waits = not admission.admits(lane_of(request.lane))
            if not waits:
                admission.take(lane_of(request.lane))
        results[place] = request.leased and not waits
        busy |= {request.session} if request.session is not None else set()
        taken.add(request.run_id)
        _bind(request.key, keys, rows)
        if request.plan_hash not in plans:
            plans.add(request.plan_hash)
            rows.plans.append(dumps([request.plan_hash, request.plan]))
        rows.runs.append(request.waiting_row if waits else request.row)
        rows.inputs.append(request.input)
        rows.outputs += request.rows.outputs
        rows.events += request.rows.events
        rows.timers += request.rows.timers
        rows.audit += request.rows.audit


def _busy_sessions(connection: sqlite3.Connection, creations: Iterable[Creation]) -> set[Session | None]:
    """Sessions of these runs that have a run at work."""
    asked = {request.session for request in creations if request.sessions is not SessionConcurrency.INTERLEAVE}
    wanted = [session for session in asked if session is not None]
    if not wanted:
        return set()
    return {(session_id, tenant) for session_id, tenant in all_at_once(connection, _BUSY, dumps(wanted).decode())}


@dataclass(frozen=True, slots=True)
class _Head:
    id: str
    seq: int
    status: RunStatus
    fence: int
    owner: str | None
    has_timers: bool
    has_open_tasks: bool


def _add(
    connection: sqlite3.Connection,
    additions: Sequence[tuple[int, Addition]],
    keys: dict[Name, KeyRecord],
    rows: _Rows,
    results: list[Any],
) -> None:
    wanted = dumps([request.append.run_id for _, request in additions]).decode()
    heads = {
        id_: _Head(id_, seq, RunStatus(status), fence, owner, bool(timers), bool(open_tasks))
        for id_, seq, status, fence, owner, timers, open_tasks in all_at_once(connection, _HEADS, wanted)
    }
    tasks = _open_tasks(connection, [request.append for _, request in additions])
    for place, request in additions:
        append = request.append
        head = heads.get(append.run_id)
        if (earlier := _taken(request.key, keys)) is not None:
            results[place] = replace(_refused(Refusal.KEY, head), taken=earlier)
            continue
        reason = _refusal(append, head, tasks)
        if reason is not None or head is None:
            results[place] = _refused(reason or Refusal.MISSING, head)
            continue
        _bind(request.key, keys, rows)
        _collect(request, head, rows)
        results[place] = Appended(append.expected_seq + len(append.events))


def _open_tasks(connection: sqlite3.Connection, appends: Sequence[Append]) -> dict[tuple[str, str], bool]:
    """Open tasks that the appends name, as (task, run), and whether each is escalated."""
    wanted = [closing.continuation_id for append in appends for closing in append.closed]
    wanted += [escalation.continuation_id for append in appends for escalation in append.escalated]
    if not wanted:
        return {}
    found = all_at_once(connection, _OPEN_TASKS, dumps(wanted).decode())
    return {(task, run): bool(escalated) for task, run, escalated in found}


def _refusal(append: Append, head: _Head | None, tasks: dict[tuple[str, str], bool]) -> Refusal | None:
    if head is None:
        return Refusal.MISSING
    if append.fence is not None and (head.fence != append.fence or head.owner is None or head.owner != append.owner):
        return Refusal.FENCE
    if head.status.is_terminal and not append.late and not (append.revive and head.status is RunStatus.FAILED):
        return Refusal.ENDED
    if append.late and not head.status.is_terminal:
        return Refusal.SEQUENCE
    if head.seq != append.expected_seq:
        return Refusal.SEQUENCE
    closed: set[str] = set()
    for closing in append.closed:
        if (closing.continuation_id, append.run_id) not in tasks or closing.continuation_id in closed:
            return Refusal.TASK
        closed.add(closing.continuation_id)
    escalated: set[str] = set()
    for escalation in append.escalated:
        name = escalation.continuation_id
        if tasks.get((name, append.run_id), True) or name in escalated:
            return Refusal.TASK
        escalated.add(name)
    return None


def _refused(reason: Refusal, head: _Head | None) -> Refused:
    return Refused(reason) if head is None else Refused(reason, head.seq, head.status)


def _collect(request: Addition, head: _Head, rows: _Rows) -> None:
    append = request.append
    rows.projections.append(request.row)
    rows.outputs += request.rows.outputs
    rows.events += request.rows.events
    rows.opened += request.opened
    rows.closed += [
        dumps([closing.continuation_id, closing.status, closing.at, closing.decision, closing.actor])
        for closing in append.closed
    ]
    rows.escalated += [dumps([change.continuation_id, change.escalated_at]) for change in append.escalated]
    rows.cleared += [dumps([append.run_id, kind, key]) for kind, key in append.cleared]
    rows.timers += request.rows.timers
    rows.audit += request.rows.audit
    if append.projection.phase is Phase.ENDED:
        ended = dumps([append.run_id, append.projection.updated_at])
        # Most runs end with neither; then both statements are spared.
        if head.has_open_tasks or append.opened:
            rows.resting.append(ended)
        if head.has_timers or append.timers:
            rows.timed.append(ended)
    if request.snapshot is not None:
        rows.snapshots.append(request.snapshot)
