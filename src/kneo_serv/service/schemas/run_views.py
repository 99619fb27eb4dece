"""Shapes of what can be seen of a run: trace, checkpoints, differences, graph, recovery, replay."""

from typing import Any

from pydantic import Field

from kneo_serv.service.schemas.runs import ErrorInfo
from kneo_serv.service.schemas.shapes import Answered, ListQuery, NoQuery
from kneo_serv.service.schemas.specs import SpecGraphResponse


class TraceQuery(ListQuery):
    """Which trace events."""

    event_type: str | None = Field(default=None, examples=["step_completed"])


class CheckpointsQuery(ListQuery):
    """Which checkpoints."""

    type: str | None = Field(default=None, examples=["human_pause"])


class DiffQuery(NoQuery):
    """Which two checkpoints; the last two by default."""

    from_sequence: int | None = Field(default=None, ge=1)
    to_sequence: int | None = Field(default=None, ge=1)


class _Listed(Answered):
    run_id: str
    count: int = 0
    total: int = 0
    total_exact: bool = True
    window: int = 10_000
    limit: int = 100
    offset: int = 0
    sort_by: str | None = None
    sort_order: str | None = None
    next_cursor: str | None = None


class RunTraceResponse(_Listed):
    """What happened. `dropped` events beyond KNEO_SERV_TRACE_MAX_EVENTS are not told."""

    events: list[dict[str, Any]]
    dropped: int = 0
    complete: bool = True


class RunCheckpointsResponse(_Listed):
    """The run after each of its steps, pauses and ends."""

    checkpoints: list[dict[str, Any]]


class CheckpointDiffResponse(Answered):
    """What changed between two checkpoints. `change_count` counts also what is not shown."""

    run_id: str
    from_checkpoint: dict[str, Any]
    to_checkpoint: dict[str, Any]
    change_count: int
    added: list[dict[str, Any]] = Field(default_factory=list)
    removed: list[dict[str, Any]] = Field(default_factory=list)
    changed: list[dict[str, Any]] = Field(default_factory=list)
    truncated: bool


class RunGraphResponse(SpecGraphResponse):
    """The run's workflow, with where it stands and has been; `current` is null at the end."""

    run_id: str
    status: str
    current: str | None = None
    visited: list[str] = Field(default_factory=list)


class RunRecoveryResponse(Answered):
    """Where the run stands, and whether and from where it can be continued."""

    run_id: str
    status: str
    workflow_name: str | None = None
    workflow_kind: str | None = None
    current_step_index: int | None = None
    current_node_id: str | None = None
    visited_steps: list[str] = Field(default_factory=list)
    visited_nodes: list[str] = Field(default_factory=list)
    checkpoint_count: int = 0
    pending_human_request: dict[str, Any] | None = None
    continuation_id: str | None = None
    error: ErrorInfo | None = None
    replay_context: dict[str, Any] = Field(default_factory=dict)


class RunReplayResponse(Answered):
    """The run's checkpoints as a short time line. Nothing is executed."""

    run_id: str
    status: str
    workflow_name: str | None = None
    workflow_kind: str | None = None
    agent_name: str | None = None
    checkpoint_count: int = 0
    timeline: list[dict[str, Any]] = Field(default_factory=list)
    replay_context: dict[str, Any] = Field(default_factory=dict)
