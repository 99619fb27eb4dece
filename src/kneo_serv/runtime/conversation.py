"""Our messages as pydantic-ai's, and its answers as ours. Imports the model library: load it late."""

import json
from collections.abc import Iterable
from typing import Any, NoReturn, assert_never

from pydantic import ValidationError
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.tools import ToolDefinition as OfferedTool

from kneo_serv.model.message import Message, Role, ToolCall, Turn, Usage
from kneo_serv.model.tool import ToolDefinition


def history(messages: Iterable[Message]) -> list[ModelMessage]:
    """The conversation in the library's form: what comes between two answers of the model is one request."""
    result: list[ModelMessage] = []
    parts: list[ModelRequestPart] = []
    for message in messages:
        if message.role is not Role.ASSISTANT:
            parts.append(_request_part(message))
            continue
        if parts:
            result.append(ModelRequest(parts=parts))
            parts = []
        result.append(_own_form(message) or _rebuilt(message))
    if parts:
        result.append(ModelRequest(parts=parts))
    return result


def offered(tools: Iterable[ToolDefinition]) -> list[OfferedTool]:
    """The tools as the model sees them. Strict mode stays off: it would rewrite the schemas."""
    return [
        OfferedTool(
            name=tool.name,
            description=tool.description,
            parameters_json_schema={"type": "object", "properties": {}, **tool.parameters},
            strict=False,
        )
        for tool in tools
    ]


def as_turn(response: ModelResponse) -> Turn:
    """The model's answer in our form. A refusal counts as its text."""
    refusal = (response.provider_details or {}).get("refusal")
    return Turn(
        text=_text(response) or (refusal if isinstance(refusal, str) else ""),
        tool_calls=tuple(_tool_call(part) for part in response.parts if isinstance(part, ToolCallPart)),
        usage=Usage(
            response.usage.input_tokens,
            response.usage.output_tokens,
            requests=1,
            cached_tokens=response.usage.cache_read_tokens,
        ),
        model_name=response.model_name,
        raw=ModelMessagesTypeAdapter.dump_json([response]).decode(),
    )


def _request_part(message: Message) -> ModelRequestPart:
    match message.role:
        case Role.SYSTEM:
            return SystemPromptPart(content=message.content)
        case Role.TOOL:
            return ToolReturnPart(
                tool_name=message.name or "tool", content=message.content, tool_call_id=message.tool_call_id or ""
            )
        case Role.USER | Role.ASSISTANT:
            return UserPromptPart(content=message.content)
        case _:
            assert_never(message.role)


def _own_form(message: Message) -> ModelResponse | None:
    """The answer as the provider gave it, unless a guardrail has changed the message since or another one wrote it."""
    if message.raw is None:
        return None
    try:
        restored = ModelMessagesTypeAdapter.validate_json(message.raw)
    except ValidationError:
        return None
    if len(restored) != 1 or not isinstance(restored[0], ModelResponse):
        return None
    turn = as_turn(restored[0])
    unchanged = turn.text == message.content and turn.tool_calls == message.tool_calls
    return restored[0] if unchanged else None


def _rebuilt(message: Message) -> ModelResponse:
    parts: list[TextPart | ToolCallPart] = [TextPart(content=message.content)] if message.content else []
    parts += [
        ToolCallPart(
            tool_name=call.name,
            args=dict(call.arguments) if call.invalid_arguments is None else call.invalid_arguments,
            tool_call_id=call.id,
        )
        for call in message.tool_calls
    ]
    return ModelResponse(parts=parts)


def _text(response: ModelResponse) -> str:
    return "".join(part.content for part in response.parts if isinstance(part, TextPart))


def _tool_call(part: ToolCallPart) -> ToolCall:
    if isinstance(part.args, dict):
        return ToolCall(part.tool_call_id, part.tool_name, part.args)
    text = part.args or "{}"
    try:
        arguments: Any = json.loads(text, parse_constant=_refuse_constant)
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        return ToolCall(part.tool_call_id, part.tool_name, invalid_arguments=text)
    return ToolCall(part.tool_call_id, part.tool_name, arguments)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
