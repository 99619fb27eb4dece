"""What came of an effect, and the event that it becomes."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, assert_never

from kneo_serv.engine import CheckGuardrail, Failure, Verdict, applied, failed_step, find, is_checking, returned
from kneo_serv.model import event as ev
from kneo_serv.model.ids import StepKey
from kneo_serv.model.message import Turn
from kneo_serv.model.plan import Plan
from kneo_serv.model.quick import quick
from kneo_serv.model.run import CallPhase, Run, StepPhase


@quick
@dataclass(frozen=True, slots=True)
class Returned:
    """A function returned."""

    key: StepKey
    step_id: str
    attempt: int
    text: str


@quick
@dataclass(frozen=True, slots=True)
class Lost:
    """An attempt came to nothing."""

    step_id: str
    attempt: int
    failure: Failure

    @property
    def key(self) -> StepKey:
        """Of the step."""
        return self.failure.key


@quick
@dataclass(frozen=True, slots=True)
class Spoken:
    """A model answered."""

    key: StepKey
    step_id: str
    attempt: int
    number: int
    turn: Turn
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Of the event: what became of the conversation before it was sent."""
    approvals: tuple[str, ...] = ()
    admitted: tuple[str, ...] = ()
    misfit: str | None = None


@quick
@dataclass(frozen=True, slots=True)
class ToolAnswered:
    """A tool call ended, one way or the other."""

    key: StepKey
    step_id: str
    attempt: int
    call_id: str
    event: ev.ToolCallCompleted | ev.ToolCallFailed | ev.ToolPolicyDenied


@quick
@dataclass(frozen=True, slots=True)
class InnerCall:
    """A tool call began or ended inside a model turn that is still going on."""

    key: StepKey
    step_id: str
    attempt: int
    event: ev.ToolCallStarted | ev.ToolCallCompleted | ev.ToolCallFailed | ev.ToolPolicyDenied


@quick
@dataclass(frozen=True, slots=True)
class Checked:
    """A guardrail had its say."""

    check: CheckGuardrail
    verdict: Verdict

    @property
    def key(self) -> StepKey:
        """Of the step."""
        return self.check.key

    @property
    def attempt(self) -> int:
        """Of the step."""
        return self.check.attempt


type Outcome = Returned | Lost | Spoken | ToolAnswered | InnerCall | Checked

type Noter = Callable[[InnerCall], Awaitable[bool]]
"""Journals what has to be durable before an effect goes on; False when the run has no more use for it."""


def event_of(plan: Plan, run: Run, outcome: Outcome, *, now: float) -> ev.Event:
    """The event that an outcome becomes; a LateOutcome when the run has no more use for it."""
    if not is_awaited(run, outcome):
        return late(outcome)
    match outcome:
        case Returned(key, step_id, _, text):
            return returned(plan, run, key, step_id, text)
        case Lost(_, _, failure):
            return failed_step(plan, run, failure, now=now)
        case Spoken(key, step_id, _, number, turn):
            return ev.ModelTurnCompleted(
                key,
                step_id,
                number,
                turn.text,
                turn.tool_calls,
                turn.usage,
                turn.model_name,
                turn.raw,
                outcome.metadata,
                outcome.approvals,
                outcome.admitted,
                outcome.misfit,
            )
        case ToolAnswered() | InnerCall():
            return outcome.event
        case Checked(check, verdict):
            return applied(run, check, verdict)
        case _:
            assert_never(outcome)


def late(outcome: Outcome) -> ev.LateOutcome:
    """The outcome as a fact that changes nothing."""
    match outcome:
        case Returned(key, step_id, _, text):
            return ev.LateOutcome(key, step_id, ev.StepCompleted.KIND, text)
        case Lost(step_id, _, failure):
            return ev.LateOutcome(
                failure.key, step_id, ev.StepFailed.KIND, error_type=failure.error_type, message=failure.message
            )
        case Spoken(key, step_id, _, _, turn):
            return ev.LateOutcome(key, step_id, ev.ModelTurnCompleted.KIND, turn.text)
        case ToolAnswered(key, step_id, _, _, event) | InnerCall(key, step_id, _, event):
            return ev.LateOutcome(key, step_id, event.KIND)
        case Checked(check):
            return ev.LateOutcome(check.key, check.step.id, ev.GuardrailApplied.KIND)
        case _:
            assert_never(outcome)


def is_awaited(run: Run, outcome: Outcome) -> bool:
    """Whether the run still waits for this."""
    if run.status.is_terminal:
        return False
    state = find(run.frame, outcome.key)
    if state is None or state.attempt != outcome.attempt:
        return False
    if isinstance(outcome, Checked):
        return is_checking(state, outcome.check)
    if isinstance(outcome, ToolAnswered):
        return any(call.call.id == outcome.call_id and call.phase is CallPhase.RUNNING for call in state.calls)
    return state.phase is StepPhase.RUNNING


def begins(outcome: Outcome) -> bool:
    """Whether it is no outcome yet, but a wish to begin something."""
    return isinstance(outcome, InnerCall) and isinstance(outcome.event, ev.ToolCallStarted)
