"""Shapes of streams: what is asked, and what their events hold. Both are told to clients by the document alone."""

from typing import Any, Literal

from pydantic import Field, field_validator

from kneo_serv.service.schemas.shapes import Asked

_LARGEST = 10**18 - 1


def _split(values: list[str]) -> list[str]:
    return [part.strip() for value in values for part in value.split(",") if part.strip()]


class RunEventsQuery(Asked):
    """What of a run is told, and how long."""

    after: int = Field(
        default=0, ge=0, le=_LARGEST, description="`sequence` of the last event that is known; 0 tells all."
    )
    until: Literal["end", "rest"] = Field(
        default="end", description="`rest` ends the stream also where the run waits for people."
    )
    deltas: bool = Field(default=True, description="Whether pieces of text are told while models say them.")
    event_type: list[str] = Field(
        default_factory=list,
        max_length=100,
        description="Only events of these types; several times, or with commas between them.",
        examples=[["step_completed", "text_delta"]],
    )

    _types = field_validator("event_type")(_split)


class EventsQuery(Asked):
    """Which events of which runs. All conditions hold together, and each may be given several times."""

    after: int | None = Field(
        default=None, ge=0, le=_LARGEST, description="`position` of the last event that is known; 0 tells all."
    )
    run_id: list[str] = Field(default_factory=list, max_length=100, description="With commas between them, too.")
    event_type: list[str] = Field(default_factory=list, max_length=100, description="With commas between them, too.")
    status: list[str] = Field(
        default_factory=list, max_length=100, description="Of the run as it stands when the event is told."
    )
    workflow_name: list[str] = Field(default_factory=list, max_length=100)
    agent_name: list[str] = Field(default_factory=list, max_length=100, description="Of the run's root agent.")
    session_id: list[str] = Field(default_factory=list, max_length=100)

    _parts = field_validator("run_id", "event_type", "status")(_split)


_RUN = "run_2026-05-10T12:34:56_4k0Yw3m1TzqJ0b2c5d6e7f"
_RUN_EXAMPLE = f"""\
retry: 2000

id: 3
event: step_started
data: {{"type":"step_started","run_id":"{_RUN}","sequence":3,"step_id":"draft","input_preview":"tea"}}

event: text_delta
data: {{"type":"text_delta","run_id":"{_RUN}","step_id":"draft","turn":1,"text":"Tea is ","void":false}}

: alive

id: 7
event: workflow_completed
data: {{"type":"workflow_completed","run_id":"{_RUN}","sequence":7,"output_preview":"Tea is a drink."}}

event: end
data: {{"type":"end","run_id":"{_RUN}","status":"completed","sequence":7,"continuation_id":null,"error":null}}

"""
_FEED_EXAMPLE = f"""\
retry: 2000

id: 4711
event: step_completed
data: {{"type":"step_completed","run_id":"{_RUN}","position":4711,"sequence":5,"status":"running","step_id":"draft"}}

: alive
id: 4730

"""

_TEXT = {"type": "string"}
_TEXT_OR_NULL = {"type": ["string", "null"]}
_NUMBER = {"type": "integer"}
_OBJECT = {"type": "object"}


def _data(**properties: Any) -> dict[str, Any]:
    required = ["type", "run_id", "sequence", "timestamp"]
    return {"type": "object", "required": required, "properties": {"type": _TEXT, "run_id": _TEXT} | properties}


_ROW = _data(
    event_id=_TEXT,
    sequence=_NUMBER,
    timestamp={"type": "string", "format": "date-time"},
    workflow_name=_TEXT_OR_NULL,
    agent_name=_TEXT_OR_NULL,
    step_id=_TEXT_OR_NULL,
    tool_name=_TEXT_OR_NULL,
    guardrail_id=_TEXT_OR_NULL,
    error=_TEXT_OR_NULL,
)
_TRACE_ROW = _ROW | {
    "description": "A row of the run's trace.",
    "properties": _ROW["properties"]
    | {
        "key": _TEXT_OR_NULL | {"description": "Of the step instance: what `text_delta` has as `key`."},
        "span_id": _TEXT,
        "parent_span_id": _TEXT_OR_NULL,
        "parent_event_id": _TEXT_OR_NULL,
        "input_preview": _TEXT_OR_NULL,
        "output_preview": _TEXT_OR_NULL,
        "metadata": _OBJECT,
    },
}
_LIGHT = _ROW | {
    "description": "An event of any run, at most 1 KB.",
    "properties": _ROW["properties"]
    | {
        "position": _NUMBER,
        "status": _TEXT_OR_NULL,
        "session_id": _TEXT_OR_NULL,
        "continuation_id": _TEXT_OR_NULL,
    },
}
_DELTA = {
    "type": "object",
    "description": "A piece of what a model is saying (`text_delta`); it has no id, and does not come again.",
    "required": ["type", "run_id", "step_id", "turn", "text", "void"],
    "properties": {
        "type": {"const": "text_delta"},
        "run_id": _TEXT,
        "step_id": _TEXT,
        "key": _TEXT,
        "turn": _NUMBER,
        "text": _TEXT,
        "void": {"type": "boolean", "description": "What came of this turn before counts no more."},
        "after": _NUMBER,
    },
}
_END = {
    "type": "object",
    "description": "The last event (`end`): nothing follows.",
    "required": ["type", "run_id", "status", "sequence"],
    "properties": {
        "type": {"const": "end"},
        "run_id": _TEXT,
        "status": _TEXT_OR_NULL,
        "sequence": _NUMBER,
        "continuation_id": _TEXT_OR_NULL,
        "error": {"type": ["object", "null"], "properties": {"type": _TEXT, "message": _TEXT}},
    },
}
_CLOSE = {
    "type": "object",
    "description": "The stream ends early (`close`), and more may follow: come back with the last id.",
    "required": ["type", "reason", "message"],
    "properties": {"type": {"const": "close"}, "reason": _TEXT, "message": _TEXT},
}


def _answered(about: str, example: str, *data: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    schema = {"type": "string", "description": "Server-sent events; the data of each is one of `x-event-data`."}
    content = {"schema": schema, "x-event-data": {"oneOf": list(data)}, "example": example}
    return {200: {"description": about, "content": {"text/event-stream": content}}}


RUN_EVENTS = _answered("The events of the run, as they come", _RUN_EXAMPLE, _TRACE_ROW, _DELTA, _END, _CLOSE)
"""`responses=` of the stream of one run."""

EVENTS = _answered("The events of all runs, as they come", _FEED_EXAMPLE, _LIGHT, _CLOSE)
"""`responses=` of the stream of all runs."""
