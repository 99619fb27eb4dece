"""The conversation of an agent with its model and its tools."""

import json
from collections.abc import Sequence

from kneo_serv.engine.approvals import must_not_repeat
from kneo_serv.model.message import Message, Role, ToolCall
from kneo_serv.model.plan import AgentPlan, Plan, StrategyType
from kneo_serv.model.run import CallPhase, CallState, StepState

_OPEN = (CallPhase.READY, CallPhase.RUNNING)


def needs_tools(agent: AgentPlan, calls: Sequence[ToolCall]) -> bool:
    """Whether these wishes of a model are granted: the strategy simple takes a model's first word as its last."""
    return bool(calls) and agent.strategy.type is not StrategyType.SIMPLE


def conversation(state: StepState) -> tuple[Message, ...]:
    """What followed the input so far, the answers of the last turn's tools included."""
    answers = (_answer(call) for call in state.calls if call.phase not in _OPEN and not call.inner)
    return (*state.messages, *answers)


def calls_open(state: StepState) -> bool:
    """Whether a tool call of the last turn has no answer yet."""
    return any(call.phase in _OPEN and not call.inner for call in state.calls)


def is_planning(agent: AgentPlan, state: StepState) -> bool:
    """Whether the next turn is the one in which an agent of the strategy plan-act makes its plan."""
    return agent.strategy.type is StrategyType.PLAN_ACT and state.outline is None and not state.messages


def doubtful_call(plan: Plan, state: StepState) -> CallState | None:
    """The first call that a crash left uncertain and that must not happen twice: a person is asked about it."""
    for call in state.calls:
        if call.uncertain and call.phase is CallPhase.READY and must_not_repeat(plan, call):
            return call
    return None


def _answer(state: CallState) -> Message:
    text = state.output if state.phase is CallPhase.DONE else f"Error: {state.output}"
    if state.edited and state.phase is CallPhase.DONE:
        text = f"[A person changed the arguments to {json.dumps(state.call.arguments, ensure_ascii=False)}]\n{text}"
    return Message(Role.TOOL, text, name=state.call.name, tool_call_id=state.call.id)
