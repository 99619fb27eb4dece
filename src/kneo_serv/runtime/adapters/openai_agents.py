"""An agent of the OpenAI Agents SDK that answers for an agent of a spec. Imports its library: load it late."""

import json
from collections.abc import Iterable
from typing import Any

from agents import Agent, RunConfig, Runner
from agents.exceptions import MaxTurnsExceeded

from kneo_serv.model.message import Message, Role, TextListener, Turn, TurnRequest
from kneo_serv.runtime.adapters.answer import as_text, unpriced
from kneo_serv.runtime.adapters.failure import translated, waits_for_people


class OpenAIAgentsAdapter:
    """Runs the agent with its own model, tools, handoffs and guardrails; our system prompt opens the conversation."""

    def __init__(self, agent: Agent[Any], name: str) -> None:
        self._agent = agent
        self._name = name

    async def turn(self, request: TurnRequest) -> Turn:
        """What the agent, or the one that it handed over to, answers, and what all its requests took."""
        options: dict[str, Any] = {"run_config": RunConfig(workflow_name=request.agent_name)}
        if request.max_requests is not None:
            options["max_turns"] = request.max_requests
        with translated(self._name, stop=MaxTurnsExceeded, bound=request.max_requests):
            if request.on_text is None:
                result: Any = await Runner.run(self._agent, _items(request.messages), **options)
            else:
                result = await self._streamed(request, request.on_text, options)
        if result.interruptions:
            raise waits_for_people(self._name, ", ".join(str(each.name) for each in result.interruptions))
        took = result.context_wrapper.usage
        return Turn(
            text=as_text(result.final_output),
            usage=unpriced(
                input_tokens=took.input_tokens,
                output_tokens=took.output_tokens,
                requests=took.requests,
                cached_tokens=took.input_tokens_details.cached_tokens or 0,
            ),
            model_name=_model_name(result.last_agent.model),
        )

    async def aclose(self) -> None:
        """Nothing to let go of: the agent belongs to the module that made it."""

    async def _streamed(self, request: TurnRequest, on_text: TextListener, options: dict[str, Any]) -> Any:
        result = Runner.run_streamed(self._agent, _items(request.messages), **options)
        try:
            async for event in result.stream_events():
                if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
                    on_text(event.data.delta)
        finally:
            # A cancelled turn would leave the SDK's own task running.
            if not result.is_complete:
                result.cancel()
        return result


def _items(messages: Iterable[Message]) -> list[Any]:
    """The conversation as input items of the responses API, which the SDK translates for any model."""
    items: list[Any] = []
    for message in messages:
        match message.role:
            case Role.TOOL:
                items.append(
                    {"type": "function_call_output", "call_id": message.tool_call_id or "", "output": message.content}
                )
            case Role.SYSTEM | Role.USER:
                items.append({"role": message.role.value, "content": message.content})
            case Role.ASSISTANT:
                if message.content:
                    items.append({"role": "assistant", "content": message.content})
                for call in message.tool_calls:
                    written = call.invalid_arguments or json.dumps(dict(call.arguments))
                    items.append({"type": "function_call", "call_id": call.id, "name": call.name, "arguments": written})
    return items


def _model_name(model: Any) -> str | None:
    if isinstance(model, str):
        return model
    named = getattr(model, "model", None)
    return None if named is None else str(named)
