"""Human tasks: what is asked and answered."""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from kneo_serv.model.task import Decision
from kneo_serv.service.schemas.shapes import Answered, Asked, ListQuery, NoQuery

_REQUEST_ID = "req_01977c1d-4f53-7c1e-8f00-2f3e4d5c6b7b"
_CONTINUATION_ID = "cont_01977c1d-4f53-7c1e-8f00-2f3e4d5c6b7a"
_RUN_ID = "run_2026-05-10T12:34:56_4k0Yw3m1TzqJ0b2c5d6e7f"
_RESUME_EXAMPLE: dict[str, Any] = {"request_id": _REQUEST_ID, "decision": "approved", "content": "Looks good. Ship it."}
_REQUEST_EXAMPLE: dict[str, Any] = {
    "id": _REQUEST_ID,
    "request_id": _REQUEST_ID,
    "type": "review",
    "title": "approval-reviewer",
    "prompt": "Please approve or edit the draft report.",
    "context": {"input_text": "The launch is on Monday."},
    "options": [],
    "assignee": "reviewer@example.com",
    "timeout_seconds": 86400.0,
    "on_timeout": "escalate",
}
_TASK_EXAMPLE: dict[str, Any] = {
    "continuation_id": _CONTINUATION_ID,
    "run_id": _RUN_ID,
    "status": "open",
    "request": _REQUEST_EXAMPLE,
    "messages": [{"role": "user", "content": "draft the launch announcement", "name": None}],
    "created_at": "2026-05-10T12:34:57.000000+00:00",
    "expires_at": 1778502897.0,
}


class HumanTaskQuery(ListQuery):
    """Which open human tasks."""

    run_id: str | None = None
    workflow_kind: str | None = Field(
        default=None, description="Type of the workflow that asks, as the spec says it: sequential, graph, ..."
    )
    status: Literal["pending", "escalated"] | None = Field(
        default=None, description="`escalated`: its deadline has passed and was told on; `pending`: any other."
    )


class HumanTaskItem(Answered):
    """An open human task as lists show it, without secrets."""

    id: str = Field(description="Its continuation id: with this it is read and answered.")
    continuation_id: str
    run_id: str
    status: str
    workflow_name: str | None = None
    workflow_kind: str | None = None
    current_step_index: int | None = None
    current_node_id: str | None = None
    current_input: str | None = Field(default=None, description="The text under review, without secrets.")
    visited_steps: list[str] = Field(default_factory=list)
    visited_nodes: list[str] = Field(default_factory=list)
    messages: list[dict[str, Any]] = Field(default_factory=list, description="Empty here; the single task has them.")
    variables: dict[str, Any] = Field(default_factory=dict)
    pending_human_request_id: str
    pending_human_request: dict[str, Any]
    created_at: str
    expires_at: float | None = Field(default=None, description="Its deadline, in seconds since the epoch.")
    trace_events: list[dict[str, Any]] = Field(default_factory=list, description="Empty here.")
    metadata: dict[str, Any] = Field(default_factory=dict)


class HumanTaskListResponse(Answered):
    """A page of open human tasks."""

    tasks: list[HumanTaskItem]
    count: int
    total: int = Field(description="One above the window stands for any larger number.")
    total_exact: bool = True
    window: int
    limit: int
    offset: int
    sort_by: str
    sort_order: Literal["asc", "desc"]
    next_cursor: str | None = Field(default=None, description="Asks for the next page; null on the last one.")


class HumanTaskResponse(Answered):
    """One open human task. Who may answer it sees the real text under review, which is audited."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"example": _TASK_EXAMPLE})

    continuation_id: str
    request: dict[str, Any] | None = Field(description="What is asked; its id stands under `id` and `request_id`.")
    messages: list[dict[str, Any]] | None = Field(
        default=None, description="The conversation that led here, oldest first, without secrets."
    )
    run_id: str
    status: str
    workflow_name: str | None = None
    workflow_kind: str | None = None
    created_at: str
    expires_at: float | None = Field(default=None, description="Its deadline, in seconds since the epoch.")
    deadline_at: float | None = Field(default=None, description="The deadline of its run.")


class ResumeQuery(NoQuery):
    """How long to wait."""

    wait: float | None = Field(
        default=None,
        ge=0,
        le=3600,
        allow_inf_nan=False,
        description="Seconds to wait until the run rests or ends; what is over then is only the waiting. "
        "Without it the platform's patience counts.",
    )


class HumanResumeRequest(Asked):
    """A person's answer."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": _RESUME_EXAMPLE})

    request_id: str = Field(description="Of the request that is answered: an answer to another one does not count.")
    decision: Decision = Field(description="Which decisions count depends on the type of the request.")
    content: str | None = Field(default=None, description="The new text with `edited` and `provided`; else a comment.")
    selected_option: str | None = Field(default=None, description="One of the request's options, with `selected`.")
    metadata: dict[str, Any] = Field(default_factory=dict)


class HumanResumeResponse(Answered):
    """How the run came to rest after the answer."""

    run_id: str | None
    status: str = Field(description="`completed`, `failed`, `paused` (it waits for a person again), `running`, ...")
    output_text: str | None = Field(default=None, description="Without secrets; null while the run is not completed.")
    human_intervention_required: bool = False
    continuation_id: str | None = Field(default=None, description="Of the next human task.")
    error: dict[str, Any] | None = Field(default=None, description="`type` and `message` where the run ended badly.")
    metadata: dict[str, Any] = Field(default_factory=dict)
