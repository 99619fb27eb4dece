"""What callers see of a human task."""

from collections.abc import Mapping, Sequence
from typing import Any

from kneo_serv.model.run import RunRecord
from kneo_serv.model.task import HumanRequest, HumanTask
from kneo_serv.observe import redact_data, redact_text
from kneo_serv.platform.views.bounds import iso


def request_fields(request: HumanRequest, input_text: str) -> dict[str, Any]:
    """A request as JSON object, with the text under review in its context; its id under both names of the wire."""
    return {
        "id": request.id,
        "request_id": request.id,
        "type": request.type.value,
        "title": request.title,
        "prompt": request.prompt,
        "context": {**request.context, "input_text": input_text},
        "options": list(request.options),
        "default_option": request.default_option,
        "requested_by": request.requested_by,
        "assignee": request.assignee,
        "timeout_seconds": request.timeout_seconds,
        "on_timeout": request.on_timeout.value,
        "metadata": dict(request.metadata),
    }


def request_view(task: HumanTask, *, private: bool) -> dict[str, Any]:
    """The request of a task as JSON object; `private` shows the real text, which the deciding person needs.

    The assignee is shown in either case, since a request is of no use to people who cannot see whose it is.
    """
    request = request_fields(task.request, task.input_text if private else _public_text(task))
    if not private:
        request = {**redact_data(request), "assignee": task.request.assignee}
    if task.escalated_at is not None:
        request["escalated_at"] = task.escalated_at
        request["original_expires_at"] = task.expires_at
    return request


def task_view(task: HumanTask, record: RunRecord, *, visited: Sequence[str] = ()) -> dict[str, Any]:
    """The task as JSON object, as lists show it: the continuation of its run. `expires_at` is seconds (epoch)."""
    graph = task.workflow_kind == "graph"
    return {
        "id": task.continuation_id,
        "continuation_id": task.continuation_id,
        "run_id": task.run_id,
        "status": task.status.value,
        "workflow_name": task.workflow_name or record.workflow_name,
        "workflow_kind": task.workflow_kind or record.workflow_kind,
        "current_step_index": task.step_index if task.step_index is not None else record.current_step_index,
        "current_node_id": task.step_id if graph else record.current_node_id,
        "current_input": _public_text(task),
        "visited_steps": [] if graph else list(visited),
        "visited_nodes": list(visited) if graph else [],
        "messages": [],
        "variables": {},
        "pending_human_request_id": task.request.id,
        "pending_human_request": request_view(task, private=False),
        "created_at": iso(task.created_at),
        "expires_at": task.expires_at,
        "trace_events": [],
        "metadata": {"node_id" if graph else "step_id": task.step_id},
    }


def pause_metadata(task: HumanTask, *, private: bool = False) -> dict[str, Any]:
    """What the answer to a call says in `metadata` while the run waits for this task."""
    request: Mapping[str, Any] = request_view(task, private=private)
    return {
        "human_intervention_required": True,
        "continuation_id": task.continuation_id,
        "pending_step_id": task.step_id,
        "pending_human_request": {"request_id": task.request.id, "prompt": request["prompt"]},
        "request": dict(request),
    }


def _public_text(task: HumanTask) -> str:
    # The stored public text is the truth; redacting once more costs little and covers rows without one.
    return redact_text(task.input_text) if task.public_input_text is None else task.public_input_text
