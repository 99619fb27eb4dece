"""An event as those see it who follow all runs: who, what and when, in less than a kilobyte, and no texts.

It is made of the event alone and of what never changes about its run, so that a feed of many runs folds none of them.
"""

import json
from dataclasses import dataclass
from typing import Any

from kneo_serv.model import event as ev
from kneo_serv.model.run import RunStatus
from kneo_serv.observe import redact_error
from kneo_serv.platform.views.bounds import iso
from kneo_serv.platform.views.story import visit_of
from kneo_serv.platform.views.trace import event_id_of
from kneo_serv.platform.views.wire import trace_type

MOST_BYTES = 1024
"""Of one light event as JSON text in UTF-8."""

_SHORT, _LONG = 120, 240
_CUT = "..."


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What never changes about a run, as far as its events are chosen and shown by it."""

    run_id: str
    tenant: str | None = None
    workflow_name: str | None = None
    agent_name: str | None = None
    session_id: str | None = None


@dataclass(frozen=True, slots=True)
class LightEvent:
    """One event of any run. The whole of it is told by the run's own trace, under `event_id`."""

    position: int
    """Among the events of all runs: durable, growing, given once."""
    run: RunFacts
    sequence: int
    """Among the events of its run."""
    type: str
    """Its name in the trace."""
    at: float
    """Seconds since the epoch."""
    status: RunStatus | None = None
    """How the run stood when this was read; None where the run is no longer kept."""
    step_id: str | None = None
    tool_name: str | None = None
    guardrail_id: str | None = None
    continuation_id: str | None = None
    error: str | None = None

    @property
    def run_id(self) -> str:
        """The run that it happened in."""
        return self.run.run_id

    def to_dict(self) -> dict[str, Any]:
        """The event as a JSON object, with the names of the trace. Long names are cut."""
        row: dict[str, Any] = {
            "type": self.type,
            "run_id": self.run_id,
            "event_id": event_id_of(self.run_id, self.sequence, self.type),
            "position": self.position,
            "sequence": self.sequence,
            "timestamp": iso(self.at),
            "status": self.status and self.status.value,
            "workflow_name": _cut(self.run.workflow_name, _SHORT),
            "agent_name": _cut(self.run.agent_name, _SHORT),
            "session_id": _cut(self.run.session_id, _SHORT),
            "step_id": _cut(self.step_id, _SHORT),
            "tool_name": _cut(self.tool_name, _SHORT),
            "guardrail_id": _cut(self.guardrail_id, _SHORT),
            "continuation_id": self.continuation_id,
            "error": _cut(self.error, _LONG),
        }
        return _fitted(row)


def light_event(position: int, run: RunFacts, status: RunStatus | None, recorded: ev.Recorded) -> LightEvent | None:
    """What is told of a public event; None for one that the trace does not name."""
    kind = trace_type(recorded.event)
    if kind is None:
        return None
    facts: dict[str, Any] = {}
    match recorded.event:
        case ev.EdgeTaken(_, source):
            facts["step_id"] = source
        case ev.RunFailed(error_type, message, step_id):
            facts |= {"step_id": step_id, "error": _error(error_type, message)}
        case ev.RunExpired(continuation_id):
            facts["continuation_id"] = continuation_id
        case (
            ev.RunCreated()
            | ev.LegStarted()
            | ev.RunContinued()
            | ev.RunForked()
            | ev.RunCompleted()
            | ev.RunCancelled()
            | ev.RunTimedOut()
        ):
            pass  # the type says it all
        case event:
            facts = {"step_id": visit_of(event.key)[0], **_of_a_step(event)}
    return LightEvent(position, run, recorded.seq, kind, recorded.at, status, **facts)


def _of_a_step(event: ev.Event) -> dict[str, Any]:
    match event:
        case ev.StepFailed():
            return {"error": _error(event.error_type, event.message)}
        case ev.ToolCallStarted() | ev.ToolCallCompleted():
            return {"tool_name": event.tool_name}
        case ev.ToolCallFailed():
            # What a tool says of its arguments or results is told by nothing but the trace.
            return {"tool_name": event.tool_name, "error": event.error_type}
        case ev.ToolPolicyDenied():
            return {"tool_name": event.tool_name, "error": redact_error(event.reason)}
        case ev.GuardrailStarted() | ev.GuardrailApplied():
            return {"guardrail_id": event.guardrail_id}
        case ev.HumanAsked() | ev.HumanAnswered() | ev.HumanReminded() | ev.HumanEscalated() | ev.HumanExpired():
            return {"continuation_id": event.continuation_id}
        case ev.LateOutcome():
            return {"error": event.error_type}
        case _:
            return {}


def _error(error_type: str, message: str) -> str:
    return redact_error(f"{error_type}: {message}")


def _cut(text: str | None, most: int) -> str | None:
    return text if text is None or len(text) <= most else text[:most] + _CUT


def _fitted(row: dict[str, Any]) -> dict[str, Any]:
    """The row with its longest names cut further until it fits: characters may take several bytes, or be escaped."""
    while (size := len(json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode())) > MOST_BYTES:
        name = max(_TEXTS, key=lambda one: len(json.dumps(row[one] or "", ensure_ascii=False).encode()))
        text: str = row[name] or ""
        if len(text) <= len(_CUT):
            return row  # what is left is ids, which are never cut
        row[name] = text[: max(0, min(len(text) - (size - MOST_BYTES) // 6 - len(_CUT) - 1, len(text) - 8))] + _CUT
    return row


_TEXTS = ("workflow_name", "agent_name", "session_id", "step_id", "tool_name", "guardrail_id", "error")
