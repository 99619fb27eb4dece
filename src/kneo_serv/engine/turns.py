"""The conversation of an agent with its model and its tools."""

from collections.abc import Sequence

from kneo_serv.model.message import Message, Role, ToolCall
from kneo_serv.model.plan import AgentPlan, StrategyType
from kneo_serv.model.run import CallPhase, CallState, StepState

_OPEN = (CallPhase.READY, CallPhase.RUNNING)


def needs_tools(agent: AgentPlan, calls: Sequence[ToolCall]) -> bool:
    """Whether these wishes of a model are granted: the strategy simple takes a model's first word as its last."""
    return bool(calls) and agent.strategy.type is not StrategyType.SIMPLE


def conversation(state: StepState) -> tuple[Message, ...]:
    """What followed the input so far, the answers of the last turn's tools included."""
    return (*state.messages, *(_answer(call) for call in state.calls if call.phase not in _OPEN))


def calls_open(state: StepState) -> bool:
    """Whether a tool call of the last turn has no answer yet."""
    return any(call.phase in _OPEN for call in state.calls)


def _answer(state: CallState) -> Message:
    text = state.output if state.phase is CallPhase.DONE else f"Error: {state.output}"
    return Message(Role.TOOL, text, name=state.call.name, tool_call_id=state.call.id)
