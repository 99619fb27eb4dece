"""Where a run would go on."""

from typing import Any

from kneo_serv.model.plan import FlowType
from kneo_serv.model.run import RunRecord, RunStatus
from kneo_serv.platform.views.story import Story, workflow_type


def replay_context(record: RunRecord, story: Story, *, checkpoint_count: int) -> dict[str, Any]:
    """What is finished, what failed, and with which text the run would go on; by the events told so far.

    A failed run can be continued from wherever it stands, and so can one that lost its worker; one that waits for a
    person is resumed instead.
    """
    kind = workflow_type(record, story)
    graph = kind == FlowType.GRAPH
    done = list(story.visited)
    return {
        "run_id": record.id,
        "status": story.status.value,
        "workflow_type": kind,
        "completed_steps": done,
        "completed_nodes": done if graph else [],
        "failed_step": story.failed_step,
        "failed_node": story.failed_step if graph else None,
        "next_step_index": story.next_index,
        "resume_input": story.text,
        "checkpoint_count": checkpoint_count,
        "can_continue": story.status in (RunStatus.RUNNING, RunStatus.FAILED) and not story.asked,
        "can_replay": checkpoint_count > 0,
    }
