"""What events imply for the audit: one table from kinds of events to audit events."""

from collections.abc import Mapping
from typing import Any, Protocol

from kneo_serv.engine import Posture
from kneo_serv.model import event as ev
from kneo_serv.model.audit import AuditEvent
from kneo_serv.model.codec import json_text
from kneo_serv.model.ids import AuditId
from kneo_serv.model.plan import OnTimeout
from kneo_serv.model.run import Phase, Run
from kneo_serv.observe import may_hold_secret, redact_data
from kneo_serv.platform.draft import Draft


class AuditIds(Protocol):
    """Where ids of audit events come from."""

    def audit(self) -> AuditId:
        """An id that was never given before."""
        ...


def audit_of(
    draft: Draft, stand: Posture, ids: AuditIds, *, automatic: str | None = None, facts: Mapping[str, Any] | None = None
) -> tuple[AuditEvent, ...]:
    """Audit events that the draft's events imply; never the content of a decision.

    `automatic` is the task whose passed deadline began this leg; `facts` are told beside what a dead letter says.
    """
    found = []
    for recorded in draft.events:
        entry = _entry(recorded.event, recorded.at, draft.run, stand, facts or {})
        if entry is not None:
            event_type, continuation, actor, metadata = entry
            found.append(audit_event(ids, event_type, recorded.at, draft.run.id, continuation, actor, metadata))
        if automatic is not None and isinstance(recorded.event, ev.RunFailed):
            metadata = {
                "error_type": recorded.event.error_type,
                "error_message": recorded.event.message,
                "on_timeout": OnTimeout.CONTINUE.value,
            }
            name = "human.continue_failed"
            found.append(audit_event(ids, name, recorded.at, draft.run.id, automatic, None, metadata))
    if stand.phase in (Phase.WAITING_HUMAN, Phase.ENDED) and not _only_external(draft):
        usage = draft.run.usage
        metadata = {"status": stand.status.value, "usage": {"total_tokens": usage.total_tokens}}
        found.append(audit_event(ids, "run.rested", draft.run.at, draft.run.id, stand.continuation_id, None, metadata))
    return tuple(found)


def audit_event(
    ids: AuditIds,
    event_type: str,
    at: float,
    run_id: str | None = None,
    continuation_id: str | None = None,
    actor: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    *,
    tenant: str | None = None,
) -> AuditEvent:
    """An audit event with redacted metadata; `tenant` is for one without a run."""
    told = dict(metadata or {})
    if may_hold_secret(json_text(told)):
        told = redact_data(told)
    return AuditEvent(ids.audit(), event_type, at, run_id, continuation_id, actor, told, tenant)


def _entry(
    event: ev.Event, at: float, run: Run, stand: Posture, facts: Mapping[str, Any]
) -> tuple[str, str | None, str | None, dict[str, Any]] | None:
    metadata: dict[str, Any]
    match event:
        case ev.HumanAnswered(automatic=False):
            metadata = {
                "request_id": event.request_id,
                "decision": event.decision.value,
                "has_content": event.content is not None,
                "selected_option": event.selected_option,
                "status": stand.status.value,
            }
            return "human.decision", event.continuation_id, event.actor, metadata
        case ev.HumanExpired():
            metadata = {
                "timeout_seconds": event.timeout_seconds,
                "expires_at": event.expires_at,
                "expired_at": at,
                "on_timeout": event.on_timeout.value,
            }
            if event.on_timeout is OnTimeout.ESCALATE:
                # Who reads of it wants to know whom to ask instead.
                return "human.escalated", event.continuation_id, None, {**metadata, "assignee": event.assignee}
            name = "human.expired" if event.on_timeout is OnTimeout.FAIL else "human.continued"
            return name, event.continuation_id, None, metadata
        case ev.HumanReminded():
            metadata = {"number": event.number, "assignee": event.assignee}
            return "human.reminded", event.continuation_id, None, metadata
        case ev.RunCancelled():
            return "run.cancelled", None, event.actor, {"reason": event.reason}
        case ev.RunContinued():
            return "run.continued", None, event.actor, {"status": stand.status.value}
        case ev.RunTimedOut():
            metadata = {
                "timeout_seconds": event.timeout_seconds,
                "deadline_at": event.deadline_at,
                "timed_out_at": at,
                "status_at_timeout": event.status_at_timeout,
            }
            return "run.timed_out", None, None, metadata
        case ev.RunFailed(error_type="dead_letter"):
            return "run.dead_lettered", None, None, {**facts, "message": event.message}
        case _:
            return None


_EXTERNAL = (
    ev.LateOutcome,
    ev.RunCancelled,
    ev.RunTimedOut,
    ev.RunExpired,
    ev.HumanExpired,
    ev.HumanEscalated,
    ev.HumanReminded,
)


def _only_external(draft: Draft) -> bool:
    return all(isinstance(recorded.event, _EXTERNAL) for recorded in draft.events)
