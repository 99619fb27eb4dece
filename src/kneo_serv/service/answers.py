"""What callers are answered about a run that they started, continued or resumed: public texts, and a status code."""

import json
from collections.abc import Mapping
from typing import Any

import orjson

from kneo_serv.model.plan import FlowType
from kneo_serv.model.run import Phase, RunRecord
from kneo_serv.observe import redact_text
from kneo_serv.platform.answers import result_at
from kneo_serv.platform.rests import Rest
from kneo_serv.service.errors import RequestRefused

REFUSALS: Mapping[str, str] = {
    "guardrail_violation": "guardrail_violation",
    "tool_policy_denied": "guardrail_violation",
    "token_budget_exceeded": "token_budget_exceeded",
    "budget_exceeded": "budget_exceeded",
}
"""Errors of runs that are refusals, and the code that they are answered with."""

_KINDS = ("agent", "workflow")


def answer_at(rest: Rest) -> tuple[int, dict[str, Any]]:
    """The answer about a run as it stood at this rest: 200 at its end, 202 while it waits for people.

    Raises:
        RequestRefused: the run ended with a refusal by a guardrail, a tool policy or a budget.
    """
    record = rest.record
    result = result_at(rest)
    error = None
    if result.error is not None:
        error = {"type": result.error.type, "message": redact_text(result.error.message)}
        refuse(record.id, error)
    private = result.output_text
    output = private if private is None or record.public_output_text is None else record.public_output_text
    body = {
        "run_id": record.id,
        "status": result.status,
        "output_text": output,
        "human_intervention_required": result.human_intervention_required,
        "continuation_id": result.continuation_id,
        "error": error,
        "metadata": _metadata(record, rest, dict(result.metadata)),
    }
    return (202 if result.human_intervention_required else 200), body


def still_running(record: RunRecord, *, after: int | None = None) -> tuple[int, dict[str, Any]]:
    """The answer about a run that goes on, or of which nobody could say more: 202.

    `after` is the number of the event behind which that happens what was asked for: who follows the run begins there.
    """
    parked = record.phase is Phase.PARKED
    metadata: dict[str, Any] = {"workflow": {"name": record.workflow_name, "type": record.workflow_kind}}
    if after is not None:
        metadata["events_after"] = after
    return 202, {
        "run_id": record.id,
        "status": "running",
        "output_text": None,
        "human_intervention_required": False,
        "continuation_id": None,
        "error": {"type": "run_parked", "message": redact_text(record.fault or "")} if parked else None,
        "metadata": metadata,
    }


def as_json(value: Any) -> bytes:
    """JSON text in UTF-8."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        # Whole numbers beyond 64 bits.
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def refuse(run_id: str, error: Mapping[str, str]) -> None:
    """Raises RequestRefused where an error of a run is a refusal."""
    code = REFUSALS.get(error["type"])
    if code is None:
        return
    facts: dict[str, Any] = {"violation_type": error["type"]} if code == "guardrail_violation" else {}
    raise RequestRefused(code, error["message"], run_id=run_id, **facts)


def wire_kind(target: str) -> str:
    """How a run runs, as the wire calls it."""
    return target if target in _KINDS else "workflow"


def told_by_door(view: dict[str, Any], record: RunRecord) -> dict[str, Any]:
    """A view of a run as the wire has it: `workflow_kind` is how it runs, `workflow_type` what its workflow is."""
    return {**view, "workflow_kind": wire_kind(record.target), "workflow_type": record.workflow_kind}


def _metadata(record: RunRecord, rest: Rest, metadata: dict[str, Any]) -> dict[str, Any]:
    workflow = dict(metadata.pop("workflow", {}))
    visited = list(workflow.get("visited_steps", ()))
    if record.workflow_kind == FlowType.GRAPH:
        workflow["visited_nodes"] = visited
    if record.target != "agent":
        if "pending_step_id" in metadata:
            workflow["pending_step_id"] = metadata["pending_step_id"]
        metadata["workflow"] = workflow
        metadata["workflow_type"] = record.workflow_kind
        metadata["workflow_steps"] = visited
    started = record.started_at if record.started_at is not None else record.created_at
    return {
        **metadata,
        "target": record.target,
        "iterations": len(visited),
        "duration_ms": max(0, round((record.updated_at - started) * 1000)),
        "trace": {"run_id": record.id, "events": len(rest.events)},
    }
