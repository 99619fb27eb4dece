"""An agent of Google's ADK that answers for an agent of a spec. Imports its library: load it late."""

from collections.abc import Sequence
from contextlib import aclosing
from typing import Any, assert_never

from google.adk.agents.callback_context import CallbackContext
from google.adk.agents.invocation_context import LlmCallsLimitExceededError
from google.adk.agents.run_config import RunConfig
from google.adk.apps.app import App
from google.adk.events.event import Event
from google.adk.models.llm_request import LlmRequest
from google.adk.models.llm_response import LlmResponse
from google.adk.plugins.base_plugin import BasePlugin
from google.adk.runners import InMemoryRunner
from google.adk.workflow import BaseNode
from google.genai import types

from kneo_serv.errors import ProviderError
from kneo_serv.model.message import Message, Role, Turn, TurnRequest, Usage
from kneo_serv.runtime.adapters.answer import as_text, unpriced
from kneo_serv.runtime.adapters.failure import translated, waits_for_people
from kneo_serv.runtime.opening import opening

_APP = "kneo"
_USER = "user"
_SESSION = "conversation"


class GoogleADKAdapter:
    """Runs an agent, or a workflow of agents, in a session of its own for each turn.

    Our system prompt is added to the instruction of the agent that stands at the top; a workflow has none.
    """

    def __init__(self, agent: BaseNode, name: str) -> None:
        self._agent = agent
        self._name = name
        self._opened = False

    async def turn(self, request: TurnRequest) -> Turn:
        """What the agent answers, and what all its requests took."""
        watch = _Watch(self._agent.name, [m.content for m in request.messages if m.role is Role.SYSTEM])
        options: dict[str, Any] = {} if request.on_text is None else {"streaming_mode": "sse"}
        if request.max_requests is not None:
            options["max_llm_calls"] = request.max_requests
        self._opened = True
        with translated(self._name, stop=LlmCallsLimitExceededError, bound=request.max_requests):
            runner = InMemoryRunner(app=App(name=_APP, root_agent=self._agent, plugins=[watch]))
            return await self._run(runner, request, watch, RunConfig.model_validate(options))

    async def aclose(self) -> None:
        """Lets the agent's toolsets close their connections."""
        opened, self._opened = self._opened, False
        if opened:
            await InMemoryRunner(app=App(name=_APP, root_agent=self._agent)).close()

    async def _run(self, runner: InMemoryRunner, request: TurnRequest, watch: "_Watch", config: RunConfig) -> Turn:
        earlier, prompt = opening([message for message in request.messages if message.role is not Role.SYSTEM])
        session = await runner.session_service.create_session(app_name=_APP, user_id=_USER, session_id=_SESSION)
        for message in earlier:
            await runner.session_service.append_event(session, _event(message, self._agent.name))
        asked = types.Content(role="user", parts=[types.Part(text=prompt or "")])
        said, refused, in_pieces = "", "", False
        events = runner.run_async(user_id=_USER, session_id=_SESSION, new_message=asked, run_config=config)
        async with aclosing(events):
            async for event in events:
                text = _spoken(event)
                # Behind the pieces of a text comes the whole of it once more; an agent without a model sends only that.
                if request.on_text is not None and text and (event.partial or not in_pieces):
                    request.on_text(text)
                in_pieces = bool(event.partial)
                if event.partial or not event.is_final_response():
                    continue
                if event.long_running_tool_ids:
                    waiting = [call.name or "a tool" for call in event.get_function_calls()]
                    raise waits_for_people(self._name, ", ".join(waiting) or "a tool")
                said = text or (as_text(event.output) if event.output is not None else said)
                refused = event.error_code or ""
        if refused and not said:
            raise ProviderError(
                f"Adapter {self._name!r} got no answer from its model ({refused}).", provider=self._name
            )
        return Turn(text=said, usage=watch.usage, model_name=watch.model_name)


class _Watch(BasePlugin):
    """Adds our system prompt to what the root agent tells its model, and sums up what all models took."""

    def __init__(self, root: str, system: Sequence[str]) -> None:
        super().__init__(name="kneo")
        self.usage = Usage()
        self.model_name: str | None = None
        self._root = root
        self._system = list(system)

    async def before_model_callback(self, *, callback_context: CallbackContext, llm_request: LlmRequest) -> None:
        if self._system and callback_context.agent_name == self._root:
            llm_request.append_instructions(self._system)

    async def after_model_callback(self, *, callback_context: CallbackContext, llm_response: LlmResponse) -> None:
        if llm_response.partial:
            return
        took = llm_response.usage_metadata or types.GenerateContentResponseUsageMetadata()
        self.usage += unpriced(
            input_tokens=(took.prompt_token_count or 0) + (took.tool_use_prompt_token_count or 0),
            output_tokens=(took.candidates_token_count or 0) + (took.thoughts_token_count or 0),
            requests=1,
            cached_tokens=took.cached_content_token_count or 0,
        )
        self.model_name = llm_response.model_version or self.model_name


def _event(message: Message, agent: str) -> Event:
    """An earlier message as an event of the session. Its invocation is none of this turn's."""
    match message.role:
        case Role.USER | Role.SYSTEM:
            author, role, parts = "user", "user", [types.Part(text=message.content)]
        case Role.TOOL:
            returned = types.FunctionResponse(
                id=message.tool_call_id, name=message.name or "tool", response={"result": message.content}
            )
            author, role, parts = agent, "user", [types.Part(function_response=returned)]
        case Role.ASSISTANT:
            author, role = agent, "model"
            parts = [types.Part(text=message.content)] if message.content else []
            parts += [
                types.Part(function_call=types.FunctionCall(id=call.id, name=call.name, args=dict(call.arguments)))
                for call in message.tool_calls
            ]
        case _:
            assert_never(message.role)
    return Event(author=author, invocation_id="earlier", content=types.Content(role=role, parts=parts))


def _spoken(event: Event) -> str:
    parts = event.content.parts if event.content else None
    return "".join(part.text for part in parts or () if part.text and not part.thought)
