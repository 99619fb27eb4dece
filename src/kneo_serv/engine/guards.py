"""Guardrails on their way: which ones a text has to pass, which comes next, and what their verdicts change.

A text passes the guardrails of its stage one after another, in their order. One that is decided by the engine itself
leaves an event only where the text does not pass; so whether it was looked at already is not remembered, and need not
be. One that asks a function or an agent is an effect like any other, and its verdict is always journaled.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from kneo_serv.engine.approvals import arguments_text
from kneo_serv.engine.commands import (
    AskHuman,
    CheckGuardrail,
    Command,
    CompleteStep,
    FailStep,
    NoteGuardrail,
    SettleStep,
)
from kneo_serv.engine.frames import (
    AGENT_FLOW,
    CALLS_FLOW,
    agent_of,
    find,
    flow_of,
    frame_holding,
    step_of,
    with_step,
)
from kneo_serv.engine.variables import misfit
from kneo_serv.engine.verdict import Verdict, failure, is_effect, look, max_retries, outcome_of
from kneo_serv.model import event as ev
from kneo_serv.model.ids import StepKey
from kneo_serv.model.message import Message, Role
from kneo_serv.model.plan import ROOT, Guardrail, HumanPlan, Plan, RequestType, Step, StepKind
from kneo_serv.model.quick import quick, replace
from kneo_serv.model.run import CallState, Frame, Held, Run, Screening, StepPhase, StepState
from kneo_serv.model.task import About, Decision

GUARDRAIL_VIOLATION = "guardrail_violation"
"""Error type of a step whose text a guardrail did not let pass."""

INPUT, OUTPUT, TOOL, WORKFLOW = "input", "output", "tool", "workflow"

type GuardEvent = ev.StepReturned | ev.GuardrailStarted | ev.GuardrailApplied


@quick
@dataclass(frozen=True, slots=True)
class _Text:
    """A text, how far it has come, and what is still before it."""

    step: Step
    state: StepState
    attempt: int
    text: str
    screening: Screening
    guardrails: Sequence[Guardrail]
    call: CallState | None = None

    @property
    def call_id(self) -> str | None:
        """The tool call whose result it is."""
        return None if self.call is None else self.call.call.id


# --- deciding -------------------------------------------------------------------------------------------------------


def admission(plan: Plan, agent: str, step: Step, state: StepState, attempt: int) -> list[Command] | None:
    """What the agent's input still has to go through; None when the agent may get it."""
    guardrails = _of(plan, agent, INPUT)
    if not guardrails or state.turn or state.messages:
        return None
    if state.admission.checking:
        return []
    text = state.input_text if state.prompt is None else state.prompt
    command = _next(_Text(step, state, attempt, text, state.admission, guardrails))
    return None if command is None else [command]


def results(plan: Plan, agent: str, step: Step, state: StepState, attempt: int) -> list[Command] | None:
    """What the results of the last turn's tools still have to go through; None when the model may see them."""
    guardrails = _of(plan, agent, TOOL)
    if not guardrails:
        return None
    commands: list[Command] = []
    held: list[Command] = []
    for call in state.calls:
        command = None
        if not call.screening.checking:
            command = _next(_Text(step, state, attempt, call.output, call.screening, guardrails, call))
        if isinstance(command, FailStep | AskHuman):
            held.append(command)
        elif command is not None:
            commands.append(command)
    if commands or any(call.screening.checking for call in state.calls):
        return commands
    # One question at a time; and none at all when the step fails anyway.
    first = next((command for command in held if isinstance(command, FailStep)), held[0] if held else None)
    return None if first is None else [first]


def release(plan: Plan, frame: Frame, step: Step, state: StepState, text: str) -> list[Command]:
    """What the output of a step still has to go through; its completion when that is all behind it."""
    settled = state.phase is StepPhase.SETTLED
    if settled and state.screening.checking:
        return []
    screening = state.screening if settled else Screening()
    command = _next(_Text(step, state, state.attempt, text, screening, _at_the_end(plan, frame, step)))
    if command is None:
        return [CompleteStep(state.key, state.executes, state.index, text)]
    return [command if settled else SettleStep(state.key, state.executes, text)]


def returned(plan: Plan, run: Run, key: StepKey, step_id: str, text: str) -> ev.StepCompleted | ev.StepReturned:
    """The event for a function that returned: its step is finished, unless a guardrail or a variable minds the text."""
    state = find(run.frame, key)
    frame = run.frame and frame_holding(run.frame, key)
    if state is None or frame is None:
        return ev.StepCompleted(key, step_id, text)
    flow = flow_of(plan, frame)
    step = step_of(flow, state)
    unguarded = _next(_Text(step, state, state.attempt, text, Screening(), _at_the_end(plan, frame, step))) is None
    if unguarded and misfit(flow, state, text) is None:
        return ev.StepCompleted(key, step_id, text, state.index)
    return ev.StepReturned(key, step_id, text)


def applied(run: Run, check: CheckGuardrail, verdict: Verdict) -> ev.GuardrailApplied:
    """The event for the verdict of a function or an agent."""
    state = find(run.frame, check.key)
    may_retry = state is not None and _may_retry(state, check.guardrail, check.stage)
    return _applied(
        check.key, check.step.id, check.guardrail, check.place, check.call_id, verdict, check.text, may_retry=may_retry
    )


def is_checking(state: StepState, check: CheckGuardrail) -> bool:
    """Whether the step still waits for this verdict."""
    if check.stage == TOOL:
        return any(call.call.id == check.call_id and call.screening.checking for call in state.calls)
    screening = state.admission if check.stage == INPUT else state.screening
    return screening.checking and screening.cleared == check.place


def under_review(state: StepState) -> str:
    """The text that a person is asked about: the step's input, or what a guardrail holds back."""
    if state.task is not None and state.task.about is About.APPROVAL:
        asked = next((call for call in state.calls if call.call.id == state.task.subject), None)
        return state.input_text if asked is None else arguments_text(asked.call)
    held = _held(state)
    if held is None:
        return state.input_text
    if isinstance(held, CallState):
        return held.output
    if held == INPUT:
        return state.input_text if state.prompt is None else state.prompt
    return state.output_text or ""


def _of(plan: Plan, agent: str, stage: str) -> Sequence[Guardrail]:
    found = plan.agents.get(agent)
    if found is None or not found.guardrails or found.as_agent is not None:
        return ()
    return [guardrail for guardrail in found.guardrails if guardrail.stage == stage]


def _at_the_end(plan: Plan, frame: Frame, step: Step) -> Sequence[Guardrail]:
    """The guardrails of a step's output: its agent's own, then those that the root agent has for every step."""
    found: list[Guardrail] = []
    if step.kind in (StepKind.AGENT, StepKind.GUARDRAIL):
        found += _of(plan, agent_of(frame, step), OUTPUT)
    # An agent that runs alone, or answers a tool call, is no step of a workflow.
    if frame.flow not in (AGENT_FLOW, CALLS_FLOW):
        found += _of(plan, ROOT, WORKFLOW)
    return found


def _next(text: _Text) -> CheckGuardrail | NoteGuardrail | FailStep | AskHuman | None:
    state = text.state
    if text.screening.held is not None:
        return _stop(text, text.screening.held)
    for place in range(text.screening.cleared, len(text.guardrails)):
        guardrail = text.guardrails[place]
        if is_effect(guardrail):
            return CheckGuardrail(
                state.key,
                text.step,
                state.step_id,
                state.index,
                text.attempt,
                guardrail,
                guardrail.stage,
                place,
                text.text,
                text.call_id,
            )
        verdict = look(guardrail, text.text)
        if not verdict.passed:
            may_retry = _may_retry(state, guardrail, guardrail.stage)
            event = _applied(
                state.key, text.step.id, guardrail, place, text.call_id, verdict, text.text, may_retry=may_retry
            )
            return NoteGuardrail(state.key, text.step, state.step_id, state.index, text.attempt, event)
    return None


def _stop(text: _Text, held: Held) -> FailStep | AskHuman:
    if not held.ask:
        message = failure(held.guardrail_id, held.reason)
        return FailStep(text.state.key, GUARDRAIL_VIOLATION, message, violation=True)
    stage = text.guardrails[text.screening.cleared].stage
    return AskHuman(
        text.state.key,
        text.step,
        text.state.index,
        HumanPlan(request_type=RequestType.REVIEW, assignee=held.assignee),
        text.text,
        title=f"Guardrail {held.guardrail_id!r} holds a text back",
        prompt=f"{held.reason}. Approve to let it pass, edit or provide another text, reject to stop the run.",
        metadata={"guardrail_id": held.guardrail_id, "stage": stage},
    )


def _may_retry(state: StepState, guardrail: Guardrail, stage: str) -> bool:
    spoken = state.phase is StepPhase.SETTLED and bool(state.messages)
    return stage in (OUTPUT, WORKFLOW) and spoken and state.retried.get(guardrail.id, 0) < max_retries(guardrail)


def _applied(
    key: StepKey,
    step_id: str,
    guardrail: Guardrail,
    place: int,
    call_id: str | None,
    verdict: Verdict,
    text: str,
    *,
    may_retry: bool,
) -> ev.GuardrailApplied:
    outcome, revised = outcome_of(guardrail, guardrail.stage, verdict, text, may_retry=may_retry)
    assignee = guardrail.config.get("assignee") if outcome is ev.GuardrailOutcome.REVIEW else None
    return ev.GuardrailApplied(
        key,
        step_id,
        guardrail.id,
        guardrail.stage,
        guardrail.action,
        verdict.passed,
        verdict.reason,
        revised,
        outcome,
        place,
        call_id,
        assignee if isinstance(assignee, str) else None,
        verdict.usage,
        verdict.metadata,
    )


# --- folding --------------------------------------------------------------------------------------------------------


def fold_guard(frame: Frame, event: GuardEvent) -> Frame:
    """The frame after a guardrail began to look at a text, or had its say. Raises KeyError when the step is gone."""
    state = frame.live[event.key]
    match event:
        case ev.StepReturned(_, _, text):
            settled = replace(state, phase=StepPhase.SETTLED, output_text=text, screening=Screening(), frame=None)
            return with_step(frame, settled)
        case ev.GuardrailStarted():
            screening = Screening(event.place, checking=True)
            return with_step(frame, _screened(state, event.stage, event.call_id, screening))
        case ev.GuardrailApplied():
            return with_step(frame, _judged(state, event))


def reviewed(state: StepState, event: ev.HumanAnswered) -> StepState | None:
    """The step after a person decided about a text that was held back; None when the question was another one."""
    place = _held(state)
    if place is None or state.phase is not StepPhase.ASKED:
        return None
    task = state.task and replace(state.task, decision=state.decided)
    state = replace(state, task=None if state.decided is None else task, decided=None)
    stage, call_id, screening = _place(state, place)
    held = screening.held
    if event.decision is Decision.REJECTED:
        reason = f"the reviewer rejected the text{': ' + event.content if event.content else ''}"
        return replace(
            state,
            phase=StepPhase.FAILED,
            error_type=GUARDRAIL_VIOLATION,
            error_message=failure(held.guardrail_id if held is not None else "", reason),
            violation=True,
        )
    text = None if event.decision is Decision.APPROVED else event.content or ""
    state = _screened(state, stage, call_id, Screening(screening.cleared + 1), text)
    return replace(state, phase=StepPhase.SETTLED if stage == OUTPUT else StepPhase.READY)


def taken_up(state: StepState, *, anew: bool = False) -> StepState:
    """The step for a new leg: whoever was looking at a text looks again. With `anew` refusals are forgotten too."""

    def again(screening: Screening) -> Screening:
        return replace(screening, checking=False, held=None if anew else screening.held)

    calls = state.calls
    if any(call.screening != again(call.screening) for call in calls):
        calls = tuple(replace(call, screening=again(call.screening)) for call in calls)
    return replace(state, calls=calls, admission=again(state.admission), screening=again(state.screening))


def asked_again(state: StepState) -> StepState:
    """The step of a continued run whose question about a text was withdrawn with the run's end."""
    place = _held(state)
    phase = StepPhase.SETTLED if place == OUTPUT else StepPhase.READY
    task = None if state.decided is None else state.task and replace(state.task, decision=state.decided)
    return replace(state, phase=phase, task=task, decided=None)


def forgiven(state: StepState) -> StepState | None:
    """The step of a continued run whose finished text was refused; None when it was another text.

    What was done is not done again. But a model may find other words, and a person too: they are asked once more.
    """
    if state.output_text is None or state.kind is StepKind.HUMAN:
        return None
    if not state.messages:
        return replace(state, phase=StepPhase.SETTLED)
    return replace(
        state,
        phase=StepPhase.RETRY,
        messages=state.messages[:-1],
        turn=max(0, state.turn - 1),
        output_text=None,
        screening=Screening(),
        retried={},
    )


def _judged(state: StepState, event: ev.GuardrailApplied) -> StepState:
    stage, call_id, place = event.stage, event.call_id, event.place
    match event.outcome:
        case ev.GuardrailOutcome.PASSED | ev.GuardrailOutcome.WARNED:
            return _screened(state, stage, call_id, Screening(place + 1))
        case ev.GuardrailOutcome.REVISED:
            return _screened(state, stage, call_id, Screening(place + 1), event.revised_text or "")
        case ev.GuardrailOutcome.RETRY:
            return _asked_for_other_words(state, event)
        case ev.GuardrailOutcome.REVIEW | ev.GuardrailOutcome.BLOCKED:
            ask = event.outcome is ev.GuardrailOutcome.REVIEW
            held = Held(event.guardrail_id, event.reason or "the text did not pass", ask, event.assignee)
            return _screened(state, stage, call_id, Screening(place, held=held))


def _asked_for_other_words(state: StepState, event: ev.GuardrailApplied) -> StepState:
    # The strategy simple passes over wishes for tools; nobody answers them, so they must not stand in what goes back.
    said = (
        replace(message, tool_calls=(), raw=None) if message.tool_calls else message for message in state.messages[-1:]
    )
    reply = event.metadata.get("reply")
    reason = reply if isinstance(reply, str) and reply else event.reason or "the text did not pass"
    wish = Message(Role.USER, f"Your answer did not pass the check {event.guardrail_id!r}: {reason}. Answer again.")
    return replace(
        state,
        phase=StepPhase.READY,
        messages=(*state.messages[:-1], *said, wish),
        output_text=None,
        screening=Screening(),
        retried={**state.retried, event.guardrail_id: state.retried.get(event.guardrail_id, 0) + 1},
    )


def _screened(
    state: StepState, stage: str, call_id: str | None, screening: Screening, text: str | None = None
) -> StepState:
    """The step with this screening of one of its texts, and with another text where one is given."""
    if stage in (OUTPUT, WORKFLOW):
        return replace(state, screening=screening, output_text=state.output_text if text is None else text)
    # Where a check is what an attempt begins with, the step itself is not in flight: its check is.
    state = replace(state, phase=StepPhase.READY if state.phase is StepPhase.RUNNING else state.phase)
    if stage == INPUT:
        return replace(state, admission=screening, prompt=state.prompt if text is None else text)
    calls = tuple(
        replace(call, screening=screening, output=call.output if text is None else text)
        if call.call.id == call_id
        else call
        for call in state.calls
    )
    return replace(state, calls=calls)


def _held(state: StepState) -> CallState | str | None:
    """Which text of the step a person is asked about, or would be."""
    if state.admission.held is not None and state.admission.held.ask:
        return INPUT
    for call in state.calls:
        if call.screening.held is not None and call.screening.held.ask:
            return call
    return OUTPUT if state.screening.held is not None and state.screening.held.ask else None


def _place(state: StepState, place: CallState | str) -> tuple[str, str | None, Screening]:
    if isinstance(place, CallState):
        return TOOL, place.call.id, place.screening
    return (INPUT, None, state.admission) if place == INPUT else (OUTPUT, None, state.screening)
