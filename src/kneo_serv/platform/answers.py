"""What callers get of a run: its result with the real text, and its view and history without secrets."""

from collections.abc import Sequence
from typing import Any

from kneo_serv.model import event as ev
from kneo_serv.model.ids import RunId
from kneo_serv.model.run import PAUSED, Phase, RunError, RunRecord, RunResult, RunStatus
from kneo_serv.model.task import HumanTask
from kneo_serv.platform import views
from kneo_serv.platform.journal import JournalUnreadableError, public, readable
from kneo_serv.platform.rests import Rest
from kneo_serv.store.contract import Store


async def public_history(store: Store, run_id: RunId) -> list[ev.Recorded]:
    """The run's history without secrets. Raises JournalUnreadableError."""
    rows = await store.events(run_id)
    with readable(run_id):
        return [public(row) for row in rows]


async def view_of(store: Store, record: RunRecord, *, trace_limit: int) -> dict[str, Any]:
    """The run as lists show it. Raises JournalUnreadableError."""
    tasks = await store.list_tasks(run_id=record.id)
    # The row was read before: what came after it belongs to another view.
    events = [one for one in await public_history(store, record.id) if one.seq <= record.seq]
    trace, dropped = views.trace_events(record, events, limit=trace_limit)
    return views.run_view(
        record,
        tasks[0] if tasks else None,
        story=views.Story.told(events),
        trace_event_count=len(trace) + dropped,
    )


async def result_of(store: Store, record: RunRecord) -> RunResult:
    """What a caller in this process gets of the run as it stands."""
    task = None
    if record.status is RunStatus.BLOCKED:
        task = next(iter(await store.list_tasks(run_id=record.id)), None)
    try:
        events = await public_history(store, record.id)
    except JournalUnreadableError:
        # The run is parked for it, and its error says so.
        events = []
    return _result(record, task, events)


def result_at(rest: Rest) -> RunResult:
    """What a caller in this process got of the run when it came to this rest, whatever has happened since."""
    return _result(rest.record, rest.task, rest.events)


def _result(record: RunRecord, task: HumanTask | None, events: Sequence[ev.Recorded]) -> RunResult:
    error = None
    if record.error_type is not None and record.status.is_terminal:
        error = RunError(record.error_type, record.error_message or "")
    elif record.phase is Phase.PARKED:
        error = RunError("run_parked", record.fault or "")
    metadata: dict[str, Any] = {} if task is None else views.pause_metadata(task)
    story = views.Story.told(events)
    metadata["workflow"] = {
        "name": record.workflow_name,
        "type": record.workflow_kind,
        "visited_steps": list(story.visited),
    }
    metadata["usage"] = views.usage_view(story, record)
    return RunResult(
        run_id=record.id,
        status=PAUSED if record.status is RunStatus.BLOCKED else record.status.value,
        output_text=record.output_text if record.status is RunStatus.COMPLETED else None,
        continuation_id=None if task is None else task.continuation_id,
        error=error,
        metadata=metadata,
    )
