"""Facts in the life of a run. The journal is a list of these; every view and every decision is computed from them.

Each kind has a name (`KIND`) and a schema version (`VERSION`). A newer version of a kind brings an upcaster in
`UPCASTERS`, so that journals of every released version replay for ever.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from kneo_serv.model.codec import CodecError, decode, encode
from kneo_serv.model.event.agents import (
    ModelTurnCompleted,
    ModelTurnStarted,
    ToolCallCompleted,
    ToolCallFailed,
    ToolCallStarted,
    ToolPolicyDenied,
)
from kneo_serv.model.event.guardrails import GuardrailApplied, GuardrailOutcome, GuardrailStarted
from kneo_serv.model.event.people import HumanAnswered, HumanAsked, HumanEscalated, HumanExpired, HumanReminded
from kneo_serv.model.event.runs import (
    LegReason,
    LegStarted,
    RunCancelled,
    RunCompleted,
    RunContinued,
    RunCreated,
    RunExpired,
    RunFailed,
    RunForked,
    RunTimedOut,
)
from kneo_serv.model.event.steps import (
    EdgeTaken,
    LateOutcome,
    Resolution,
    StepCompleted,
    StepFailed,
    StepReturned,
    StepStarted,
)
from kneo_serv.model.quick import quick

__all__ = [
    "EVENT_TYPES",
    "UPCASTERS",
    "EdgeTaken",
    "Event",
    "GuardrailApplied",
    "GuardrailOutcome",
    "GuardrailStarted",
    "HumanAnswered",
    "HumanAsked",
    "HumanEscalated",
    "HumanExpired",
    "HumanReminded",
    "LateOutcome",
    "LegReason",
    "LegStarted",
    "ModelTurnCompleted",
    "ModelTurnStarted",
    "Recorded",
    "Resolution",
    "RunCancelled",
    "RunCompleted",
    "RunContinued",
    "RunCreated",
    "RunExpired",
    "RunFailed",
    "RunForked",
    "RunTimedOut",
    "StepCompleted",
    "StepFailed",
    "StepReturned",
    "StepStarted",
    "ToolCallCompleted",
    "ToolCallFailed",
    "ToolCallStarted",
    "ToolPolicyDenied",
    "event_payload",
    "read_event",
]

type Event = (
    RunCreated
    | LegStarted
    | StepStarted
    | StepCompleted
    | StepFailed
    | ModelTurnStarted
    | ModelTurnCompleted
    | ToolCallStarted
    | ToolCallCompleted
    | ToolCallFailed
    | ToolPolicyDenied
    | StepReturned
    | GuardrailStarted
    | GuardrailApplied
    | EdgeTaken
    | HumanAsked
    | HumanAnswered
    | HumanReminded
    | HumanEscalated
    | HumanExpired
    | LateOutcome
    | RunContinued
    | RunForked
    | RunCompleted
    | RunFailed
    | RunCancelled
    | RunTimedOut
    | RunExpired
)

EVENT_TYPES: Mapping[str, type[Event]] = {kind.KIND: kind for kind in get_args(Event.__value__)}
"""Every kind by its name."""

UPCASTERS: Mapping[tuple[str, int], Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""(kind, version) to the function that lifts a payload of that version to the next one."""


@quick
@dataclass(frozen=True, slots=True)
class Recorded:
    """An event in its place in the journal. `seq` counts from 1 without gaps; `at` never decreases within a run."""

    seq: int
    at: float
    event: Event


def event_payload(event: Event) -> dict[str, Any]:
    """JSON object of an event; its schema version stands under `v` when it is not 1."""
    payload: dict[str, Any] = encode(event)
    if event.VERSION != 1:
        payload["v"] = event.VERSION
    return payload


def read_event(kind: str, payload: dict[str, Any]) -> Event:
    """Event from its kind and JSON object, lifted to the present schema version.

    Raises:
        CodecError: the kind is unknown, or the payload does not fit it.
    """
    target = EVENT_TYPES.get(kind)
    if target is None:
        raise CodecError(f"unknown kind of event: {kind!r}")
    version = payload.pop("v", 1)
    while version < target.VERSION:
        payload = UPCASTERS[kind, version](payload)
        version += 1
    if version > target.VERSION:
        raise CodecError(f"{kind}: version {version} is newer than this program knows ({target.VERSION})")
    return decode(target, payload)
