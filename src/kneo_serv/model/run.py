"""A run: as the engine sees it (folded from its events), as lists see it, and as a caller sees its result."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from kneo_serv.model.ids import ContinuationId, Owner, PlanHash, RequestId, RunId, StepKey
from kneo_serv.model.limits import DEFAULT_QUEUE
from kneo_serv.model.message import Message, ToolCall, Usage
from kneo_serv.model.plan import StepKind
from kneo_serv.model.quick import quick
from kneo_serv.model.task import About, Decision


class RunStatus(StrEnum):
    """What the world sees of a run."""

    CREATED = "created"
    RUNNING = "running"
    BLOCKED = "blocked"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    EXPIRED = "expired"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing follows any more (only a failed run may be continued)."""
        return self in TERMINAL


TERMINAL = frozenset(
    {RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.TIMED_OUT, RunStatus.EXPIRED}
)

PAUSED = "paused"
"""The word for `blocked` in answers to calls; accepted by filters too."""


class Phase(StrEnum):
    """What the machinery sees of a run; only a runnable one is claimed. `leased` is runnable under a live lease."""

    RUNNABLE = "runnable"
    LEASED = "leased"
    WAITING_TIMER = "waiting_timer"
    WAITING_HUMAN = "waiting_human"
    PARKED = "parked"
    """Its fold or decision raised; it rests until somebody continues it."""
    ENDED = "ended"


class SessionConcurrency(StrEnum):
    """What becomes of a run whose session has an earlier one that is at work (people are not waited for)."""

    QUEUE = "queue"
    """It begins when the earlier ones rest on people or have ended."""
    REJECT = "reject"
    """It is not taken in."""
    INTERLEAVE = "interleave"
    """It begins all the same."""


class StepPhase(StrEnum):
    """Where one step instance stands."""

    READY = "ready"
    """The next attempt, model turn or tool calls may begin."""
    RUNNING = "running"
    """An attempt is in flight."""
    RETRY = "retry"
    """Waits for `retry_at`."""
    ASKED = "asked"
    """Waits for a person."""
    SETTLED = "settled"
    """The result is there; the step is about to complete."""
    NESTED = "nested"
    """Its own frame is at work."""
    FAILED = "failed"
    """No attempt is left."""


class CallPhase(StrEnum):
    """Where one tool call of the last model turn stands."""

    READY = "ready"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    DENIED = "denied"


@quick
@dataclass(frozen=True, slots=True)
class Held:
    """A guardrail holds a text back, and why. With `ask` a person decides what becomes of it, else the step fails."""

    guardrail_id: str
    reason: str
    ask: bool = False
    assignee: str | None = None


@quick
@dataclass(frozen=True, slots=True)
class Screening:
    """How far one text has come through its guardrails: so many of them are behind it."""

    cleared: int = 0
    checking: bool = False
    """The next one is looking at it right now."""
    held: Held | None = None


@quick
@dataclass(frozen=True, slots=True)
class CallState:
    """One tool call of the last model turn; `number` counts the calls of the step from 1."""

    call: ToolCall
    number: int
    phase: CallPhase = CallPhase.READY
    output: str = ""
    """The tool's answer, or the error as the model is told."""
    uncertain: bool = False
    """A crash or a time limit came while it was in flight: nobody knows whether it happened."""
    screening: Screening = Screening()
    needs_approval: bool = False
    approved: str | None = None
    """Digest of the call that a person agreed to."""
    edited: bool = False
    """The person wrote other arguments."""
    admitted: bool = False
    """The guard lets it pass to the agent that answers it."""
    unavailable: bool = False
    """The tool is not to be had here: the step fails, and calls it when the run is continued."""
    inner: bool = False
    """A runtime with a loop of its own made it, within a model turn that is not over."""


@quick
@dataclass(frozen=True, slots=True)
class TaskState:
    """The question that a step waits for, and the answer once there is one."""

    continuation_id: ContinuationId
    request_id: RequestId
    expires_at: float | None = None
    escalated: bool = False
    decision: Decision | None = None
    about: About | None = None
    subject: str | None = None
    reminders: int = 0
    reminded_for: float | None = None
    """The moment that the last reminder was due at."""


@quick
@dataclass(frozen=True, slots=True)
class StepState:
    """One live step instance. Finished ones are not kept: their outputs stand in the journal."""

    key: StepKey
    step_id: str
    """Id in its workflow; under this id the step is visited."""
    executes: str
    """Id of the step whose target runs: its own, or its fallback's."""
    kind: StepKind
    input_text: str
    index: int | None = None
    phase: StepPhase = StepPhase.READY
    attempt: int = 0
    """Number of the attempt in flight, or of the last one."""
    failures: int = 0
    """Attempts used up; an interrupted one does not count."""
    retry_at: float | None = None
    turn: int = 0
    """Model turns finished in this attempt."""
    messages: tuple[Message, ...] = ()
    """What followed the input: the model's messages and the answers of tools."""
    calls: tuple[CallState, ...] = ()
    call_count: int = 0
    usage: Usage = Usage()
    task: TaskState | None = None
    frame: "Frame | None" = None
    output_text: str | None = None
    """The result, once it is there."""
    uncertain: bool = False
    """A crash came while the attempt was in flight: nobody knows whether it happened."""
    error_type: str | None = None
    error_message: str | None = None
    violation: bool = False
    admission: Screening = Screening()
    """Of the input, through the agent's guardrails of the stage input."""
    prompt: str | None = None
    """The input as these guardrails left it; None where they changed nothing."""
    screening: Screening = Screening()
    """Of the output, through the agent's guardrails of the stage output and the root agent's of the stage workflow."""
    retried: Mapping[str, int] = field(default_factory=dict)
    """By guardrail: how often the model was asked again because of it."""
    decided: Decision | None = None
    """What the step's own person decided, while another one is asked about the text."""
    outline: str | None = None
    """The plan that an agent of the strategy plan-act made for itself."""
    misfits: int = 0
    """Answers that did not fit the agent's `output_schema`."""
    misfit: str | None = None
    """What did not fit in the last one."""


@quick
@dataclass(frozen=True, slots=True)
class Frame:
    """A workflow at work: its cursor, the text that flows, and its live step instances by key.

    `flow` is a key of the plan's flows; the empty text stands for the root agent alone.
    """

    flow: str
    key: StepKey
    text: str
    index: int = 0
    """Sequence: index of the step that is live or comes next. Else: how many turns were begun."""
    live: Mapping[StepKey, StepState] = field(default_factory=dict)
    lap: int = 0
    """Sequence: how often a rejection led back to an earlier step."""
    visits: Mapping[str, int] = field(default_factory=dict)
    """How often each step was begun, where a step may be visited more than once."""
    outputs: Mapping[str, str] = field(default_factory=dict)
    """Concurrent: the text of each finished participant that had something to say."""
    last: str | None = None
    """Graph: the node that finished, while its edges are to be looked at."""
    last_executed: str | None = None
    """Graph: the step that ran for it, itself or its fallback."""
    last_failed: bool = False
    decision: Decision | None = None
    """Graph: what the last node's person decided."""
    next: str | None = None
    """Graph: the node that the taken edge leads to. Handoff, group chat: the participant that was named."""
    variables: Mapping[str, Any] = field(default_factory=dict)
    items: tuple[str, ...] | None = None
    """Map: the texts of the list, once it was read."""


@quick
@dataclass(frozen=True, slots=True)
class Spent:
    """What an agent used within a run. `seconds` is the time of its steps at work."""

    usage: Usage = Usage()
    seconds: float = 0.0


@quick
@dataclass(frozen=True, slots=True)
class Clock:
    """Since when an agent is at work in a step."""

    agent: str
    since: float


@quick
@dataclass(frozen=True, slots=True)
class Run:
    """The present state of a run, folded from its events. Small: it does not grow with the steps behind it."""

    id: RunId
    seq: int = 0
    """Number of the last event folded."""
    at: float = 0.0
    """Time of the last event folded."""
    status: RunStatus = RunStatus.CREATED
    plan_hash: PlanHash | None = None
    target: str = "workflow"
    input_text: str = ""
    output_text: str | None = None
    session_id: str | None = None
    frame: Frame | None = None
    fence: int = 0
    legs: int = 0
    deadline_at: float | None = None
    timeout_seconds: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    steps: int = 0
    """Steps finished."""
    usage: Usage = Usage()
    error_type: str | None = None
    error_message: str | None = None
    failed_step: str | None = None
    violation: bool = False
    engine_version: int = 1
    token_budget: int | None = None
    """Of the platform, for a plan that has none of its own."""
    seconds: float = 0.0
    """At work so far. Time in which it rests does not count."""
    spent: Mapping[str, Spent] = field(default_factory=dict)
    """By key of the agent."""
    clocks: Mapping[StepKey, Clock] = field(default_factory=dict)
    """Of the agents' steps that are at work."""
    grants: Mapping[str, int] = field(default_factory=dict)
    """By scope of a budget: how often a person agreed to as much again."""


@quick
@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as the store's projection knows it. Times are seconds since the epoch, UTC.

    `public_*` are the texts without secrets, None where both are the same.
    """

    id: RunId
    status: RunStatus
    phase: Phase
    seq: int
    plan_hash: PlanHash
    target: str
    input_text: str
    created_at: float
    updated_at: float
    public_input_text: str | None = None
    output_text: str | None = None
    public_output_text: str | None = None
    agent_name: str | None = None
    workflow_name: str | None = None
    workflow_kind: str | None = None
    current_step_id: str | None = None
    current_step_index: int | None = None
    current_node_id: str | None = None
    continuation_id: str | None = None
    session_id: str | None = None
    parent_run_id: str | None = None
    tags: tuple[str, ...] = ()
    environment: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    deadline_at: float | None = None
    started_at: float | None = None
    completed_at: float | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """The caller's own, and what was asked for at the start (spec path, target, environment, ...)."""
    input_tokens: int = 0
    output_tokens: int = 0
    fence: int = 0
    lease_owner: Owner | None = None
    lease_expires_at: float | None = None
    takeovers: int = 0
    """Since the journal last made progress."""
    fault: str | None = None
    """Why the run is parked."""
    tenant: str | None = None
    """To whom it belongs, for all its life: never an empty text."""
    cached_tokens: int = 0
    requests: int = 0
    """Questions to models."""
    cost_usd: float = 0.0
    """In US dollars, by list price, as far as prices are known."""
    queue: str = DEFAULT_QUEUE
    """Of those workers that serve it."""
    priority: int = 0
    """Among the runs of its tenant that wait: more goes first."""
    needs: tuple[str, ...] = ()
    """Agents and providers that it cannot do without, as `agent:<name>` and `provider:<name>`."""


@quick
@dataclass(frozen=True, slots=True)
class RunError:
    """Why a run ended badly. `message` holds no secret."""

    type: str
    message: str


@quick
@dataclass(frozen=True, slots=True)
class RunResult:
    """What a caller gets of a run, in the process of the caller: the private text.

    `status` is completed, failed, cancelled, timed_out, expired, paused (it waits for a person), or running (the
    caller's patience ended). `output_text` is None while the run is not completed.
    """

    run_id: RunId
    status: str
    output_text: str | None = None
    continuation_id: ContinuationId | None = None
    error: RunError | None = None
    messages: tuple[Message, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether the run is completed."""
        return self.status == RunStatus.COMPLETED

    @property
    def human_intervention_required(self) -> bool:
        """Whether the run waits for a person."""
        return self.status == PAUSED
