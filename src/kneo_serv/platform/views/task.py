"""What callers see of a human task."""

from collections.abc import Mapping, Sequence
from typing import Any

from kneo_serv.model import event as ev
from kneo_serv.model.run import RunRecord
from kneo_serv.model.task import HumanRequest, HumanTask
from kneo_serv.observe import redact_data, redact_text
from kneo_serv.platform.views.bounds import iso

_MESSAGES, _MESSAGE_CHARS = 50, 20_000


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
        **({} if request.remind_every_seconds is None else {"remind_every_seconds": request.remind_every_seconds}),
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


def task_view(task: HumanTask, record: RunRecord | None = None, *, visited: Sequence[str] = ()) -> dict[str, Any]:
    """The task as JSON object, as lists show it: the continuation of its run. `expires_at` is seconds (epoch).

    The record of the run tells what the task does not: the run's own workflow and where it stands there.
    """
    graph = task.workflow_kind == "graph"
    index = None if record is None else record.current_step_index
    node = None if record is None else record.current_node_id
    return {
        "id": task.continuation_id,
        "continuation_id": task.continuation_id,
        "run_id": task.run_id,
        "status": task.status.value,
        "workflow_name": task.workflow_name or (None if record is None else record.workflow_name),
        "workflow_kind": task.workflow_kind or (None if record is None else record.workflow_kind),
        "current_step_index": task.step_index if task.step_index is not None else index,
        "current_node_id": task.step_id if graph else node,
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


def thread_view(events: Sequence[ev.Recorded], continuation_id: str) -> list[dict[str, Any]]:
    """The conversation that led to a task, oldest first: the run's input, then what each step made of it.

    The last 50 messages, each cut at 20,000 characters; the text under review stands whole in the request.
    """
    messages: list[dict[str, Any]] = []
    for recorded in events:
        match recorded.event:
            case ev.RunCreated(input_text=text):
                messages.append(_message("user", text, None))
            case ev.StepCompleted(step_id=step, output_text=text):
                messages.append(_message("assistant", text, step))
            case ev.HumanAnswered(step_id=step, content=str(text)):
                messages.append(_message("user", text, step))
            case ev.HumanAsked(continuation_id=asked) if asked == continuation_id:
                break
            case _:
                continue
    return messages[-_MESSAGES:]


def _message(role: str, text: str, name: str | None) -> dict[str, Any]:
    rest = len(text) - _MESSAGE_CHARS
    content = text if rest <= 0 else f"{text[:_MESSAGE_CHARS]}...[truncated {rest} chars]"
    return {"role": role, "content": content, "name": name, "tool_call_id": None, "metadata": {}}


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
