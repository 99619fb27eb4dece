"""Audit events as lists show them."""

from typing import Any

from kneo_serv.model.audit import AuditEvent
from kneo_serv.platform.views.bounds import iso


def audit_view(event: AuditEvent) -> dict[str, Any]:
    """An audit event as JSON values; its metadata was redacted when it was written."""
    return {
        "id": event.id,
        "event_type": event.event_type,
        "run_id": event.run_id,
        "continuation_id": event.continuation_id,
        "actor": event.actor,
        "metadata": dict(event.metadata),
        "created_at": iso(event.created_at),
    }
