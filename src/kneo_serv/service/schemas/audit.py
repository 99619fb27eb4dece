"""Audit events: what is asked and answered."""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from kneo_serv.service.schemas.shapes import Answered, ListQuery, Moment

_EXAMPLE: dict[str, Any] = {
    "id": "aud_01977c1e-6f2a-7cc3-98c4-dc0c0c07398f",
    "event_type": "human.decision",
    "run_id": "run_2026-05-10T12:34:56_4k0Yw3m1TzqJ0b2c5d6e7f",
    "continuation_id": "cont_01977c1d-4f53-7c1e-8f00-2f3e4d5c6b7a",
    "actor": "mia",
    "metadata": {
        "request_id": "req_01977c1d-4f53-7c1e-8f00-2f3e4d5c6b7b",
        "decision": "approved",
        "has_content": False,
        "selected_option": None,
        "status": "running",
    },
    "created_at": "2026-05-10T12:35:10.123456+00:00",
}


class AuditQuery(ListQuery):
    """Which audit events."""

    event_type: str | None = Field(default=None, description="Such as `human.decision`.")
    run_id: str | None = None
    actor: str | None = Field(default=None, description="Name of the key or token that did it.")
    created_after: Moment | None = Field(default=None, description="ISO 8601; inclusive, UTC without an offset.")
    created_before: Moment | None = Field(default=None, description="ISO 8601; inclusive, UTC without an offset.")


class AuditEventItem(Answered):
    """Who did what. The content of a decision is never in it."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"example": _EXAMPLE})

    id: str
    event_type: str
    run_id: str | None = None
    continuation_id: str | None = None
    actor: str | None = Field(default=None, description="Null for what the platform did by itself.")
    metadata: dict[str, Any] = Field(description="Without secrets.")
    created_at: str


class AuditEventListResponse(Answered):
    """A page of the audit, the newest first unless asked otherwise."""

    events: list[AuditEventItem]
    count: int
    total: int = Field(description="One above the window stands for any larger number.")
    total_exact: bool = True
    window: int
    limit: int
    offset: int
    sort_by: str
    sort_order: Literal["asc", "desc"]
    next_cursor: str | None = Field(default=None, description="Asks for the next page; null on the last one.")
