"""What callers see of a run."""

from collections.abc import Mapping
from typing import Any

from kneo_serv.model.event import RunForked
from kneo_serv.model.message import Usage
from kneo_serv.model.plan import ROOT, FlowType
from kneo_serv.model.run import RunRecord
from kneo_serv.model.task import HumanTask
from kneo_serv.observe import redact_data, redact_text
from kneo_serv.platform.views.bounds import iso
from kneo_serv.platform.views.story import Story, workflow_type
from kneo_serv.platform.views.task import pause_metadata, request_view


def run_view(
    record: RunRecord, task: HumanTask | None = None, *, story: Story | None = None, trace_event_count: int = 0
) -> dict[str, Any]:
    """The run as JSON object, with public texts; `task` is the open task that it waits for.

    Without its `story`, what only the journal tells is left out: visited steps, and what each agent used.
    Times are ISO texts in UTC, but `deadline_at` is seconds since the epoch.
    """
    usage = usage_view(story, record) if story is not None and story.usage.requests else _recorded(record)
    visited = [] if story is None else list(story.visited)
    return {
        "run_id": record.id,
        "id": record.id,
        "status": record.status.value,
        "agent_name": record.agent_name,
        "workflow_name": record.workflow_name,
        "workflow_kind": record.workflow_kind,
        "input_text": record.input_text if record.public_input_text is None else record.public_input_text,
        "output_text": record.output_text if record.public_output_text is None else record.public_output_text,
        "current_step_index": record.current_step_index,
        "current_step_id": record.current_step_id,
        "current_node_id": record.current_node_id,
        "visited_steps": visited,
        "visited_nodes": visited if workflow_type(record) == FlowType.GRAPH else [],
        "pending_human_request": None if task is None else request_view(task, private=False),
        "continuation_id": record.continuation_id if task is None else task.continuation_id,
        "parent_run_id": record.parent_run_id,
        "session_id": record.session_id,
        "tags": list(record.tags),
        "error": error_of(record),
        "trace_event_count": trace_event_count,
        "usage": usage if usage["total_tokens"] or usage.get("requests") else None,
        "metadata": _metadata(record, task),
        "created_at": iso(record.created_at),
        "updated_at": iso(record.updated_at),
        "started_at": iso(record.started_at),
        "completed_at": iso(record.completed_at),
        "deadline_at": record.deadline_at,
    }


def usage_view(story: Story, record: RunRecord) -> dict[str, Any]:
    """What the run used, and what each of its agents did, as JSON object. Money in US dollars, by list price."""
    names = {key: (record.agent_name or key) if key == ROOT else key for key in story.spent}
    return {
        **usage_fields(story.usage),
        **_priced(story.usage),
        "agents": {names[key]: {**usage_fields(used), **_priced(used)} for key, used in story.spent.items()},
    }


def usage_fields(usage: Usage) -> dict[str, Any]:
    """Tokens as JSON object."""
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
    }


def _priced(usage: Usage) -> dict[str, Any]:
    return {
        "cached_tokens": usage.cached_tokens,
        "requests": usage.requests,
        "cost_usd": usage.cost_usd,
        "unpriced_requests": usage.unpriced,
    }


def recorded_usage(record: RunRecord) -> Usage:
    """What the run used, as far as its row tells."""
    return Usage(record.input_tokens, record.output_tokens, record.requests, record.cached_tokens, record.cost_usd)


def _recorded(record: RunRecord) -> dict[str, Any]:
    usage = recorded_usage(record)
    if not usage.requests:
        return usage_fields(usage)
    priced = _priced(usage)
    # How many questions have no known price, a row does not tell.
    del priced["unpriced_requests"]
    return {**usage_fields(usage), **priced}


def fork_fields(event: RunForked) -> dict[str, Any]:
    """Where a forked run comes from, and what is not as it was there."""
    return {
        "parent_run_id": event.parent_run_id,
        "at_sequence": event.at_sequence,
        "changed": list(event.changed),
    }


def error_of(record: RunRecord) -> dict[str, str] | None:
    """Why the run ended badly, as JSON object."""
    if record.error_type is None:
        return None
    return {"message": redact_text(record.error_message or ""), "type": record.error_type}


def _metadata(record: RunRecord, task: HumanTask | None) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "target": record.target,
        "environment": record.environment,
        "queue": record.queue,
        "priority": record.priority,
    }
    metadata.update(redact_data(dict(record.metadata)))
    caller = metadata.get("caller_metadata")
    if isinstance(caller, Mapping):
        metadata = {**caller, **metadata}
    return metadata if task is None else {**metadata, **pause_metadata(task)}
