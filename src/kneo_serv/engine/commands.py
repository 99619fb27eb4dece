"""What the engine wants done next. A command is data: it can be printed, compared and kept."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kneo_serv.model.event import GuardrailApplied
from kneo_serv.model.ids import StepKey
from kneo_serv.model.message import Message, ToolCall
from kneo_serv.model.plan import Guardrail, HumanPlan, Step
from kneo_serv.model.quick import quick
from kneo_serv.model.run import CallState
from kneo_serv.model.task import About
from kneo_serv.model.tool import ToolDefinition


@quick
@dataclass(frozen=True, slots=True)
class Opening:
    """What begins the attempt of a step that ends, or waits for a person, before anything else is done in it."""

    step: Step
    visited: str
    """Id of the step in the workflow's order."""
    index: int | None
    attempt: int
    ref: str


@quick
@dataclass(frozen=True, slots=True)
class CallFunction:
    """Call a function with a text."""

    key: StepKey
    step: Step
    """The step whose target is executed (the fallback's, where one stands in)."""
    visited: str
    """Id of the step in the workflow's order."""
    index: int | None
    attempt: int
    text: str


@quick
@dataclass(frozen=True, slots=True)
class RunAgentTurn:
    """Ask an agent's model once. `messages` follow the system prompt; the first is the step's input."""

    key: StepKey
    step: Step
    visited: str
    index: int | None
    attempt: int
    turn: int
    agent: str
    """Key of the agent in the plan."""
    messages: tuple[Message, ...]
    transfers: tuple[ToolDefinition, ...] = ()
    """Tools by which the agent hands over to another participant. Nobody performs them: their call is the transfer."""
    planning: bool = False
    """The model is to write a plan, and gets no tools yet."""
    outline: str | None = None
    """The plan that it wrote."""
    settled: tuple[CallState, ...] = ()
    """Calls of a runtime with a loop of its own that an interrupted try of this turn has finished already."""
    call_count: int = 0
    """Calls of the step so far."""


@quick
@dataclass(frozen=True, slots=True)
class CallTool:
    """Call one tool that a model asked for. `number` counts the calls of the step from 1."""

    key: StepKey
    step: Step
    attempt: int
    agent: str
    call: ToolCall
    number: int
    approved: str | None = None
    """Digest of the call that a person agreed to."""


@quick
@dataclass(frozen=True, slots=True)
class CallAgent:
    """Answer a tool call by another agent, whose work is journaled step by step like any other."""

    key: StepKey
    step: Step
    attempt: int
    agent: str
    call: ToolCall
    number: int


@quick
@dataclass(frozen=True, slots=True)
class EndCall:
    """The agent behind a tool call gave its last word, or failed: `error_type` and `text` say of what."""

    key: StepKey
    step_id: str
    call: ToolCall
    text: str
    error_type: str | None = None


@quick
@dataclass(frozen=True, slots=True)
class CheckGuardrail:
    """Have a function or an agent look at a text. `place` counts the guardrails of the text from 0."""

    key: StepKey
    step: Step
    visited: str
    index: int | None
    attempt: int
    guardrail: Guardrail
    stage: str
    place: int
    text: str
    call_id: str | None = None
    """The tool call whose result is looked at."""


@quick
@dataclass(frozen=True, slots=True)
class NoteGuardrail:
    """Journal what a guardrail found that the engine decides itself."""

    key: StepKey
    step: Step
    visited: str
    index: int | None
    attempt: int
    applied: GuardrailApplied


@quick
@dataclass(frozen=True, slots=True)
class SettleStep:
    """The work of a nested workflow is done; its text has guardrails to pass before the step is."""

    key: StepKey
    step_id: str
    text: str


@quick
@dataclass(frozen=True, slots=True)
class EnterFlow:
    """Open a frame for a nested workflow."""

    key: StepKey
    step: Step
    visited: str
    index: int | None
    attempt: int
    flow: str


@quick
@dataclass(frozen=True, slots=True)
class AskHuman:
    """Ask a person about a text."""

    key: StepKey
    step: Step
    index: int | None
    human: HumanPlan
    text: str
    title: str | None = None
    prompt: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    about: About | None = None
    subject: str | None = None
    opening: Opening | None = None


@quick
@dataclass(frozen=True, slots=True)
class CompleteStep:
    """The step is done: its person answered, its model gave the last word, or its nested workflow ended."""

    key: StepKey
    step_id: str
    index: int | None
    text: str


@quick
@dataclass(frozen=True, slots=True)
class FailStep:
    """The step's attempt is lost for a reason that the engine itself sees."""

    key: StepKey
    error_type: str
    message: str
    violation: bool = False
    opening: Opening | None = None


@quick
@dataclass(frozen=True, slots=True)
class TakeEdge:
    """Go from one node of a graph to the next."""

    key: StepKey
    """Of the frame."""
    source: str
    target: str
    label: str | None


@quick
@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do for this step before `until` (seconds since the epoch)."""

    key: StepKey
    until: float


@quick
@dataclass(frozen=True, slots=True)
class Finish:
    """The run is done."""

    text: str


@quick
@dataclass(frozen=True, slots=True)
class Fail:
    """The run cannot go on."""

    error_type: str
    message: str
    step_id: str | None = None
    violation: bool = False


type Effect = CallFunction | RunAgentTurn | CallTool | CheckGuardrail
"""Commands that touch the world: their `started` is journaled before they begin."""

type Command = (
    Effect
    | CallAgent
    | EndCall
    | NoteGuardrail
    | SettleStep
    | EnterFlow
    | AskHuman
    | CompleteStep
    | FailStep
    | TakeEdge
    | Wait
    | Finish
    | Fail
)
