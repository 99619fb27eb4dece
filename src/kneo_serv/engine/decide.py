"""Deciding: a plan and a run so far in, the next commands out. Pure: the time is an argument like any other."""

from dataclasses import dataclass

from kneo_serv.engine.approvals import ask_for_approval, awaits_approval
from kneo_serv.engine.budgets import before_turn, run_over_budget
from kneo_serv.engine.commands import (
    AskHuman,
    CallAgent,
    CallFunction,
    CallTool,
    Command,
    CompleteStep,
    EndCall,
    EnterFlow,
    Fail,
    FailStep,
    Finish,
    Opening,
    RunAgentTurn,
    Wait,
)
from kneo_serv.engine.frames import agent_of, call_key, flow_of, holds_calls, in_flight, is_inline, is_nested, step_of
from kneo_serv.engine.guards import admission, release, results
from kneo_serv.engine.joins import broken_by
from kneo_serv.engine.openings import input_of
from kneo_serv.engine.order import Next, Stuck, next_in
from kneo_serv.engine.steps import MAX_ITERATIONS, OUTPUT_INVALID, TOOL_ERROR, TOOL_POLICY_DENIED, TOOL_UNAVAILABLE
from kneo_serv.engine.transfers import offered
from kneo_serv.engine.turns import calls_open, conversation, doubtful_call, is_planning
from kneo_serv.engine.variables import VARIABLE_TYPE, misfit
from kneo_serv.model.message import Message, Role
from kneo_serv.model.plan import AgentPlan, Flow, HumanPlan, Plan, RequestType, Step, StepKind
from kneo_serv.model.quick import quick
from kneo_serv.model.run import CallPhase, Frame, Run, RunStatus, StepPhase, StepState
from kneo_serv.model.tool import Effect, OnDeny, ToolDefinition


@quick
@dataclass(frozen=True, slots=True)
class _Sight:
    """What every decision may look at: the plan, the whole run, and the time."""

    plan: Plan
    run: Run
    now: float


@quick
@dataclass(frozen=True, slots=True)
class _Done:
    text: str


@quick
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
    excess = _excess(plan, run, now)
    if excess is not None:
        # What has begun comes to its end first; nothing else begins.
        return [] if any(in_flight(state) for state in run.frame.live.values()) else [excess]
    verdict = _frame(_Sight(plan, run, now), run.frame, run.input_text)
    match verdict:
        case _Done(text):
            return [Finish(text)]
        case _Broken(error_type, message, step_id, violation):
            return [Fail(error_type, message, step_id, violation)]
        case commands:
            return commands


def _excess(plan: Plan, run: Run, now: float) -> Fail | None:
    """Why the run goes on no longer, when it has passed a limit."""
    if run.seq >= plan.limits.max_events:
        return Fail("limit_exceeded", f"The run has reached its limit of {plan.limits.max_events} events.")
    used, budget = run.usage.total_tokens, plan.limits.token_budget
    budget = run.token_budget if budget is None else budget
    if budget is not None and used > budget:
        return Fail("token_budget_exceeded", f"The run used {used} tokens; its budget is {budget}.")
    return run_over_budget(plan, run, now)


def _frame(sight: _Sight, frame: Frame, given: str) -> _Verdict:
    """What is next in a workflow, which was given this text at its beginning."""
    plan = sight.plan
    flow = flow_of(plan, frame)
    commands: list[Command] = []
    for state in frame.live.values():
        if state.phase is not StepPhase.FAILED:
            commands.extend(_step(sight, frame, flow, state, given))
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
            commands.extend(_begin(sight, frame, flow, fresh))
        if following.edge is not None:
            commands.append(following.edge)
        return commands
    return _Done(following)


def _step(sight: _Sight, frame: Frame, flow: Flow, state: StepState, given: str) -> list[Command]:
    match state.phase:
        case StepPhase.READY:
            return _begin(sight, frame, flow, state)
        case StepPhase.RETRY:
            if state.retry_at is not None and sight.now < state.retry_at:
                return [Wait(state.key, state.retry_at)]
            return _begin(sight, frame, flow, state)
        case StepPhase.SETTLED:
            return _release(sight.plan, frame, flow, state, state.output_text or "")
        case StepPhase.NESTED if state.frame is not None:
            inner = given if is_inline(frame, step_of(flow, state)) else state.input_text
            match _frame(sight, state.frame, inner):
                case _Done(text):
                    return _release(sight.plan, frame, flow, state, text)
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


def _begin(sight: _Sight, frame: Frame, flow: Flow, state: StepState) -> list[Command]:
    plan = sight.plan
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
            agent = agent_of(frame, step)
            flow_key = plan.agents[agent].as_agent
            if flow_key is not None:
                return [EnterFlow(state.key, step, state.step_id, state.index, state.attempt + 1, flow_key)]
            return _converse(sight, agent, step, state, offered(plan, flow, frame, step))


def _converse(
    sight: _Sight, key: str, step: Step, state: StepState, transfers: tuple[ToolDefinition, ...]
) -> list[Command]:
    plan = sight.plan
    agent = plan.agents[key]
    # An attempt that a crash interrupted goes on where it stopped; only a lost one begins again under a new number.
    attempt = state.attempt + 1 if state.attempt == 0 or state.phase is StepPhase.RETRY else state.attempt
    lost = _lost(state, agent)
    if lost is not None:
        return [] if in_flight(state) else [lost]
    doubtful = doubtful_call(plan, state)
    if doubtful is not None and not any(call.phase is CallPhase.RUNNING for call in state.calls):
        return [_ask_about(state, step, f"tool {doubtful.call.name}")]
    if calls_open(state):
        return _answers(sight, state) + ([] if doubtful is not None else _call_tools(plan, key, step, state, attempt))
    screening = admission(plan, key, step, state, attempt)
    screening = results(plan, key, step, state, attempt) if screening is None else screening
    if screening is not None:
        return screening
    most = agent.strategy.max_iterations + sum(state.retried.values()) + state.misfits
    if state.turn >= most + (state.outline is not None):
        message = f"No final answer within {agent.strategy.max_iterations} model turns (strategy.max_iterations)."
        return [FailStep(state.key, MAX_ITERATIONS, message)]
    opening = Opening(step, state.step_id, state.index, attempt, key)
    stop = before_turn(plan, sight.run, key, state, opening, sight.now)
    if stop is not None:
        return [stop]
    planning = is_planning(agent, state)
    return [
        RunAgentTurn(
            state.key,
            step,
            state.step_id,
            state.index,
            attempt,
            state.turn + 1,
            key,
            (Message(Role.USER, state.input_text if state.prompt is None else state.prompt), *conversation(state)),
            () if planning else transfers,
            planning,
            state.outline,
            tuple(call for call in state.calls if call.inner and call.phase in (CallPhase.DONE, CallPhase.FAILED)),
            state.call_count,
        )
    ]


def _lost(state: StepState, agent: AgentPlan) -> FailStep | None:
    """What the last turn, or a call of it, means for the attempt, where the model is not to hear of it."""
    if state.misfit is not None and state.misfits > agent.output_retries:
        message = f"The answer does not fit output_schema: {state.misfit}"
        return FailStep(state.key, OUTPUT_INVALID, message)
    for call in state.calls:
        if call.phase is CallPhase.DENIED and agent.tool_policy.on_deny is OnDeny.FAIL:
            return FailStep(state.key, TOOL_POLICY_DENIED, call.output, violation=True)
    for call in state.calls:
        if call.phase is CallPhase.FAILED and call.unavailable:
            return FailStep(state.key, TOOL_UNAVAILABLE, f"Tool {call.call.name}: {call.output}")
    for call in state.calls:
        child = state.frame.live.get(call_key(state, call)) if is_nested(state, call) and state.frame else None
        if child is None or child.phase is not StepPhase.FAILED:
            continue
        if child.violation:
            return FailStep(state.key, child.error_type or "step_failed", child.error_message or "", violation=True)
        if agent.strategy.stop_on_tool_error:
            # The call stays as it is, so that a continued run takes the agent's work up where it failed.
            return FailStep(state.key, TOOL_ERROR, f"Tool {call.call.name}: {child.error_message}")
    for call in state.calls:
        if call.phase is CallPhase.FAILED and agent.strategy.stop_on_tool_error:
            return FailStep(state.key, TOOL_ERROR, f"Tool {call.call.name}: {call.output}")
    return None


def _call_tools(plan: Plan, agent: str, step: Step, state: StepState, attempt: int) -> list[Command]:
    """The calls that begin now. People are asked one question at a time, when nothing else of the step is at work."""
    running = any(call.phase is CallPhase.RUNNING for call in state.calls)
    ready = [call for call in state.calls if call.phase is CallPhase.READY and not call.inner]
    if not plan.agents[agent].strategy.parallel_tool_calls:
        ready = [] if running else ready[:1]
    free = [call for call in ready if not awaits_approval(call)]
    commands: list[Command] = []
    for call in free:
        tool = plan.tools.get(call.call.name)
        if call.admitted and tool is not None and tool.agent is not None:
            commands.append(CallAgent(state.key, step, attempt, agent, call.call, call.number))
        else:
            commands.append(CallTool(state.key, step, attempt, agent, call.call, call.number, call.approved))
    if commands or running or not ready:
        return commands
    return [ask_for_approval(plan, state, step, ready[0])]


def _answers(sight: _Sight, state: StepState) -> list[Command]:
    """What is next in the work of agents that answer calls of this step."""
    if state.frame is None or not holds_calls(state):
        return []
    flow = flow_of(sight.plan, state.frame)
    commands: list[Command] = []
    for call in state.calls:
        if not is_nested(state, call):
            continue
        key = call_key(state, call)
        child = state.frame.live.get(key)
        if child is None:
            commands.append(EndCall(state.key, state.executes, call.call, state.frame.outputs[key]))
        elif child.phase is StepPhase.FAILED:
            error_type = child.error_type or "step_failed"
            commands.append(EndCall(state.key, state.executes, call.call, child.error_message or "", error_type))
        else:
            commands.extend(_step(sight, state.frame, flow, child, child.input_text))
    return commands


def _ask_about(state: StepState, step: Step, what: str) -> AskHuman:
    return AskHuman(
        state.key,
        step,
        state.index,
        HumanPlan(request_type=RequestType.REVIEW),
        state.input_text,
        title="Did it happen?",
        prompt=(
            f"A crash or a time limit came while {what} was at work, and it must not happen twice by itself: "
            "nobody knows whether it happened. Approve to call it again, provide its result if it happened, "
            "reject to stop the run."
        ),
        metadata={"needs_review": True},
    )
