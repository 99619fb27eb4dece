"""Runs, events and tasks for the cases."""

from dataclasses import replace
from typing import Any

from kneo_serv.model.audit import AuditEvent
from kneo_serv.model.ids import AuditId, ContinuationId, Owner, PlanHash, RequestId, RunId, StepKey
from kneo_serv.model.plan import RequestType
from kneo_serv.model.run import Phase, RunRecord, RunStatus, SessionConcurrency
from kneo_serv.model.task import HumanRequest, HumanTask
from kneo_serv.store.contract import Append, EventRow, NewRun, Projection, Store

ANNA = Owner("otherhost-a:boot:1:1")
BERT = Owner("otherhost-b:boot:2:2")
START = 1_700_000_000.123457


def run_id(name: str) -> RunId:
    """An id of the usual form."""
    return RunId(f"run_2026-05-10T12:34:56_{name:0>22}")


def record(name: str, **changes: Any) -> RunRecord:
    """A runnable run."""
    plain = RunRecord(
        id=run_id(name),
        status=RunStatus.CREATED,
        phase=Phase.RUNNABLE,
        seq=1,
        plan_hash=PlanHash("plan"),
        target="workflow",
        input_text="in",
        created_at=START,
        updated_at=START,
    )
    return replace(plain, **changes)


def event(seq: int, kind: str = "step_started", **changes: Any) -> EventRow:
    """One event."""
    return replace(EventRow(seq=seq, kind=kind, at=START + seq, payload=f'{{"n":{seq}}}'), **changes)


def new_run(name: str, *, sessions: SessionConcurrency = SessionConcurrency.INTERLEAVE, **changes: Any) -> NewRun:
    """A run with one event; `changes` go to its record."""
    created = (event(1, "run_created"),)
    return NewRun(record=record(name, **changes), plan='{"flows":{}}', events=created, sessions=sessions)


def running(**changes: Any) -> Projection:
    """The projection of a run at work."""
    return replace(Projection(status=RunStatus.RUNNING, phase=Phase.RUNNABLE, updated_at=START + 10), **changes)


def ended(status: RunStatus = RunStatus.COMPLETED, **changes: Any) -> Projection:
    """The projection of a run that came to an end."""
    plain = Projection(status=status, phase=Phase.ENDED, updated_at=START + 20, completed_at=START + 20)
    return replace(plain, **changes)


def append(name: str, after: int, projection: Projection | None = None, **changes: Any) -> Append:
    """An append of one event after `after`."""
    plain = Append(
        run_id=run_id(name), expected_seq=after, events=(event(after + 1),), projection=projection or running()
    )
    return replace(plain, **changes)


def task(name: str, run: str, **changes: Any) -> HumanTask:
    """An open human task."""
    request = HumanRequest(
        id=RequestId(f"req_{name}"),
        type=RequestType.APPROVAL,
        title="Release?",
        prompt="May it go out?",
        requested_by="review",
        options=("yes", "no"),
        timeout_seconds=3600.0,
    )
    plain = HumanTask(
        continuation_id=ContinuationId(f"cont_{name}"),
        run_id=run_id(run),
        key=StepKey("main/review#1"),
        step_id="review",
        step_index=1,
        workflow_name="letters",
        workflow_kind="sequential",
        request=request,
        input_text="the letter",
        created_at=START,
    )
    return replace(plain, **changes)


def audit(name: str, **changes: Any) -> AuditEvent:
    """One audit event."""
    plain = AuditEvent(id=AuditId(f"aud_{name}"), event_type="run.created", created_at=START, actor="anna")
    return replace(plain, **changes)


async def claimed(store: Store, name: str, owner: Owner = ANNA, *, lease_seconds: float = 60.0) -> int:
    """Fence of a new lease of this run."""
    (claim,) = await store.claim(owner, lease_seconds=lease_seconds, run_id=run_id(name))
    return claim.fence
