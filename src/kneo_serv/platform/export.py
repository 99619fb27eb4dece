"""A run as lines of JSON, to be kept elsewhere before it is removed here."""

import json
from collections.abc import AsyncGenerator
from typing import Any

from kneo_serv.errors import NotFoundError
from kneo_serv.model.ids import RunId
from kneo_serv.model.page import AuditFilter, Cursor, Page
from kneo_serv.model.run import RunRecord
from kneo_serv.model.task import HumanTask
from kneo_serv.observe import redact_data
from kneo_serv.platform.views import audit_view, request_view, run_view
from kneo_serv.platform.views.bounds import iso
from kneo_serv.store.contract import EventRow, Store

FORMAT = 1
"""Version of the lines; grows when an older reader could not read them any more."""
_PAGE = 200


async def export_lines(store: Store, run_id: RunId, *, private: bool = False) -> AsyncGenerator[str]:
    """The run line by line: itself, its plan, its events so far, its human tasks, its audit, and a last line.

    Each line is a JSON object with a `type`: run, plan, event, human_task, audit_event, end. Texts are without
    secrets, unless `private`. A file without its last line is not whole.

    Raises:
        NotFoundError: there is no such run.
    """
    record = await store.get_run(run_id)
    if record is None:
        raise NotFoundError("run", run_id)
    yield _line("run", {"format": FORMAT, "private": private, **_run(record, private=private)})
    plan = json.loads(await store.get_plan(record.plan_hash) or "null")
    yield _line("plan", {"hash": record.plan_hash, "plan": plan if private else redact_data(plan)})
    events = 0
    async for row in _events(store, record):
        events += 1
        text = row.payload if private or row.public is None else row.public
        yield _line("event", {"seq": row.seq, "kind": row.kind, "at": row.at, "payload": json.loads(text)})
    for task in await store.list_tasks(run_id=run_id, status=None):
        yield _line("human_task", _task(task, private=private))
    audited = 0
    after: Cursor | None = None
    while found := await store.list_audit(
        AuditFilter(run_id=run_id), Page(_PAGE, 0, "created_at", descending=False, after=after)
    ):
        for event in found:
            yield _line("audit_event", audit_view(event))
        audited += len(found)
        after = Cursor(found[-1].created_at, found[-1].id)
    yield _line("end", {"run_id": run_id, "events": events, "audit_events": audited})


async def some(lines: AsyncGenerator[str], most: int = _PAGE) -> list[str]:
    """The next lines, up to so many; none at the end."""
    found: list[str] = []
    while len(found) < most and (line := await anext(lines, None)) is not None:
        found.append(line)
    return found


async def _events(store: Store, record: RunRecord) -> AsyncGenerator[EventRow]:
    """The events up to the moment at which the run was looked at."""
    after = 0
    while after < record.seq:
        rows = await store.events(record.id, after=after, limit=_PAGE)
        for row in rows:
            if row.seq <= record.seq:
                yield row
        if not rows:
            return
        after = rows[-1].seq


def _run(record: RunRecord, *, private: bool) -> dict[str, Any]:
    shown = run_view(record)
    if private:
        shown |= {"input_text": record.input_text, "output_text": record.output_text, "metadata": record.metadata}
    return {**shown, "seq": record.seq, "tenant": record.tenant}


def _task(task: HumanTask, *, private: bool) -> dict[str, Any]:
    return {
        "continuation_id": task.continuation_id,
        "status": task.status.value,
        "step_id": task.step_id,
        "request": request_view(task, private=private),
        "decision": None if task.decision is None else task.decision.value,
        "actor": task.actor,
        "created_at": iso(task.created_at),
        "expires_at": iso(task.expires_at),
        "escalated_at": iso(task.escalated_at),
        "answered_at": iso(task.answered_at),
    }


def _line(kind: str, value: dict[str, Any]) -> str:
    return json.dumps({"type": kind, **value}, ensure_ascii=False, separators=(",", ":"), default=str)
