"""The events that a command begins with. They are journaled before the effect itself begins."""

from typing import Protocol

from kneo_serv.engine.commands import (
    AskHuman,
    CallAgent,
    CallFunction,
    CallTool,
    CheckGuardrail,
    Command,
    CompleteStep,
    EndCall,
    EnterFlow,
    Fail,
    FailStep,
    Finish,
    NoteGuardrail,
    Opening,
    RunAgentTurn,
    SettleStep,
    TakeEdge,
    Wait,
)
from kneo_serv.engine.failure import Failure, failed_step
from kneo_serv.engine.frames import find
from kneo_serv.model import event as ev
from kneo_serv.model.ids import ContinuationId, RequestId, StepKey
from kneo_serv.model.message import Usage
from kneo_serv.model.plan import Plan
from kneo_serv.model.quick import replace
from kneo_serv.model.run import Run
from kneo_serv.model.task import HumanRequest


class IdSource(Protocol):
    """Where fresh ids come from."""

    def continuation(self) -> ContinuationId:
        """A continuation id that was never given before."""
        ...

    def request(self) -> RequestId:
        """A request id that was never given before."""
        ...


def begin(plan: Plan, run: Run, command: Command, *, now: float, ids: IdSource) -> list[ev.Event]:
    """Events to journal for a command before its effect; for commands without an effect, all there is."""
    match command:
        case CallFunction(key, step, visited, index, attempt, _):
            return [ev.StepStarted(key, step.id, step.kind, attempt, step.ref, index, _stands_in(step.id, visited))]
        case EnterFlow(key, step, visited, index, attempt, flow):
            return [
                ev.StepStarted(key, step.id, step.kind, attempt, step.ref, index, _stands_in(step.id, visited), flow)
            ]
        case RunAgentTurn(key, step, visited, index, attempt, turn):
            started = ev.StepStarted(
                key, step.id, step.kind, attempt, command.agent, index, _stands_in(step.id, visited)
            )
            state = find(run.frame, key)
            begun = state is not None and state.attempt == attempt
            turned = ev.ModelTurnStarted(key, step.id, turn)
            return [turned] if begun else [started, turned]
        case CallTool(key, step, attempt, agent, call, number) | CallAgent(key, step, attempt, agent, call, number):
            called = ev.ToolCallStarted(key, step.id, call.id, call.name, number)
            state = find(run.frame, key)
            if state is None or state.attempt == attempt:
                return [called]
            stands_in = _stands_in(step.id, state.step_id)
            return [ev.StepStarted(key, step.id, step.kind, attempt, agent, state.index, stands_in), called]
        case EndCall(key, step_id, call, text, error_type):
            if error_type is not None:
                return [ev.ToolCallFailed(key, step_id, call.id, call.name, error_type, text)]
            return [ev.ToolCallCompleted(key, step_id, call.id, call.name, text)]
        case CheckGuardrail(key, step, _, _, _, guardrail, stage, place, _, call_id):
            return [*_opened(run, command), ev.GuardrailStarted(key, step.id, guardrail.id, stage, place, call_id)]
        case NoteGuardrail():
            return [*_opened(run, command), command.applied]
        case SettleStep(key, step_id, text):
            return [ev.StepReturned(key, step_id, text)]
        case AskHuman():
            return [*_opened_for(command.opening, command.key), _asked(command, now, ids)]
        case CompleteStep(key, step_id, index, text):
            state = find(run.frame, key)
            used = state.usage if state is not None and state.usage != Usage() else None
            return [ev.StepCompleted(key, step_id, text, index, used)]
        case FailStep(key, error_type, message, violation, opening) if opening is not None:
            failed = ev.StepFailed(
                key, opening.step.id, opening.attempt, error_type, message, ev.Resolution.FAIL, None, opening.index
            )
            return [*_opened_for(opening, key), replace(failed, violation=violation)]
        case FailStep(key, error_type, message, violation):
            return [failed_step(plan, run, Failure(key, error_type, message, violation=violation), now=now)]
        case TakeEdge(key, source, target, label):
            return [ev.EdgeTaken(key, source, target, label)]
        case Finish(text):
            return [ev.RunCompleted(text)]
        case Fail(error_type, message, step_id, violation):
            return [ev.RunFailed(error_type, message, step_id, violation)]
        case Wait():
            return []


def _opened(run: Run, command: CheckGuardrail | NoteGuardrail) -> list[ev.Event]:
    """What begins the attempt, where looking at a text is what it begins with."""
    state = find(run.frame, command.key)
    if state is not None and state.attempt == command.attempt:
        return []
    step, visited = command.step, command.visited
    return [
        ev.StepStarted(
            command.key, step.id, step.kind, command.attempt, step.ref, command.index, _stands_in(step.id, visited)
        )
    ]


def _opened_for(opening: Opening | None, key: StepKey) -> list[ev.Event]:
    if opening is None:
        return []
    step = opening.step
    stands_in = _stands_in(step.id, opening.visited)
    return [ev.StepStarted(key, step.id, step.kind, opening.attempt, opening.ref, opening.index, stands_in)]


def _stands_in(step_id: str, visited: str) -> str | None:
    return None if step_id == visited else visited


def _asked(command: AskHuman, now: float, ids: IdSource) -> ev.HumanAsked:
    human = command.human
    request = HumanRequest(
        id=ids.request(),
        type=human.request_type,
        title=command.title or human.description or "Human review required",
        prompt=command.prompt or human.description or "Please review this item.",
        requested_by=command.step.id,
        context=human.context,
        options=human.options,
        default_option=human.default_option,
        assignee=human.assignee,
        timeout_seconds=human.timeout_seconds,
        on_timeout=human.on_timeout,
        remind_every_seconds=human.remind_every_seconds,
        max_reminders=human.max_reminders,
        metadata=command.metadata,
    )
    timeout = human.timeout_seconds
    expires_at = now + timeout if timeout is not None and timeout > 0 else None
    return ev.HumanAsked(
        command.key,
        command.step.id,
        ids.continuation(),
        request,
        command.index,
        expires_at,
        command.about,
        command.subject,
    )
