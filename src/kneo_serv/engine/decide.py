"""Deciding: a plan and a run so far in, the next commands out. Pure: the time is an argument like any other."""

from dataclasses import dataclass

from kneo_serv.engine.commands import (
    AskHuman,
    CallFunction,
    CallTool,
    Command,
    CompleteStep,
    EnterFlow,
    Fail,
    FailStep,
    Finish,
    RunAgentTurn,
    Wait,
)
from kneo_serv.engine.frames import AGENT_FLOW, flow_of, in_flight, is_inline, step_of
from kneo_serv.engine.guards import admission, release, results
from kneo_serv.engine.joins import broken_by
from kneo_serv.engine.openings import input_of
from kneo_serv.engine.order import Next, Stuck, next_in
from kneo_serv.engine.steps import MAX_ITERATIONS, TOOL_ERROR
from kneo_serv.engine.transfers import offered
from kneo_serv.engine.turns import calls_open, conversation, doubtful_call
from kneo_serv.engine.variables import VARIABLE_TYPE, misfit
from kneo_serv.model.message import Message, Role
from kneo_serv.model.plan import ROOT, Flow, HumanPlan, Plan, RequestType, Step, StepKind, Strategy
from kneo_serv.model.run import CallPhase, Frame, Run, RunStatus, StepPhase, StepState
from kneo_serv.model.tool import Effect, ToolDefinition


@dataclass(frozen=True, slots=True)
class _Done:
    text: str


@dataclass(frozen=True, slots=True)
class _Broken:
    error_type: str
    message: str
    step_id: str | None
    violation: bool


type _Verdict = _Done | _Broken | list[Command]


def decide(plan: Plan, run: Run, now: float) -> list[Command]:
    """Every command that may begin now (`now` in seconds since the epoch); nothing twice, nothing after an end.

    A run that is at work, or rests, has no command; one that waits for a retry has a Wait.
    """
    if run.status is not RunStatus.RUNNING or run.frame is None:
        return []
    excess = _excess(plan, run)
    if excess is not None:
        # What has begun comes to its end first; nothing else begins.
        return [] if any(in_flight(state) for state in run.frame.live.values()) else [excess]
    verdict = _frame(plan, run.frame, run.input_text, now)
    match verdict:
        case _Done(text):
            return [Finish(text)]
        case _Broken(error_type, message, step_id, violation):
            return [Fail(error_type, message, step_id, violation)]
        case commands:
            return commands


def _excess(plan: Plan, run: Run) -> Fail | None:
    """Why the run goes on no longer, when it has passed a limit."""
    if run.seq >= plan.limits.max_events:
        return Fail("limit_exceeded", f"The run has reached its limit of {plan.limits.max_events} events.")
    used, budget = run.usage.total_tokens, plan.limits.token_budget
    budget = run.token_budget if budget is None else budget
    if budget is not None and used > budget:
        return Fail("token_budget_exceeded", f"The run used {used} tokens; its budget is {budget}.")
    return None


def _frame(plan: Plan, frame: Frame, given: str, now: float) -> _Verdict:
    """What is next in a workflow, which was given this text at its beginning."""
    flow = flow_of(plan, frame)
    commands: list[Command] = []
    for state in frame.live.values():
        if state.phase is not StepPhase.FAILED:
            commands.extend(_step(plan, frame, flow, state, given, now))
    broken = broken_by(frame)
    if broken is not None:
        # What has begun comes to its end first, its retries included; but nobody is asked or waited for any more.
        rest: list[Command] = [command for command in commands if not isinstance(command, AskHuman)]
        if rest or any(in_flight(state) for state in frame.live.values()):
            return rest
        return _Broken(
            broken.error_type or "step_failed", broken.error_message or "", broken.executes, broken.violation
        )
    following = next_in(plan, flow, frame, given)
    if isinstance(following, Stuck):
        return _Broken(following.error_type, following.message, None, violation=False)
    if isinstance(following, Next):
        for key, step, index in following.steps:
            fresh = StepState(key, step.id, step.id, step.kind, input_of(flow, frame, step, index, given), index)
            commands.extend(_begin(plan, frame, flow, fresh))
        if following.edge is not None:
            commands.append(following.edge)
        return commands
    return _Done(following)


def _step(plan: Plan, frame: Frame, flow: Flow, state: StepState, given: str, now: float) -> list[Command]:
    match state.phase:
        case StepPhase.READY:
            return _begin(plan, frame, flow, state)
        case StepPhase.RETRY:
            if state.retry_at is not None and now < state.retry_at:
                return [Wait(state.key, state.retry_at)]
            return _begin(plan, frame, flow, state)
        case StepPhase.SETTLED:
            return _release(plan, frame, flow, state, state.output_text or "")
        case StepPhase.NESTED if state.frame is not None:
            inner = given if is_inline(frame, step_of(flow, state)) else state.input_text
            match _frame(plan, state.frame, inner, now):
                case _Done(text):
                    return _release(plan, frame, flow, state, text)
                case _Broken(error_type, message, _, violation):
                    return [FailStep(state.key, error_type, message, violation)]
                case commands:
                    return commands
        case _:
            return []


def _release(plan: Plan, frame: Frame, flow: Flow, state: StepState, text: str) -> list[Command]:
    """What an output has to go through; its text is looked at last, since guardrails may change it."""
    commands = release(plan, frame, step_of(flow, state), state, text)
    if not any(isinstance(command, CompleteStep) for command in commands):
        return commands
    why = misfit(flow, state, text)
    return commands if why is None else [FailStep(state.key, VARIABLE_TYPE, why)]


def _begin(plan: Plan, frame: Frame, flow: Flow, state: StepState) -> list[Command]:
    step = step_of(flow, state)
    match step.kind:
        case StepKind.FUNCTION:
            if state.uncertain and plan.functions[step.ref].effect is Effect.ONCE:
                return [_ask_about(state, step, f"function {step.ref}")]
            return [CallFunction(state.key, step, state.step_id, state.index, state.attempt + 1, state.input_text)]
        case StepKind.HUMAN:
            return [AskHuman(state.key, step, state.index, plan.humans[step.ref], state.input_text)]
        case StepKind.WORKFLOW:
            return [EnterFlow(state.key, step, state.step_id, state.index, state.attempt + 1, step.ref)]
        case StepKind.AGENT | StepKind.GUARDRAIL:
            agent = ROOT if frame.flow == AGENT_FLOW else step.ref
            flow_key = plan.agents[agent].as_agent
            if flow_key is not None:
                return [EnterFlow(state.key, step, state.step_id, state.index, state.attempt + 1, flow_key)]
            return _converse(plan, agent, step, state, offered(plan, flow, frame, step))


def _converse(
    plan: Plan, agent: str, step: Step, state: StepState, transfers: tuple[ToolDefinition, ...]
) -> list[Command]:
    strategy = plan.agents[agent].strategy
    running = any(call.phase is CallPhase.RUNNING for call in state.calls)
    # An attempt that a crash interrupted goes on where it stopped; only a lost one begins again under a new number.
    attempt = state.attempt + 1 if state.attempt == 0 or state.phase is StepPhase.RETRY else state.attempt
    lost = _lost(state, strategy)
    if lost is not None:
        return [] if running else [lost]
    if calls_open(state):
        return _call_tools(plan, agent, step, state, attempt, running=running)
    screening = admission(plan, agent, step, state, attempt)
    screening = results(plan, agent, step, state, attempt) if screening is None else screening
    if screening is not None:
        return screening
    if state.turn >= strategy.max_iterations + sum(state.retried.values()):
        message = f"No final answer within {strategy.max_iterations} model turns (strategy.max_iterations)."
        return [FailStep(state.key, MAX_ITERATIONS, message)]
    messages = (Message(Role.USER, state.input_text if state.prompt is None else state.prompt), *conversation(state))
    return [
        RunAgentTurn(state.key, step, state.step_id, state.index, attempt, state.turn + 1, agent, messages, transfers)
    ]


def _lost(state: StepState, strategy: Strategy) -> FailStep | None:
    """What a call of the last turn means for the attempt, where the model is not to hear of it."""
    for call in state.calls:
        if call.phase is CallPhase.DENIED:
            return FailStep(state.key, "tool_policy_denied", call.output, violation=True)
    for call in state.calls:
        if call.phase is CallPhase.FAILED and strategy.stop_on_tool_error:
            return FailStep(state.key, TOOL_ERROR, f"Tool {call.call.name}: {call.output}")
    return None


def _call_tools(plan: Plan, agent: str, step: Step, state: StepState, attempt: int, *, running: bool) -> list[Command]:
    doubtful = doubtful_call(plan, state)
    if doubtful is not None:
        return [] if running else [_ask_about(state, step, f"tool {doubtful.call.name}")]
    ready = [call for call in state.calls if call.phase is CallPhase.READY]
    if not plan.agents[agent].strategy.parallel_tool_calls:
        ready = [] if running else ready[:1]
    return [CallTool(state.key, step, attempt, agent, call.call, call.number) for call in ready]


def _ask_about(state: StepState, step: Step, what: str) -> AskHuman:
    return AskHuman(
        state.key,
        step,
        state.index,
        HumanPlan(request_type=RequestType.REVIEW),
        state.input_text,
        title="Did it happen?",
        prompt=(
            f"A crash or a time limit came while {what} was at work, and its effect is declared as 'once': "
            "nobody knows whether it happened. Approve to call it again, provide its result if it happened, "
            "reject to stop the run."
        ),
        metadata={"needs_review": True},
    )
