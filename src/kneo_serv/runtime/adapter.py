"""A foreign agent, or a plain function, that answers for an agent of a spec."""

import asyncio
import contextlib
import contextvars
import inspect
import threading
from collections.abc import Callable, Mapping
from typing import Any

from kneo_serv.errors import KneoError, ProviderError
from kneo_serv.model.message import Role, Turn, TurnRequest

type RunFunction = Callable[..., Any]
"""`run_fn(messages=..., config=...)` or `run_fn(text)`; sync or async."""
type Normalizer = Callable[[Any], Turn]


class AdapterRuntime:
    """Asks a callable of yours instead of a model.

    A callable with a parameter `messages` gets the conversation (a tuple of `Message`) and, if it takes it, `config`: a
    dict with `agent_name`, `tools` and `idempotency_key`. Any other callable gets the last user message as its only
    argument. A sync callable runs in a thread of its own, so it may block.
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
                `output_text` or else `content`, and of anything else `str()`.
        """
        self.name: str = name or getattr(run_fn, "__name__", "") or type(run_fn).__name__
        self.metadata: Mapping[str, Any] = dict(metadata or {})
        self._run_fn = run_fn
        self._normalizer = normalizer or self._normalized

    async def turn(self, request: TurnRequest) -> Turn:
        """What the callable answers.

        Raises:
            ProviderError: The callable raised something that is no error of ours.
        """
        args, kwargs = _arguments(self._run_fn, request)
        try:
            if inspect.iscoroutinefunction(self._run_fn):
                answer = await self._run_fn(*args, **kwargs)
            else:
                answer = await _in_own_thread(self._run_fn, *args, **kwargs)
                if inspect.isawaitable(answer):
                    answer = await answer
            return self._normalizer(answer)
        except KneoError:
            raise
        except Exception as error:
            text = f"Adapter {self.name!r} failed: {type(error).__name__}: {error}"
            raise ProviderError(text, provider=self.name) from error

    async def aclose(self) -> None:
        """Nothing to let go of."""

    def _normalized(self, answer: Any) -> Turn:
        if isinstance(answer, Turn):
            return answer
        if isinstance(answer, Mapping):
            for key in ("output_text", "content"):
                if answer.get(key) is not None:
                    return Turn(text=str(answer[key]), model_name=self.name)
        return Turn(text=str(answer), model_name=self.name)


def _arguments(run_fn: RunFunction, request: TurnRequest) -> tuple[tuple[str, ...], dict[str, Any]]:
    offered: dict[str, Any] = {
        "messages": request.messages,
        "config": {
            "agent_name": request.agent_name,
            "tools": request.tools,
            "idempotency_key": request.idempotency_key,
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


async def _in_own_thread(function: RunFunction, *args: Any, **kwargs: Any) -> Any:
    """Run a function in a daemon thread: unlike a pool's, it never keeps the interpreter from exiting."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()
    context = contextvars.copy_context()

    def settle(answer: Any, error: BaseException | None) -> None:
        if not done.done():
            done.set_result((answer, error))

    def work() -> None:
        answer, failure = None, None
        try:
            answer = context.run(function, *args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - raised again in the waiting task, whatever it is
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, answer, failure)

    threading.Thread(target=work, name=f"kneo-adapter-{getattr(function, '__name__', 'call')}", daemon=True).start()
    answer, failure = await done
    if isinstance(failure, Exception):
        raise failure
    if failure is not None:
        # sys.exit() in foreign code ends that call, not the platform.
        raise RuntimeError(f"{type(failure).__name__}: {failure}")
    return answer
