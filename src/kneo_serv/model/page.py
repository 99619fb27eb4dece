"""What a list is asked for. All conditions hold together; None asks for nothing."""

from dataclasses import dataclass

from kneo_serv.model.ids import RunId


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs. Times are seconds since the epoch; bounds are inclusive below and exclusive above."""

    status: tuple[str, ...] = ()
    workflow_kind: str | None = None
    workflow_name: str | None = None
    agent_name: str | None = None
    session_id: str | None = None
    has_error: bool | None = None
    created_after: float | None = None
    created_before: float | None = None
    q: str | None = None
    """Substring of output text or error message, case-insensitive."""


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which audit events."""

    event_type: str | None = None
    run_id: RunId | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list: `limit` rows (1 to 1,000) after the first `offset`."""

    limit: int = 100
    offset: int = 0
    sort: str = "updated_at"
    """created_at, updated_at, started_at, completed_at, status, workflow_name or agent_name."""
    descending: bool = True
