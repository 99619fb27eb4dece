"""One run of pydantic-ai's own agent loop. Imports the model library: load it late."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from pydantic_ai import Agent
from pydantic_ai.exceptions import AgentRunError, UsageLimitExceeded, UserError
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import RunContext
from pydantic_ai.toolsets import AbstractToolset, ToolsetTool
from pydantic_ai.usage import UsageLimits

from kneo_serv.errors import ProviderError
from kneo_serv.model.message import ToolCall, Turn, TurnRequest, Usage
from kneo_serv.observe import redact_error
from kneo_serv.runtime.attempts import Pace, attempted
from kneo_serv.runtime.conversation import as_turn, history, offered
from kneo_serv.runtime.models import OpenedModel
from kneo_serv.runtime.opening import opening
from kneo_serv.runtime.retry import RetryPolicy
from kneo_serv.runtime.telling import Telling
from kneo_serv.runtime.turns import asked, check_empty, text_of

_WRONG_NAMES = 10
"""How often the model may name a tool that does not exist, where nothing else bounds its requests."""
_LONGEST_DETAIL = 300


async def agent_loop(request: TurnRequest, opened: OpenedModel, *, policy: RetryPolicy, pace: Pace) -> Turn:
    """The final answer, with the usage of every request that led to it.

    The listener hears each text of the model; that of a request which was not the last is void when the next begins.

    Raises:
        ProviderError: The model could not be asked, wished for what it cannot have, or came to no end.
    """
    provider = opened.plan.provider
    tools = _Tools(request, provider)
    model = _PatientModel(opened, request, tools, policy=policy, pace=pace)
    agent = Agent[None, str](
        model,
        name=request.agent_name,
        toolsets=[tools],
        retries={"tools": request.max_requests or _WRONG_NAMES, "output": 1},
    )
    earlier, prompt = opening(request.messages)
    try:
        with agent.parallel_tool_call_execution_mode("parallel" if request.parallel_tool_calls else "sequential"):
            result = await agent.run(
                prompt,
                message_history=history(earlier),
                usage_limits=UsageLimits(request_limit=request.max_requests),
                infer_name=False,
            )
    except UsageLimitExceeded:
        # No cause is chained to any of these: the library's errors may quote what the provider said.
        text = f"asked its model {request.max_requests} times and came to no end. Raise strategy.max_iterations."
        raise _failure(request, text, provider) from None
    except (AgentRunError, UserError) as error:
        detail = redact_error(str(getattr(error, "message", error)))[:_LONGEST_DETAIL]
        raise _failure(request, f"came to no answer: {detail}", provider) from None
    return replace(model.last, text=result.output, tool_calls=(), usage=model.usage)


class _PatientModel(WrapperModel):
    """The opened model, each single request of which is tried again as the policy says.

    Trying the whole loop again would call its tools twice.
    """

    def __init__(
        self, opened: OpenedModel, request: TurnRequest, tools: "_Tools", *, policy: RetryPolicy, pace: Pace
    ) -> None:
        super().__init__(opened.model)
        self.usage = Usage()
        self.last = Turn()
        self._opened = opened
        self._tools = tools
        self._telling = None if request.on_text is None else Telling(request.on_text)
        self._shape, self._sent_along = asked(opened, request)
        self._attempted = partial(attempted, policy=policy, provider=opened.plan.provider, pace=pace)

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        parameters = replace(
            model_request_parameters,
            output_mode=self._shape.output_mode,
            output_object=self._shape.output_object,
            instruction_parts=self._shape.instruction_parts,
        )

        response = await self._attempted(partial(self._once, messages, parameters))
        self.last = as_turn(response)
        self.usage += self._opened.usage(response)
        if self._telling is not None:
            self._telling.finish(self.last.text)
        await self._tools.hear(self.last.tool_calls)
        if self.last.text and not any(isinstance(part, TextPart) for part in response.parts):
            # A refusal counts as an answer here as everywhere; the library would call it a failure.
            response = replace(response, parts=[*response.parts, TextPart(self.last.text)], finish_reason="stop")
        return response

    async def _once(self, messages: list[ModelMessage], parameters: ModelRequestParameters) -> ModelResponse:
        with self._opened.translated():
            if self._telling is None:
                response = await self.wrapped.request(messages, self._sent_along, parameters)
            else:
                self._telling.begin()
                async with self.wrapped.request_stream(messages, self._sent_along, parameters) as stream:
                    async for event in stream:
                        self._telling.tell(text_of(event))
                response = stream.get()
            check_empty(response)
            return response


class _Unjudged:
    """Lets all arguments through: the platform alone judges whether they fit a tool."""

    def validate_json(self, input: str | bytes | bytearray, **_: Any) -> dict[str, Any]:  # noqa: A002 - its name
        return {}

    def validate_python(self, input: Any, **_: Any) -> dict[str, Any]:  # noqa: A002 - likewise
        return {}


class _Tools(AbstractToolset[None]):
    """The tools of the platform, which does every call itself and says what the model is told."""

    def __init__(self, request: TurnRequest, provider: str) -> None:
        self._request = request
        self._provider = provider
        self._offered = {tool.name: tool for tool in offered(request.tools)}
        # The loop begins with those of the conversation that nobody has answered yet.
        earlier = (wish for message in request.messages for wish in message.tool_calls)
        self._wishes: dict[tuple[str | None, str], ToolCall] = {(wish.id, wish.name): wish for wish in earlier}

    @property
    def id(self) -> str | None:
        return None

    async def get_tools(self, ctx: RunContext[None]) -> dict[str, ToolsetTool[None]]:
        return {
            name: ToolsetTool(toolset=self, tool_def=tool, max_retries=0, args_validator=_Unjudged())
            for name, tool in self._offered.items()
        }

    async def hear(self, wishes: Sequence[ToolCall]) -> None:
        """Notes what the model wishes for, in our reading of it.

        What is not on offer goes to the guard at once, since the library would answer such a wish by itself.
        """
        self._wishes = {(wish.id, wish.name): wish for wish in wishes}
        for wish in wishes:
            if wish.name not in self._offered:
                await self._call(wish)

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[None], tool: ToolsetTool[None]
    ) -> str:
        return await self._call(self._wishes[ctx.tool_call_id, name])

    async def _call(self, wish: ToolCall) -> str:
        if self._request.call_tool is None:
            text = f"was asked by its model for the tool {wish.name!r}, and nobody here can call tools for it."
            raise _failure(self._request, text, self._provider)
        return await self._request.call_tool(wish)


def _failure(request: TurnRequest, text: str, provider: str) -> ProviderError:
    return ProviderError(f"Agent {request.agent_name!r} {text}", provider=provider)
