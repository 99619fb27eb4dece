"""How a run stood when it came to a rest: computed from its journal, whatever has happened since.

That is how a request which is sent again gets the answer that it got before, though no answer is kept.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields

from kneo_serv.engine import Posture, Wait, decide, evolve, open_tasks, posture
from kneo_serv.errors import NotFoundError, StoreError
from kneo_serv.model import event as ev
from kneo_serv.model.codec import decode
from kneo_serv.model.ids import ContinuationId, RunId
from kneo_serv.model.plan import Plan
from kneo_serv.model.quick import replace
from kneo_serv.model.run import Phase, Run, RunRecord
from kneo_serv.model.task import HumanTask
from kneo_serv.platform.journal import RunJournal, private, projection_of, public, readable
from kneo_serv.platform.tasks import tasks_opened
from kneo_serv.store.contract import EventRow, Projection, Store


@dataclass(frozen=True, slots=True)
class Rest:
    """A run as it stood when it waited for people only, or had ended."""

    record: RunRecord
    """Its row as it was then; nobody holds a lease."""
    task: HumanTask | None = None
    """The first of the human tasks that it waited for; None at an end."""
    events: Sequence[ev.Recorded] = ()
    """Its history up to then, without secrets."""


def rest_in(journal: RunJournal, from_seq: int) -> Rest | None:
    """The same from the journal of a leg that has just come to its end, at no cost; None when it does not tell."""
    run, record, past = journal.run, journal.record, journal.past
    if record is None or not past or past[0].seq != 1 or isinstance(past[-1].event, ev.LateOutcome):
        return None
    # Between two legs the run may have rested before.
    if any(isinstance(one.event, ev.LegStarted) for one in past[from_seq - 1 : journal.opened_at]):
        return None
    if run.status.is_terminal:
        return Rest(_as_it_stood(record, run, journal.stand), None, past)
    if journal.stand.phase is not Phase.WAITING_HUMAN or journal.asked is None:
        return None
    return Rest(_as_it_stood(record, run, journal.stand), _task(record, run, journal.asked), past)


def record_in(journal: RunJournal) -> RunRecord | None:
    """The run's row as it is at the end of a leg; None when the journal does not tell."""
    return None if journal.record is None else _as_it_stood(journal.record, journal.run, journal.stand)


async def rest_of(store: Store, run_id: RunId, from_seq: int) -> Rest | None:
    """The first rest of the run at its event `from_seq` or after it; None when it has not come to one.

    Of a run whose history retention has removed, its end is told, which is all that is left.

    Raises:
        NotFoundError: there is no such run.
        JournalUnreadableError: its history cannot be read or folded.
    """
    record = await store.get_run(run_id)
    if record is None:
        raise NotFoundError("run", run_id)
    rows = await store.events(run_id)
    if not rows or rows[0].seq != 1:
        return Rest(record) if record.status.is_terminal else None
    text = await store.get_plan(record.plan_hash)
    if text is None:
        raise StoreError(f"The plan {record.plan_hash} of run {run_id} is missing from the store.")
    with readable(run_id):
        return first_rest(decode(Plan, json.loads(text)), record, rows, from_seq)


def first_rest(plan: Plan, record: RunRecord, rows: Sequence[EventRow], from_seq: int) -> Rest | None:
    """The first rest at the event `from_seq` or after it; None when the run has not come to one.

    `rows` is the whole journal, `record` the run's row as it is now. Folded is what really happened, since a text
    without its secrets may lead elsewhere; what is given has the public texts beside the private ones.
    """
    run = Run(record.id)
    asked: dict[ContinuationId, HumanTask] = {}
    for number, row in enumerate(rows, 1):
        recorded = private(row)
        run = evolve(plan, run, recorded)
        match recorded.event:
            case ev.HumanAsked():
                asked |= {task.continuation_id: task for task in tasks_opened(plan, [recorded], [run])}
            case ev.HumanEscalated(continuation_id=name, escalated_at=moment) if name in asked:
                asked[name] = replace(asked[name], escalated_at=moment)
            case _:
                pass
        if run.seq >= from_seq and _rests(plan, run):
            events = tuple(public(one) for one in rows[:number])
            return Rest(_as_it_stood(record, run, posture(run)), _task(record, run, asked), events)
    return None


def _rests(plan: Plan, run: Run) -> bool:
    if run.status.is_terminal:
        return True
    if posture(run).phase is not Phase.WAITING_HUMAN:
        return False
    # Between two events of one append it may look so: but then there is something to begin.
    return all(isinstance(command, Wait) for command in decide(plan, run, run.at))


def _as_it_stood(record: RunRecord, run: Run, stand: Posture) -> RunRecord:
    projection = projection_of(run, stand)
    told = {field.name: getattr(projection, field.name) for field in fields(Projection)}
    return replace(
        record, **told, seq=run.seq, lease_owner=None, lease_expires_at=None, takeovers=0, fault=None, fence=run.fence
    )


def _task(record: RunRecord, run: Run, asked: dict[ContinuationId, HumanTask]) -> HumanTask | None:
    if run.status.is_terminal:
        return None
    waiting = [asked[state.task.continuation_id] for state in open_tasks(run) if state.task is not None]
    first = min(waiting, key=lambda task: (task.created_at, task.continuation_id), default=None)
    return None if first is None else replace(first, tenant=record.tenant)
