"""A pydantic-ai agent that answers for an agent of a spec. Imports its library: load it late."""

from collections.abc import AsyncIterable
from dataclasses import replace
from typing import Any

from pydantic_ai.agent import AbstractAgent
from pydantic_ai.capabilities import ReinjectSystemPrompt
from pydantic_ai.exceptions import UsageLimitExceeded
from pydantic_ai.messages import AgentStreamEvent, PartDeltaEvent, PartStartEvent, TextPart, TextPartDelta
from pydantic_ai.tools import DeferredToolRequests, RunContext
from pydantic_ai.usage import UsageLimits

from kneo_serv.model.message import Role, TextListener, Turn, TurnRequest
from kneo_serv.runtime.adapters.answer import as_text, unpriced
from kneo_serv.runtime.adapters.failure import translated, waits_for_people
from kneo_serv.runtime.conversation import history
from kneo_serv.runtime.opening import opening


class PydanticAIAdapter:
    """Runs the agent with its own model, tools and instructions; ours are added to its instructions."""

    def __init__(self, agent: AbstractAgent[Any, Any], name: str) -> None:
        self._agent = agent
        self._name = name

    async def turn(self, request: TurnRequest) -> Turn:
        """What the agent answers, and what all its requests took."""
        earlier, prompt = opening([message for message in request.messages if message.role is not Role.SYSTEM])
        bound = request.max_requests
        with translated(self._name, stop=UsageLimitExceeded, bound=bound):
            result = await self._agent.run(
                prompt,
                message_history=history(earlier) or None,
                instructions=[message.content for message in request.messages if message.role is Role.SYSTEM],
                # With a history the library leaves the agent's own system prompt to whoever wrote the history.
                capabilities=[ReinjectSystemPrompt()],
                usage_limits=None if bound is None else UsageLimits(request_limit=bound),
                event_stream_handler=_teller(request.on_text) if request.on_text else None,
                infer_name=False,
            )
        if isinstance(result.output, DeferredToolRequests):
            calls = [*result.output.approvals, *result.output.calls]
            raise waits_for_people(self._name, ", ".join(call.tool_name for call in calls))
        took = result.usage
        usage = unpriced(
            input_tokens=took.input_tokens,
            output_tokens=took.output_tokens,
            requests=took.requests,
            cached_tokens=took.cache_read_tokens,
        )
        if took.cost is not None:  # the library knows whom it asked
            usage = replace(usage, cost_usd=float(took.cost), unpriced=0)
        return Turn(
            text=as_text(result.output),
            usage=usage,
            model_name=result.response.model_name,
        )

    async def aclose(self) -> None:
        """Nothing to let go of: the agent belongs to the module that made it."""


def _teller(on_text: TextListener) -> Any:
    async def tell(_: RunContext[Any], events: AsyncIterable[AgentStreamEvent]) -> None:
        async for event in events:
            match event:
                case PartStartEvent(part=TextPart(content=piece)) if piece:
                    on_text(piece)
                case PartDeltaEvent(delta=TextPartDelta(content_delta=piece)) if piece:
                    on_text(piece)
                case _:
                    pass

    return tell
