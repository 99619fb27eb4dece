"""A LangChain runnable that answers for an agent of a spec. Imports its library: load it late."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from typing import Any, assert_never
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    InvalidToolCall,
    SystemMessage,
    ToolCall,
    ToolMessage,
)
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, LLMResult
from langchain_core.runnables import Runnable, RunnableConfig

from kneo_serv.errors import ProviderError
from kneo_serv.model.message import Message, Role, TextListener, Turn, TurnRequest, Usage
from kneo_serv.runtime.adapters.answer import as_text, unpriced
from kneo_serv.runtime.adapters.failure import translated, waits_for_people
from kneo_serv.runtime.adapters.thread import in_own_thread
from kneo_serv.runtime.opening import opening

_EARLIER = ("history", "chat_history")
_LAST = ("input", "question", "query", "text", "root")
"""Input variables that take the user's last word; `root` is LangChain's name for an input that has none."""
_ANSWERS = ("output", "answer", "output_text", "result")
"""Where chains that answer with a dict put their text."""
_INTERRUPTED = "__interrupt__"
"""Under this key LangGraph tells in the state of a graph that it waits for somebody."""


class LangChainAdapter:
    """Runs a chat model, a chain or a compiled graph of LangGraph."""

    def __init__(self, runnable: Runnable[Any, Any], name: str) -> None:
        self._runnable = runnable
        self._name = name
        # LangGraph's classes say what they are without being imported.
        self._is_graph = any(kind.__name__ == "PregelProtocol" for kind in type(runnable).__mro__)

    async def turn(self, request: TurnRequest) -> Turn:
        """What the runnable answers, and what all questions to models in it took."""
        watch = _Watch() if request.on_text is None else _LoudWatch(request.on_text)
        config = RunnableConfig(callbacks=[watch], run_name=request.agent_name)
        if self._is_graph:
            # A graph that keeps states asks for a thread. It gets a new one: the platform brings the history itself.
            config["configurable"] = {"thread_id": request.idempotency_key or request.agent_name}
        with translated(self._name), closing(watch):
            given = _input(self._runnable, request.messages, self._name)
            if type(self._runnable).ainvoke is Runnable.ainvoke:
                # Knows only the blocking way, for which the library would take a thread that keeps a script alive.
                answer = await in_own_thread(self._runnable.invoke, given, config)
            else:
                answer = await self._runnable.ainvoke(given, config)
        if isinstance(answer, Mapping) and answer.get(_INTERRUPTED):
            raise waits_for_people(self._name, "an interrupt of its graph")
        text = _text(answer, structured=request.output_schema is not None)
        return Turn(text=text, usage=watch.usage, model_name=watch.model_name)

    async def aclose(self) -> None:
        """Nothing to let go of: the runnable belongs to the module that made it."""


class _Watch(BaseCallbackHandler):
    """Sums up what the models inside a runnable took, whatever becomes of their messages behind them."""

    run_inline = True
    """Without it the library would take a thread of the loop's own pool for each call."""

    def __init__(self) -> None:
        super().__init__()
        self.usage = Usage()
        self.model_name: str | None = None
        self._lock = threading.Lock()

    def on_llm_end(self, response: LLMResult, **_: Any) -> None:
        """Called on the thread that asked the model."""
        generation = response.generations[0][0] if response.generations and response.generations[0] else None
        message = generation.message if isinstance(generation, ChatGeneration) else None
        took = message.usage_metadata if isinstance(message, AIMessage) else None
        usage = Usage(requests=1)
        if took is not None:
            usage = unpriced(
                input_tokens=took["input_tokens"],
                output_tokens=took["output_tokens"],
                requests=1,
                cached_tokens=took.get("input_token_details", {}).get("cache_read", 0),
            )
        with self._lock:
            self.usage += usage
            if message is not None:
                self.model_name = message.response_metadata.get("model_name") or self.model_name

    def close(self) -> None:
        """The turn is over."""


class _LoudWatch(_Watch):
    """Tells as well what the models say. The library asks them to stream where a handler has the two `tap` methods."""

    def __init__(self, on_text: TextListener) -> None:
        super().__init__()
        self._on_text: TextListener | None = on_text
        self._loop = asyncio.get_running_loop()
        self._home = threading.get_ident()

    def on_llm_new_token(self, token: Any, *, chunk: Any = None, **_: Any) -> None:
        """Called on the thread that asked the model."""
        piece = str(chunk.message.text if isinstance(chunk, ChatGenerationChunk) else token)
        if threading.get_ident() == self._home:
            self._tell(piece)
        else:
            with suppress(RuntimeError):  # the loop is closed: nobody listens any more
                self._loop.call_soon_threadsafe(self._tell, piece)

    def tap_output_aiter(self, run_id: UUID, output: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """What a step streams, unchanged: only models are listened to."""
        return output

    def tap_output_iter(self, run_id: UUID, output: Iterator[Any]) -> Iterator[Any]:
        """The same for a step that blocks."""
        return output

    def close(self) -> None:
        """A thread that a cancelled turn left behind is heard no more."""
        self._on_text = None

    def _tell(self, piece: str) -> None:
        if self._on_text is not None and piece:
            self._on_text(piece)


def _input(runnable: Runnable[Any, Any], messages: Sequence[Message], name: str) -> Any:
    """The conversation in the form that the runnable's own schema asks for."""
    schema = runnable.get_input_jsonschema()
    earlier, last = opening(messages)
    if schema.get("type") == "string":
        return last or ""
    if schema.get("type") != "object":
        return [_message(message) for message in messages]
    variables: Mapping[str, Any] = schema.get("properties") or {}
    required: Sequence[str] = schema.get("required") or ()
    if "root" in required and len(variables) == 1:
        return last or ""
    filled: dict[str, Any] = {"messages": [_message(message) for message in messages]}
    filled |= {key: [_message(message) for message in earlier] for key in _EARLIER}
    filled |= dict.fromkeys(_LAST, last or "")
    if unknown := [key for key in required if key not in filled]:
        text = (
            f"Adapter {name!r} needs the input {', '.join(map(repr, unknown))}, which nobody fills "
            f"(filled are: messages, {', '.join(_EARLIER)}, {', '.join(_LAST[:-1])}). Bind it, for example with "
            "prompt.partial(...)."
        )
        raise ProviderError(text, provider=name)
    return {key: value for key, value in filled.items() if not variables or key in variables}


def _message(message: Message) -> BaseMessage:
    match message.role:
        case Role.SYSTEM:
            return SystemMessage(message.content)
        case Role.USER:
            return HumanMessage(message.content)
        case Role.TOOL:
            return ToolMessage(message.content, tool_call_id=message.tool_call_id or "", name=message.name)
        case Role.ASSISTANT:
            readable = [call for call in message.tool_calls if call.invalid_arguments is None]
            unreadable = [call for call in message.tool_calls if call.invalid_arguments is not None]
            return AIMessage(
                message.content,
                tool_calls=[ToolCall(name=call.name, args=dict(call.arguments), id=call.id) for call in readable],
                invalid_tool_calls=[
                    InvalidToolCall(
                        type="invalid_tool_call", name=call.name, args=call.invalid_arguments, id=call.id, error=None
                    )
                    for call in unreadable
                ],
            )
        case _:
            assert_never(message.role)


def _text(answer: Any, *, structured: bool) -> str:
    if isinstance(answer, BaseMessage):
        return str(answer.text)
    if not isinstance(answer, Mapping):
        return as_text(answer)
    if structured and answer.get("structured_response") is not None:
        return as_text(answer["structured_response"])
    said = answer.get("messages")
    if isinstance(said, Sequence) and said and isinstance(said[-1], BaseMessage):
        return str(said[-1].text)
    named = None if structured else next((answer[key] for key in _ANSWERS if isinstance(answer.get(key), str)), None)
    return as_text(answer) if named is None else named
