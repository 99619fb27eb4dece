"""What a service tells of a run while it happens, as the events and pieces of text that it tells of.

Only what is shown of a run is read out of the rows; the rest of an event stays with the service.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from kneo_serv.model import event as kinds
from kneo_serv.model.event import Event, Recorded, Resolution
from kneo_serv.model.ids import ContinuationId, RequestId, RunId, StepKey
from kneo_serv.model.plan import RequestType, StepKind
from kneo_serv.model.task import HumanRequest

if TYPE_CHECKING:
    from kneo_serv.platform.speech import TextDelta

type Row = Mapping[str, Any]


def recorded_in(row: Row) -> Recorded | None:
    """The event that a row of the run's trace tells of; None where it is not shown, or is of another version."""
    try:
        event = _event(row)
        if event is None:
            return None
        return Recorded(row["sequence"], datetime.fromisoformat(row["timestamp"]).timestamp(), event)
    except (KeyError, TypeError, ValueError):
        return None


def delta_in(row: Row) -> "TextDelta | None":
    """The piece of text that a service tells of; None where it is of another version."""
    from kneo_serv.platform.speech import TextDelta

    try:
        return TextDelta(
            RunId(row["run_id"]),
            StepKey(row["key"]),
            row["step_id"],
            row["turn"],
            str(row["text"]),
            void=bool(row["void"]),
        )
    except (KeyError, TypeError):
        return None


def _event(row: Row) -> Event | None:
    facts: Row = row["metadata"]
    # Rows of earlier services have no keys; their texts and steps meet by the step's id, then.
    key = StepKey(str(row.get("key") or row["step_id"] or ""))
    step_id = _step_id(key, row["step_id"])
    match row["type"]:
        case "step_started":
            return kinds.StepStarted(key, step_id, StepKind(facts["step_kind"]), facts["attempt"])
        case "step_completed":
            return kinds.StepCompleted(key, step_id, row["output_preview"] or "")
        case "step_failed":
            kind, message = _error(row)
            return kinds.StepFailed(key, step_id, facts["attempt"], kind, message, Resolution(facts["resolution"]))
        case "step_returned":
            return kinds.StepReturned(key, step_id, row["output_preview"] or "")
        case "model_turn_started":
            return kinds.ModelTurnStarted(key, step_id, facts["turn"])
        case "model_turn_completed":
            return kinds.ModelTurnCompleted(key, step_id, facts["turn"])
        case "tool_call_started":
            return kinds.ToolCallStarted(key, step_id, facts["call_id"], row["tool_name"], facts["number"])
        case "tool_call_completed":
            return kinds.ToolCallCompleted(key, step_id, facts["call_id"], row["tool_name"], "")
        case "tool_call_failed":
            kind, message = _error(row)
            return kinds.ToolCallFailed(key, step_id, facts["call_id"], row["tool_name"], kind, message)
        case "tool_policy_denied":
            return kinds.ToolPolicyDenied(key, step_id, facts["call_id"], row["tool_name"], row["error"] or "")
        case "human_intervention_requested":
            return kinds.HumanAsked(key, step_id, ContinuationId(facts["continuation_id"]), _request(facts["request"]))
        case _:
            return None


def _step_id(key: StepKey, visited_id: str | None) -> str:
    """The step's own id: where a fallback stands in, rows name the step in whose place it stands."""
    _, stands_in, fallback_id = key.rpartition("/")[2].rpartition("~")
    return unquote(fallback_id) if stands_in else visited_id or ""


def _error(row: Row) -> tuple[str, str]:
    """Type and message of what went wrong; a type that stands alone is all there is to say."""
    text = str(row["error"] or "")
    kind, colon, message = text.partition(": ")
    return kind, message if colon else text


def _request(told: Row) -> HumanRequest:
    return HumanRequest(
        RequestId(told["id"]), RequestType(told["type"]), told["title"], told["prompt"], told["requested_by"]
    )
