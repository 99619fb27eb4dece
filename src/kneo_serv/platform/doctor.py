"""Looking into the journals: whether what the tables say is what the history says."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from kneo_serv.engine import evolve, open_tasks, posture
from kneo_serv.model.codec import CodecError, decode
from kneo_serv.model.event import Recorded
from kneo_serv.model.ids import RunId
from kneo_serv.model.page import Cursor, Page, RunFilter
from kneo_serv.model.plan import Plan
from kneo_serv.model.run import Phase, Run, RunRecord
from kneo_serv.model.task import HumanTask
from kneo_serv.platform.journal import JournalUnreadableError, private, readable
from kneo_serv.store.contract import EventRow, Store, Timer, TimerKind

_PAGE = 200
_ALL_TIMERS = 1_000_000


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in a journal, or in what was made of it, that cannot be right.

    `code` is one of: gap, plan, unreadable, projection, snapshot, task_of_ended_run, tasks, lease, timers.
    """

    run_id: RunId
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Look:
    """What a look through some journals has found."""

    findings: Sequence[Finding]
    checked: int
    """Runs that were looked at."""
    last: Cursor | None
    """The oldest of them; None when there was none."""


async def check_journals(store: Store, *, limit: int | None = None) -> list[Finding]:
    """What is wrong with the newest `limit` runs (None means all); empty when nothing is.

    Works on a store in use: only what a second look still finds is told.
    """
    findings: list[Finding] = []
    after: Cursor | None = None
    left = math.inf if limit is None else limit
    while left > 0:
        look = await look_through(store, limit=int(min(_PAGE, left)), after=after)
        findings += look.findings
        if look.last is None:
            break
        after = look.last
        left -= look.checked
    return findings


async def look_through(store: Store, *, limit: int, after: Cursor | None = None, tenant: str | None = None) -> Look:
    """The same of `limit` runs at most, the newest of those that are older than `after`; of a tenant's, or of all."""
    findings: list[Finding] = []
    records = await store.list_runs(
        RunFilter(tenant=tenant), Page(limit=limit, sort="created_at", descending=True, after=after)
    )
    timers = await _timers(store) if records else ()
    for record in records:
        if await _check(store, record.id, timers):
            findings += await _check(store, record.id, await _timers(store))
    return Look(findings, len(records), Cursor(records[-1].created_at, records[-1].id) if records else None)


async def _timers(store: Store) -> Sequence[Timer]:
    return await store.due_timers(kinds=tuple(TimerKind), now=math.inf, limit=_ALL_TIMERS)


async def _check(store: Store, run_id: RunId, timers: Sequence[Timer]) -> list[Finding]:
    record = await store.get_run(run_id)
    rows = await store.events(run_id)
    tasks = await store.list_tasks(run_id=run_id)
    if record is None or (not rows and record.status.is_terminal):
        return []  # retention removed it, or its history
    findings = [*_gaps(record, rows), *_leases(record), *_ended(record, tasks)]
    text = await store.get_plan(record.plan_hash)
    if text is None:
        return [*findings, Finding(run_id, "plan", f"the plan {record.plan_hash} is missing")]
    if findings:
        return findings  # what is folded from such a history says nothing more
    try:
        with readable(run_id):
            plan = decode(Plan, json.loads(text))
            run = _folded(plan, Run(run_id), [private(row) for row in rows])
    except JournalUnreadableError as error:
        # A parked run is known to be so; its fault is told where it is listed.
        return [] if record.phase is Phase.PARKED else [Finding(run_id, "unreadable", error.message)]
    mine = [timer for timer in timers if timer.run_id == run_id]
    return [
        *_projection(record, run),
        *_tasks(run, tasks),
        *_due(record, tasks, mine),
        *await _snapshot(store, plan, run, rows),
    ]


def _folded(plan: Plan, run: Run, events: Sequence[Recorded]) -> Run:
    for recorded in events:
        run = evolve(plan, run, recorded)
    return run


def _gaps(record: RunRecord, rows: Sequence[EventRow]) -> list[Finding]:
    numbers = [row.seq for row in rows]
    if numbers != list(range(1, len(numbers) + 1)):
        return [Finding(record.id, "gap", f"the events are not numbered from 1 without gaps: {numbers[:20]}")]
    if record.seq != len(rows):
        return [Finding(record.id, "gap", f"the run counts {record.seq} events, and the journal has {len(rows)}")]
    if any(after.at < before.at for before, after in pairwise(rows)):
        return [Finding(record.id, "gap", "the times of the events go back")]
    return []


def _leases(record: RunRecord) -> list[Finding]:
    if record.phase is Phase.LEASED and (record.lease_owner is None or record.fence < 1):
        return [Finding(record.id, "lease", "the run is leased to nobody")]
    rests = record.phase in (Phase.WAITING_HUMAN, Phase.PARKED, Phase.ENDED)
    if rests and record.lease_owner is not None:
        return [Finding(record.id, "lease", f"the run is {record.phase.value} and leased to {record.lease_owner}")]
    return []


def _ended(record: RunRecord, tasks: Sequence[HumanTask]) -> list[Finding]:
    if record.status.is_terminal and tasks:
        names = ", ".join(task.continuation_id for task in tasks)
        return [Finding(record.id, "task_of_ended_run", f"the run is {record.status.value} and asks people: {names}")]
    return []


def _projection(record: RunRecord, run: Run) -> list[Finding]:
    stand = posture(run)
    pairs = {
        "status": (record.status, stand.status),
        "phase": (record.phase, stand.phase),
        "output_text": (record.output_text, run.output_text),
        "error_type": (record.error_type, run.error_type),
        "current_step_id": (record.current_step_id, stand.step_id),
        "continuation_id": (record.continuation_id, stand.continuation_id),
        "input_tokens": (record.input_tokens, run.usage.input_tokens),
        "output_tokens": (record.output_tokens, run.usage.output_tokens),
        "cached_tokens": (record.cached_tokens, run.usage.cached_tokens),
        "requests": (record.requests, run.usage.requests),
        "started_at": (record.started_at, run.started_at),
        "completed_at": (record.completed_at, run.ended_at),
    }
    if record.phase is Phase.PARKED or (record.phase, stand.phase) in _SAME_PHASE:
        del pairs["phase"]
    if not math.isclose(record.cost_usd, run.usage.cost_usd, abs_tol=1e-8):
        # Databases round a sum each in its own way; nothing costs that little.
        pairs["cost_usd"] = (record.cost_usd, run.usage.cost_usd)
    return [
        Finding(run.id, "projection", f"{name} is {told!r}, and by the journal {folded!r}")
        for name, (told, folded) in pairs.items()
        if told != folded
    ]


_SAME_PHASE = {
    (Phase.LEASED, Phase.RUNNABLE),
    # A timer woke the run, and its next leg has not written yet.
    (Phase.RUNNABLE, Phase.WAITING_TIMER),
    (Phase.LEASED, Phase.WAITING_TIMER),
}


def _tasks(run: Run, tasks: Sequence[HumanTask]) -> list[Finding]:
    stored = {str(task.continuation_id) for task in tasks}
    live = [] if run.status.is_terminal else open_tasks(run)
    folded = {str(state.task.continuation_id) for state in live if state.task is not None}
    if stored == folded:
        return []
    return [Finding(run.id, "tasks", f"open tasks are {sorted(stored)}, and by the journal {sorted(folded)}")]


def _due(record: RunRecord, tasks: Sequence[HumanTask], timers: Sequence[Timer]) -> list[Finding]:
    wanted: set[tuple[str, str]] = set()
    if not record.status.is_terminal and record.deadline_at is not None:
        wanted.add((TimerKind.RUN_DEADLINE.value, ""))
    for task in tasks:
        if task.expires_at is not None and task.escalated_at is None:
            wanted.add((TimerKind.HUMAN_DEADLINE.value, task.continuation_id))
    if record.phase is Phase.WAITING_TIMER:
        wanted.add((TimerKind.RETRY.value, ""))
    # How many reminders are still to come, the task alone does not tell.
    reminded = {str(task.continuation_id) for task in tasks if task.request.remind_every_seconds is not None}
    found = {
        (timer.kind.value, timer.key)
        for timer in timers
        if timer.kind is not TimerKind.REMINDER or timer.key not in reminded
    }
    if record.phase is Phase.PARKED:
        found = {timer for timer in found if timer in wanted}
    if found == wanted:
        return []
    return [Finding(record.id, "timers", f"timers are {sorted(found)}, and should be {sorted(wanted)}")]


async def _snapshot(store: Store, plan: Plan, run: Run, rows: Sequence[EventRow]) -> list[Finding]:
    snapshot = await store.snapshot(run.id)
    if snapshot is None:
        return []
    try:
        kept = decode(Run, json.loads(snapshot.state))
    except CodecError as fault:
        return [Finding(run.id, "snapshot", f"the snapshot cannot be read: {fault}")]
    if kept.seq != snapshot.seq:
        return [Finding(run.id, "snapshot", f"the snapshot is said to be of event {snapshot.seq}, not {kept.seq}")]
    if _folded(plan, kept, [private(row) for row in rows if row.seq > kept.seq]) != run:
        return [Finding(run.id, "snapshot", f"what follows from the snapshot at event {kept.seq} differs")]
    return []
