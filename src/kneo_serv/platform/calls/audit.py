"""Calls about the audit."""

from collections.abc import Mapping
from typing import Any

from kneo_serv.model.audit import AuditEvent
from kneo_serv.model.ids import RunId
from kneo_serv.model.page import AuditFilter, Page
from kneo_serv.platform.auditing import audit_event
from kneo_serv.platform.calls.calling import Calling
from kneo_serv.platform.platform import Platform


class AuditCalls(Calling):
    """Writing and reading who did what."""

    def record_audit_event(
        self,
        event_type: str,
        *,
        actor: str | None = None,
        run_id: str | None = None,
        continuation_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> AuditEvent:
        """Writes an audit event (redacted) and returns it."""

        async def record(platform: Platform) -> AuditEvent:
            now = await platform.store.now()
            event = audit_event(self._ids, event_type, now, run_id, continuation_id, actor, metadata)
            await platform.store.add_audit([event])
            return event

        return self._do(record)

    def list_audit_events(
        self, *, event_type: str | None = None, run_id: str | None = None, limit: int = 100
    ) -> list[AuditEvent]:
        """Audit events, the newest first."""
        wanted = AuditFilter(event_type, None if run_id is None else RunId(run_id))

        async def look(platform: Platform) -> list[AuditEvent]:
            return list(await platform.store.list_audit(wanted, Page(limit=limit)))

        return self._do(look)

    def count_audit_events(self, *, event_type: str | None = None, run_id: str | None = None) -> int:
        """How many audit events."""
        wanted = AuditFilter(event_type, None if run_id is None else RunId(run_id))
        return self._do(lambda platform: platform.store.count_audit(wanted))
