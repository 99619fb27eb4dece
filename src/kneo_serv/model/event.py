"""Facts in the life of a run. The journal is a list of these; every view and every decision is computed from them.

Each kind has a name (`KIND`) and a schema version (`VERSION`). A newer version of a kind brings an upcaster in
`UPCASTERS`, so that journals of every released version replay for ever.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, get_args

from kneo_serv.model.codec import CodecError, decode, encode
from kneo_serv.model.ids import ContinuationId, PlanHash, RequestId, RunId, StepKey
from kneo_serv.model.message import Message, ToolCall, Usage
from kneo_serv.model.plan import OnTimeout, StepKind
from kneo_serv.model.task import Decision, HumanRequest


class LegReason(StrEnum):
    """Why a worker took a run up."""

    START = "start"
    RESUME = "resume"
    CONTINUE = "continue"
    TIMER = "timer"
    TAKEOVER = "takeover"


class Resolution(StrEnum):
    """What follows a failed attempt; decided by the engine when the failure is journaled."""

    RETRY = "retry"
    CONTINUE = "continue"
    FALLBACK = "fallback"
    FAIL = "fail"


class GuardrailOutcome(StrEnum):
    """What follows when a guardrail has looked at a text."""

    PASSED = "passed"
    WARNED = "warned"
    """It goes on as it is, although it did not pass."""
    REVISED = "revised"
    """Another text goes on in its place."""
    RETRY = "retry"
    """The model is asked again."""
    REVIEW = "review"
    """A person is asked."""
    BLOCKED = "blocked"
    """The step fails."""


@dataclass(frozen=True, slots=True)
class RunCreated:
    """A run was accepted. `deadline_at` is seconds since the epoch."""

    KIND: ClassVar[str] = "run_created"
    VERSION: ClassVar[int] = 1
    plan_hash: PlanHash
    target: str
    input_text: str
    agent_name: str | None = None
    workflow_name: str | None = None
    workflow_kind: str | None = None
    session_id: str | None = None
    timeout_seconds: float | None = None
    deadline_at: float | None = None
    tags: tuple[str, ...] = ()
    environment: str | None = None
    parent_run_id: str | None = None
    engine_version: int = 1
    metadata: Mapping[str, Any] = field(default_factory=dict)
    token_budget: int | None = None
    """Of the platform, for a plan that has none of its own."""


@dataclass(frozen=True, slots=True)
class LegStarted:
    """A worker took the run up. Attempts that an earlier leg left in flight count as interrupted from here on."""

    KIND: ClassVar[str] = "leg_started"
    VERSION: ClassVar[int] = 1
    worker: str
    fence: int
    reason: LegReason
    history: Mapping[str, tuple[Message, ...]] = field(default_factory=dict)
    """With the first leg of a run with a session: by agent's name, what it and its users said in earlier runs."""


@dataclass(frozen=True, slots=True)
class StepStarted:
    """An attempt of a step began. `attempt` counts from 1 under its key."""

    KIND: ClassVar[str] = "step_started"
    VERSION: ClassVar[int] = 1
    key: StepKey
    step_id: str
    step_kind: StepKind
    attempt: int
    ref: str = ""
    index: int | None = None
    """Place in its workflow's list, from 0."""
    fallback_for: str | None = None
    """Id of the step that this one stands in for."""
    flow: str | None = None
    """Key of the workflow whose frame the step opens."""


@dataclass(frozen=True, slots=True)
class StepCompleted:
    """A step is finished and never runs again under this key. People's steps complete here too."""

    KIND: ClassVar[str] = "step_completed"
    VERSION: ClassVar[int] = 1
    key: StepKey
    step_id: str
    output_text: str
    index: int | None = None
    usage: Usage | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StepFailed:
    """An attempt failed. `retry_at` (seconds since the epoch) goes with the resolution retry.

    `violation` marks a policy or guardrail refusal, which no `on_error` absorbs.
    """

    KIND: ClassVar[str] = "step_failed"
    VERSION: ClassVar[int] = 1
    key: StepKey
    step_id: str
    attempt: int
    error_type: str
    message: str
    resolution: Resolution
    retry_at: float | None = None
    index: int | None = None
    violation: bool = False
    uncertain: bool = False
    """It was given up while it was at work: nobody knows whether it happened."""


@dataclass(frozen=True, slots=True)
class ModelTurnStarted:
    """A model is being asked. `turn` counts from 1 within one attempt of a step."""

    KIND: ClassVar[str] = "model_turn_started"
    VERSION: ClassVar[int] = 1
    key: StepKey
    step_id: str
    turn: int


@dataclass(frozen=True, slots=True)
class ModelTurnCompleted:
    """A model answered: text, wishes to call tools, or both."""

    KIND: ClassVar[str] = "model_turn_completed"
    VERSION: ClassVar[int] = 1
    key: StepKey
    step_id: str
    turn: int
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage = Usage()
    model_name: str | None = None
    raw: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Under `memory`: the agent's policy, and how many messages there were before and after it."""


@dataclass(frozen=True, slots=True)
class ToolCallStarted:
    """A tool is being called. `number` counts the calls of the step from 1 and makes the idempotency key."""

    KIND: ClassVar[str] = "tool_call_started"
    VERSION: ClassVar[int] = 1
    key: StepKey
    step_id: str
    call_id: str
    tool_name: str
    number: int


@dataclass(frozen=True, slots=True)
class ToolCallCompleted:
    """A tool answered."""

    KIND: ClassVar[str] = "tool_call_completed"
    VERSION: ClassVar[int] = 1
    key: StepKey
    step_id: str
    call_id: str
    tool_name: str
    output: str


@dataclass(frozen=True, slots=True)
class ToolCallFailed:
    """A tool call went wrong; `message` is what the model is told."""

    KIND: ClassVar[str] = "tool_call_failed"
    VERSION: ClassVar[int] = 1
    key: StepKey
    step_id: str
    call_id: str
    tool_name: str
    error_type: str
    message: str


@dataclass(frozen=True, slots=True)
class ToolPolicyDenied:
    """The guard refused a tool call; the handler was not reached."""

    KIND: ClassVar[str] = "tool_policy_denied"
    VERSION: ClassVar[int] = 1
    key: StepKey
    step_id: str
    call_id: str
    tool_name: str
    reason: str


@dataclass(frozen=True, slots=True)
class StepReturned:
    """The work of a step is done; its text has guardrails to pass before the step is finished."""

    KIND: ClassVar[str] = "step_returned"
    VERSION: ClassVar[int] = 1
    key: StepKey
    step_id: str
    output_text: str


@dataclass(frozen=True, slots=True)
class GuardrailStarted:
    """A function or an agent is looking at a text. `place` counts the guardrails of the text from 0."""

    KIND: ClassVar[str] = "guardrail_started"
    VERSION: ClassVar[int] = 1
    key: StepKey
    step_id: str
    guardrail_id: str
    stage: str
    place: int = 0
    call_id: str | None = None
    """The tool call whose result is looked at."""


@dataclass(frozen=True, slots=True)
class GuardrailApplied:
    """A guardrail looked at a text. One that needs no effect is told only where the text did not pass."""

    KIND: ClassVar[str] = "guardrail_applied"
    VERSION: ClassVar[int] = 1
    key: StepKey
    step_id: str
    guardrail_id: str
    stage: str
    action: str
    passed: bool
    reason: str | None = None
    revised_text: str | None = None
    outcome: GuardrailOutcome = GuardrailOutcome.PASSED
    place: int = 0
    call_id: str | None = None
    assignee: str | None = None
    """Who is to review the text, where somebody is named."""
    usage: Usage = Usage()
    """Of an agent that looked at it."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What a function had to say beside its verdict."""


@dataclass(frozen=True, slots=True)
class EdgeTaken:
    """A graph went from one node to the next."""

    KIND: ClassVar[str] = "edge_taken"
    VERSION: ClassVar[int] = 1
    key: StepKey
    """Of the frame."""
    source: str
    target: str
    label: str | None = None


@dataclass(frozen=True, slots=True)
class HumanAsked:
    """A person was asked; the step waits for the answer. `expires_at` is seconds since the epoch."""

    KIND: ClassVar[str] = "human_asked"
    VERSION: ClassVar[int] = 1
    key: StepKey
    step_id: str
    continuation_id: ContinuationId
    request: HumanRequest
    index: int | None = None
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class HumanAnswered:
    """A person answered, and it counts. `automatic` marks the answer that a passed deadline gives."""

    KIND: ClassVar[str] = "human_answered"
    VERSION: ClassVar[int] = 1
    key: StepKey
    step_id: str
    continuation_id: ContinuationId
    request_id: RequestId
    decision: Decision
    content: str | None = None
    selected_option: str | None = None
    actor: str | None = None
    automatic: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HumanReminded:
    """A person was reminded."""

    KIND: ClassVar[str] = "human_reminded"
    VERSION: ClassVar[int] = 1
    key: StepKey
    step_id: str
    continuation_id: ContinuationId


@dataclass(frozen=True, slots=True)
class HumanEscalated:
    """Nobody answered in time; the task was marked and stays open."""

    KIND: ClassVar[str] = "human_escalated"
    VERSION: ClassVar[int] = 1
    key: StepKey
    step_id: str
    continuation_id: ContinuationId
    escalated_at: float
    original_expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class HumanExpired:
    """Nobody answered in time; what follows is `on_timeout`."""

    KIND: ClassVar[str] = "human_expired"
    VERSION: ClassVar[int] = 1
    key: StepKey
    step_id: str
    continuation_id: ContinuationId
    on_timeout: OnTimeout
    timeout_seconds: float | None = None
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class LateOutcome:
    """Something that was in flight came to its end after the run had no more use for it; nothing changes by it."""

    KIND: ClassVar[str] = "late_outcome"
    VERSION: ClassVar[int] = 1
    key: StepKey
    step_id: str
    outcome: str
    """Kind of the event that it would have been."""
    output_text: str | None = None
    error_type: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class RunContinued:
    """A failed or orphaned run was taken up again after its last finished step."""

    KIND: ClassVar[str] = "run_continued"
    VERSION: ClassVar[int] = 1
    actor: str | None = None


@dataclass(frozen=True, slots=True)
class RunForked:
    """The events before this one were copied from another run; from here on it goes its own way, by clocks of its own.

    What the parent had in flight begins again, and its open questions are asked anew. `deadline_at` is seconds since
    the epoch.
    """

    KIND: ClassVar[str] = "run_forked"
    VERSION: ClassVar[int] = 1
    parent_run_id: RunId
    parent_seq: int
    """Number of the last event that was copied: the same here as there."""
    at_sequence: int
    """Number of the parent's checkpoint after that event."""
    plan_hash: PlanHash
    changed: tuple[str, ...] = ()
    """What is not as it was: `input`, `answer`, `model`."""
    input_text: str | None = None
    """The text that flows on instead."""
    input_key: StepKey | None = None
    """Of the frame, or of the waiting step, that gets this text."""
    deadline_at: float | None = None
    actor: str | None = None


@dataclass(frozen=True, slots=True)
class RunCompleted:
    """The run came to its good end."""

    KIND: ClassVar[str] = "run_completed"
    VERSION: ClassVar[int] = 1
    output_text: str


@dataclass(frozen=True, slots=True)
class RunFailed:
    """The run failed; it may be continued."""

    KIND: ClassVar[str] = "run_failed"
    VERSION: ClassVar[int] = 1
    error_type: str
    message: str
    step_id: str | None = None
    violation: bool = False


@dataclass(frozen=True, slots=True)
class RunCancelled:
    """Somebody ended the run early."""

    KIND: ClassVar[str] = "run_cancelled"
    VERSION: ClassVar[int] = 1
    reason: str
    actor: str | None = None


@dataclass(frozen=True, slots=True)
class RunTimedOut:
    """The run's deadline passed."""

    KIND: ClassVar[str] = "run_timed_out"
    VERSION: ClassVar[int] = 1
    timeout_seconds: float | None
    deadline_at: float
    status_at_timeout: str


@dataclass(frozen=True, slots=True)
class RunExpired:
    """A human task's deadline passed and its component says that this fails the run."""

    KIND: ClassVar[str] = "run_expired"
    VERSION: ClassVar[int] = 1
    continuation_id: ContinuationId
    message: str


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
