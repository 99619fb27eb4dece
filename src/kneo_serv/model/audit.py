"""Who did what."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kneo_serv.model.ids import AuditId
from kneo_serv.model.quick import quick


@quick
@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One line of the audit. `metadata` is redacted before it is kept and never holds the content of a decision."""

    id: AuditId
    event_type: str
    created_at: float
    run_id: str | None = None
    continuation_id: str | None = None
    actor: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tenant: str | None = None
    """Kept for an event that belongs to no run; one that does has that of its run."""
