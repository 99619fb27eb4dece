"""What was said, as spans show it: only where a switch allows it, without secrets, and of bounded length."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from kneo_serv.engine.turns import conversation
from kneo_serv.model import event as ev
from kneo_serv.model.message import Message, Role, ToolCall
from kneo_serv.model.plan import AgentPlan, Plan
from kneo_serv.model.run import Run, StepState
from kneo_serv.observe import Attributes, TelemetryOptions, preview, redact_data
from kneo_serv.observe import conventions as names
from kneo_serv.platform.aides import instructions

_CHARACTERS = 2_000
"""Of one text."""
_MESSAGES = 20
"""Of a conversation: the last ones."""


class Content:
    """What was said, as far as the switches allow: redacted, and cut to a bounded length."""

    def __init__(self, options: TelemetryOptions) -> None:
        self._arguments = options.record_arguments
        self._results = options.record_results

    def error(self, message: str) -> str | None:
        """The text of an error, which may quote what went in and came out."""
        return preview(message, _CHARACTERS) if self._results else None

    def given(self, text: str) -> Attributes:
        """The input of a step."""
        return {names.STEP_INPUT: preview(text, _CHARACTERS)} if self._arguments else {}

    def returned(self, text: str) -> Attributes:
        """The output of a step."""
        return {names.STEP_OUTPUT: preview(text, _CHARACTERS)} if self._results else {}

    def run_input(self, run: Run) -> Attributes:
        """What a run begins with."""
        if not self._arguments:
            return {}
        return {names.INPUT_MESSAGES: _json([_message(Message(Role.USER, run.input_text))])}

    def run_output(self, text: str) -> Attributes:
        """What a run ends with."""
        return {names.OUTPUT_MESSAGES: _answer(Message(Role.ASSISTANT, text))} if self._results else {}

    def asked(self, plan: Plan, agent: AgentPlan, state: StepState | None) -> Attributes:
        """The conversation that a model is asked to go on with, as the run knows it before any memory policy."""
        if not self._arguments or state is None:
            return {}
        prompt = state.input_text if state.prompt is None else state.prompt
        said = (Message(Role.USER, prompt), *conversation(state))
        told = [_text(message.content) for message in instructions(plan, agent, outline=state.outline)]
        return {
            names.INPUT_MESSAGES: _json([_message(message) for message in said[-_MESSAGES:]]),
            names.SYSTEM_INSTRUCTIONS: _json(told) if told else None,
        }

    def answered(self, event: ev.ModelTurnCompleted) -> Attributes:
        """What a model answered."""
        if not self._results:
            return {}
        answer = Message(Role.ASSISTANT, event.text, tool_calls=event.tool_calls)
        return {names.OUTPUT_MESSAGES: _answer(answer)}

    def called(self, call: ToolCall) -> Attributes:
        """What a tool is called with."""
        if not self._arguments:
            return {}
        return {names.TOOL_ARGUMENTS: _call_arguments(call.arguments, call.invalid_arguments)}

    def tool_result(self, output: str) -> Attributes:
        """What a tool answered."""
        return {names.TOOL_RESULT: preview(output, _CHARACTERS)} if self._results else {}


def _call_arguments(arguments: Mapping[str, Any], invalid: str | None) -> str:
    """The arguments of a call as JSON text, without secrets and of bounded length."""
    if invalid is not None:
        return preview(invalid, _CHARACTERS)
    return preview(_json(redact_data(dict(arguments))), _CHARACTERS)


def _answer(message: Message) -> str:
    return _json([{**_message(message), "finish_reason": "tool_call" if message.tool_calls else "stop"}])


def _message(message: Message) -> dict[str, Any]:
    if message.role is Role.TOOL:
        response = {"type": "tool_call_response", "id": message.tool_call_id, "response": _short(message.content)}
        return {"role": message.role.value, "parts": [response]}
    parts: list[dict[str, Any]] = [_text(message.content)] if message.content else []
    for call in message.tool_calls:
        arguments = _call_arguments(call.arguments, call.invalid_arguments)
        parts.append({"type": "tool_call", "id": call.id, "name": call.name, "arguments": arguments})
    return {"role": message.role.value, "parts": parts}


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "content": _short(text)}


def _short(text: str) -> str:
    return preview(text, _CHARACTERS)


def _json(value: Sequence[Any] | Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
