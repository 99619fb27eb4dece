"""A plain function that answers for an agent of a spec."""

import asyncio
import inspect
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import aclosing
from typing import Any

from kneo_serv.model.message import Role, TextListener, Turn, TurnRequest
from kneo_serv.runtime.adapters.answer import as_text
from kneo_serv.runtime.adapters.failure import translated
from kneo_serv.runtime.adapters.thread import in_own_thread

type RunFunction = Callable[..., Any]
"""`run_fn(messages=..., config=...)` or `run_fn(text)`; sync or async, or a generator of the answer's pieces."""
type Normalizer = Callable[[Any], Turn]


class AdapterRuntime:
    """Asks a callable of yours instead of a model.

    A callable with a parameter `messages` gets the conversation (a tuple of `Message`) and, if it takes it, `config`: a
    dict with `agent_name`, `tools`, `idempotency_key`, `headers` and `output_schema`. Any other callable gets the last
    user message as its only argument. A sync callable runs in a thread of its own, so it may block. What a generator
    yields is streamed; all its pieces together are the answer.
    """

    def __init__(
        self,
        *,
        run_fn: RunFunction,
        name: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        normalizer: Normalizer | None = None,
    ) -> None:
        """Wrap a callable.

        Args:
            run_fn: What answers.
            name: How error texts and `Turn.model_name` call it; by default the callable's own name.
            metadata: Anything that you want to find again on the runtime.
            normalizer: Makes a `Turn` of what the callable returns. By default a `Turn` is taken as it is, of a dict
                `output_text` or else `content`, and of anything else `str()`. Where the agent has an `output_schema`,
                any other value than a text is written as JSON.
        """
        self.name: str = name or getattr(run_fn, "__name__", "") or type(run_fn).__name__
        self.metadata: Mapping[str, Any] = dict(metadata or {})
        self._run_fn = run_fn
        self._normalizer = normalizer

    async def turn(self, request: TurnRequest) -> Turn:
        """What the callable answers.

        Raises:
            ProviderError: The callable raised something that is no error of ours.
        """
        args, kwargs = _arguments(self._run_fn, request)
        with translated(self.name):
            if inspect.iscoroutinefunction(self._run_fn):
                answer = await self._run_fn(*args, **kwargs)
            else:
                answer = await in_own_thread(self._run_fn, *args, **kwargs)
                if inspect.isawaitable(answer):
                    answer = await answer
            if isinstance(answer, AsyncGenerator):
                answer = await _told(answer, request.on_text)
            elif isinstance(answer, Generator):
                answer = await _told_from_thread(answer, request.on_text)
            return self._normalizer(answer) if self._normalizer else self._normalized(answer, request)

    async def aclose(self) -> None:
        """Nothing to let go of."""

    def _normalized(self, answer: Any, request: TurnRequest) -> Turn:
        if isinstance(answer, Turn):
            return answer
        structured = request.output_schema is not None
        if isinstance(answer, Mapping):
            for key in ("output_text",) if structured else ("output_text", "content"):
                if answer.get(key) is not None:
                    return Turn(text=str(answer[key]), model_name=self.name)
        return Turn(text=as_text(answer) if structured else str(answer), model_name=self.name)


async def _told(pieces: AsyncGenerator[Any], on_text: TextListener | None) -> str:
    said: list[str] = []
    async with aclosing(pieces):
        async for piece in pieces:
            said.append(str(piece))
            if on_text is not None and said[-1]:
                on_text(said[-1])
    return "".join(said)


async def _told_from_thread(pieces: Generator[Any], on_text: TextListener | None) -> str:
    """The same for a generator that may block between its pieces. A cancelled caller stops it at the next one."""
    loop = asyncio.get_running_loop()
    given_up = threading.Event()

    def drain() -> str:
        said: list[str] = []
        for piece in pieces:
            if given_up.is_set():
                pieces.close()
                break
            said.append(str(piece))
            if on_text is not None and said[-1]:
                loop.call_soon_threadsafe(on_text, said[-1])
        return "".join(said)

    try:
        text: str = await in_own_thread(drain)
        return text
    finally:
        given_up.set()


def _arguments(run_fn: RunFunction, request: TurnRequest) -> tuple[tuple[str, ...], dict[str, Any]]:
    offered: dict[str, Any] = {
        "messages": request.messages,
        "config": {
            "agent_name": request.agent_name,
            "tools": request.tools,
            "idempotency_key": request.idempotency_key,
            "headers": dict(request.headers),
            "output_schema": request.output_schema,
        },
    }
    try:
        parameters: Mapping[str, inspect.Parameter] = inspect.signature(run_fn).parameters
    except ValueError:  # some functions written in C have no signature to look at
        parameters = {}
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return (), offered
    if "messages" in parameters:
        return (), {name: value for name, value in offered.items() if name in parameters}
    users = (message.content for message in reversed(request.messages) if message.role is Role.USER)
    return (next(users, ""),), {}
