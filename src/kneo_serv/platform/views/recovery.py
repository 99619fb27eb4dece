"""Looking back at a run, and forward to where it would go on. Neither executes anything."""

from collections.abc import Sequence
from typing import Any

from kneo_serv.model.event import Recorded
from kneo_serv.model.plan import FlowType
from kneo_serv.model.run import RunRecord
from kneo_serv.platform.views.checkpoint import Checkpoint, Ledger
from kneo_serv.platform.views.resumption import replay_context
from kneo_serv.platform.views.story import Story, workflow_type
from kneo_serv.platform.views.task import request_fields


def replay_view(record: RunRecord, events: Sequence[Recorded]) -> dict[str, Any]:
    """The run's checkpoints as a short time line, and its replay context."""
    made, story = _told(record, events)
    return {
        "run_id": record.id,
        "status": record.status.value,
        "workflow_name": record.workflow_name,
        "workflow_kind": record.workflow_kind,
        "agent_name": record.agent_name,
        "checkpoint_count": len(made),
        "timeline": [_item(checkpoint) for checkpoint in made],
        "replay_context": replay_context(record, story, checkpoint_count=len(made)),
    }


def recovery_context(record: RunRecord, events: Sequence[Recorded]) -> dict[str, Any]:
    """Where the run stands, and under `replay_context` whether and from where it can be continued."""
    made, story = _told(record, events)
    graph = workflow_type(record, story) == FlowType.GRAPH
    asked = story.waiting
    note = None if asked is None else story.note(asked.key)
    return {
        "run_id": record.id,
        "status": record.status.value,
        "workflow_name": record.workflow_name,
        "workflow_kind": record.workflow_kind,
        "current_step_index": story.step_index,
        "current_node_id": story.step_id if graph else None,
        "visited_steps": list(story.visited),
        "visited_nodes": list(story.visited) if graph else [],
        "checkpoint_count": len(made),
        "pending_human_request": None
        if asked is None
        else request_fields(asked.request, note.input_text if note else ""),
        "continuation_id": None if asked is None else asked.continuation_id,
        "error": story.error_fields,
        "replay_context": replay_context(record, story, checkpoint_count=len(made)),
    }


def _told(record: RunRecord, events: Sequence[Recorded]) -> tuple[list[Checkpoint], Story]:
    ledger = Ledger.of(record, events)
    made = [checkpoint for recorded in events if (checkpoint := ledger.write(recorded)) is not None]
    return made, ledger.story


def _item(checkpoint: Checkpoint) -> dict[str, Any]:
    state = checkpoint.state
    pending = state["pending_human_request"]
    return {
        "id": checkpoint.id,
        "sequence": checkpoint.sequence,
        "type": checkpoint.type,
        "created_at": checkpoint.created_at,
        "workflow_name": checkpoint.workflow_name,
        "step_id": checkpoint.step_id,
        "node_id": checkpoint.node_id,
        "status": state["status"],
        "current_step_index": state["current_step_index"],
        "current_step_id": state["current_step_id"],
        "current_node_id": state["current_node_id"],
        "continuation_id": state["continuation_id"],
        "pending_human_request_id": None if pending is None else pending["id"],
        "error": state["error"],
    }
