"""Shapes of requests about runs, and of their answers."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field

from kneo_serv.model.limits import PRIORITIES
from kneo_serv.service.limits import RequestLimits
from kneo_serv.service.schemas.bounds import Bounds
from kneo_serv.service.schemas.shapes import Answered, Asked, ListQuery, Moment, NoQuery, Texts
from kneo_serv.service.schemas.specs import SpecSource

MAX_WAIT = 60.0
"""Seconds that a request for a run may wait for news of it."""

ROW_KEYS = (
    "id",
    "run_id",
    "status",
    "agent_name",
    "workflow_name",
    "workflow_kind",
    "workflow_type",
    "input_text",
    "output_text",
    "current_step_index",
    "current_step_id",
    "current_node_id",
    "visited_steps",
    "visited_nodes",
    "pending_human_request",
    "continuation_id",
    "parent_run_id",
    "session_id",
    "tags",
    "error",
    "trace_event_count",
    "trace_dropped",
    "messages",
    "usage",
    "metadata",
    "created_at",
    "updated_at",
    "started_at",
    "completed_at",
    "deadline_at",
)
"""What rows of lists have."""
_SOME_KEYS = rf"^[ ,]*(({'|'.join(ROW_KEYS)}) *(,[ ,]*|$))*$"


class SkillsOverlay(Asked):
    """Which declared skills the root agent has more, or less."""

    add: Texts = Field(default_factory=list)
    disable: Texts = Field(default_factory=list)


class RunCreateRequest(SpecSource):
    """What is to be run, and how it is waited for."""

    input: str = Field(examples=["Summarize the state of the art."])
    target: Literal["agent", "workflow"] = Field(
        default="workflow", description="A spec without a workflow runs its agent in either case."
    )
    skills: SkillsOverlay | None = None
    async_mode: bool = Field(default=False, description="Answer at once, with 202, and do not wait for the run.")
    session_id: str | None = Field(default=None, examples=["ticket-4711"])
    metadata: dict[str, Any] = Field(default_factory=dict, description="The caller's own; kept with the run.")
    timeout_seconds: float | None = Field(
        default=None, gt=0, le=315_360_000, allow_inf_nan=False, description="Deadline of the run, from its creation."
    )
    wait: float | None = Field(
        default=None,
        ge=0,
        le=86_400,
        allow_inf_nan=False,
        description="Seconds that the caller waits for the run to rest or end (KNEO_SERV_PATIENCE_SECONDS by default). "
        "When they are over, the answer is 202 and the run goes on.",
    )
    tags: Texts = Field(default_factory=list)
    queue: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$",
        description="Where the run waits for a worker; else as the spec says (`dispatch.queue`), else `default`.",
    )
    priority: int | None = Field(
        default=None,
        ge=PRIORITIES[0],
        le=PRIORITIES[1],
        description="Runs of a higher one go first among those of the tenant that wait; else as the spec says, else 0.",
    )

    def _measure(self, bounds: Bounds, limits: RequestLimits) -> None:
        bounds.chars("input", self.input, limits.max_input_chars)
        super()._measure(bounds, limits)
        bounds.json_bytes("metadata", self.metadata, limits.max_metadata_bytes)
        named = [("tags", self.tags)]
        if self.skills is not None:
            named += [("skills", self.skills.add), ("skills", self.skills.disable)]
        for name, items in named:
            bounds.items(name, items, limits.max_list_items)
            for number, item in enumerate(items):
                bounds.chars(name, item, limits.max_path_chars, number)

    def _names(self) -> Iterator[tuple[str, str | None]]:
        yield from super()._names()
        yield "session_id", self.session_id


class ErrorInfo(Answered):
    """Why a run ended badly."""

    type: str = Field(examples=["step_failed"])
    message: str


class RunCreateResponse(Answered):
    """How the run stands: at its end, where it waits for people (`paused`), or while it is at work (`running`)."""

    run_id: str | None = Field(examples=["run_2026-05-10T12:34:56_k3J9dPq0sVx2LwTzYb8fNA"])
    status: str = Field(examples=["completed", "paused", "running"])
    output_text: str | None = None
    human_intervention_required: bool = False
    continuation_id: str | None = None
    error: ErrorInfo | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)


class RunUsage(Answered):
    """Tokens."""

    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0


class RunStatusResponse(Answered):
    """A run as it stands; its texts hold no secrets. `workflow_kind` says how it runs: as `workflow` or as `agent`."""

    run_id: str
    status: str = Field(examples=["blocked"])
    agent_name: str | None = None
    workflow_name: str | None = None
    workflow_kind: str | None = None
    session_id: str | None = None
    input_text: str | None = None
    output_text: str | None = None
    current_step_index: int | None = None
    current_node_id: str | None = None
    visited_steps: list[str] = Field(default_factory=list)
    visited_nodes: list[str] = Field(default_factory=list)
    pending_human_request: dict[str, Any] | None = None
    continuation_id: str | None = None
    trace_event_count: int = 0
    usage: RunUsage | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    error: ErrorInfo | None = None


class RunRow(Answered):
    """A run as lists show it. What only its journal tells, such as visited steps, is left to `GET /runs/{id}`."""

    id: str
    run_id: str
    status: str | None = None


class RunDeleteResponse(Answered):
    """The run that is gone."""

    run_id: str
    deleted: bool = True


class RunListResponse(Answered):
    """A page of runs."""

    runs: list[RunRow]
    count: int
    total: int = 0
    total_exact: bool = True
    window: int = 10_000
    limit: int = 100
    offset: int = 0
    sort_by: str = "updated_at"
    sort_order: str = "desc"
    next_cursor: str | None = None


class GetRunQuery(NoQuery):
    """How long news are waited for."""

    wait: float | None = Field(
        default=None,
        ge=0,
        le=MAX_WAIT,
        allow_inf_nan=False,
        description="Seconds to wait until the status changes or the run rests or ends. With If-None-Match, a rest "
        "that the caller knows is no news.",
    )


class ContinueQuery(NoQuery):
    """How long to wait."""

    wait: float | None = Field(
        default=None,
        ge=0,
        le=86_400,
        allow_inf_nan=False,
        description="Seconds to wait until the run rests or ends (KNEO_SERV_PATIENCE_SECONDS by default). When they "
        "are over, the answer is 202 and the run goes on.",
    )


class RunsQuery(ListQuery):
    """Which runs. All conditions hold together."""

    status: str | None = Field(
        default=None, description="`paused` means `blocked`; several, separated by commas, let any of them pass."
    )
    workflow_kind: str | None = Field(
        default=None, description="`workflow` or `agent`, or the type of the workflow, such as `graph`."
    )
    workflow_name: str | None = None
    agent_name: str | None = None
    session_id: str | None = None
    has_error: bool | None = None
    created_after: Moment | None = Field(default=None, description="ISO 8601, inclusive; without an offset it is UTC.")
    created_before: Moment | None = Field(default=None, description="ISO 8601, inclusive.")
    q: str | None = Field(default=None, max_length=1000, description="Part of the output or of the error's message.")
    fields: Annotated[str, Field(max_length=2000, json_schema_extra={"pattern": _SOME_KEYS})] | None = Field(
        default=None, description="Keys that the rows have beside their ids, separated by commas."
    )
    light: bool = Field(default=False, description="Rows without input, output, tags and metadata.")
