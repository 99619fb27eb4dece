"""How a blocking call reaches the platform."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any

from kneo_serv.dispatch import DispatcherFactory, EmbeddedDispatcher
from kneo_serv.errors import InvalidRequestError, PlatformClosedError
from kneo_serv.middleware import RunMiddleware, ToolMiddleware
from kneo_serv.model import event as ev
from kneo_serv.model.ids import RunId
from kneo_serv.model.run import RunResult
from kneo_serv.platform.calls.prepared import PreparedSpecs
from kneo_serv.platform.chance import RandomIds, SystemClock
from kneo_serv.platform.loop import LoopThread
from kneo_serv.platform.options import PlatformOptions
from kneo_serv.platform.platform import Platform
from kneo_serv.platform.projection import TaskFolder
from kneo_serv.platform.speech import TextDelta
from kneo_serv.platform.wrapping import AnyMiddleware, Wrapping
from kneo_serv.runtime import RuntimeRegistry
from kneo_serv.spec import SpecCompiler
from kneo_serv.store.contract import Claim, Store
from kneo_serv.tools import ToolRegistry

type OnEvent = Callable[[ev.Recorded], None]
"""Is told the public form of each event as it becomes durable, on a thread of the platform."""

type OnText = Callable[[TextDelta], None]
"""Is told what models say while they say it, without secrets, on a thread of the platform."""


class Calling:
    """Starts the platform with the first call, on a daemon thread, and hops to it for each one."""

    def __init__(
        self,
        *,
        compiler: SpecCompiler,
        run_state_store: Store,
        continuation_store: TaskFolder | None = None,
        options: PlatformOptions | None = None,
        run_middlewares: Sequence[RunMiddleware] = (),
        tool_middlewares: Sequence[ToolMiddleware] = (),
        middlewares: Mapping[str, AnyMiddleware] | None = None,
        dispatcher: DispatcherFactory[Claim] = EmbeddedDispatcher[Claim],
    ) -> None:
        """Prepare the calls; nothing is opened yet.

        Args:
            compiler: Compiles the specs; its registries are those of the platform.
            run_state_store: Keeps the runs.
            continuation_store: Shows open human tasks as files, where that is wanted.
            options: Numbers and switches.
            run_middlewares: Around each model turn of every agent, the first outermost.
            tool_middlewares: Around each tool call of every agent, the first outermost.
            middlewares: By name, for the agents that list the name under `middleware`; further inside.
            dispatcher: Makes what hands out the runs to the workers of this process.

        Raises:
            InvalidRequestError: something is no middleware, or not async.
        """
        self.compiler = compiler
        self.run_state_store = run_state_store
        self.continuation_store = continuation_store
        self.options = options or PlatformOptions()
        self._wrapping = Wrapping(run=run_middlewares, tool=tool_middlewares, named=middlewares)
        self._dispatcher = dispatcher
        if compiler.middleware_names is None:
            compiler.middleware_names = self._wrapping.names
        self._starting = threading.Lock()
        self._closed = False
        self._loop: LoopThread | None = None
        self._platform: Platform | None = None
        self._ids = RandomIds()
        self._prepared = PreparedSpecs(lambda: self.compiler, clock=SystemClock())

    def adjust(self, **changes: Any) -> None:
        """Other options than the ones it was made with, by name, before the first call.

        Raises:
            InvalidRequestError: the platform is at work already.
        """
        with self._starting:
            if self._platform is not None:
                raise InvalidRequestError(
                    "The platform is at work already, so that its options cannot change. Leave start_worker() to "
                    "whoever uses the PlatformManager."
                )
            self.options = replace(self.options, **changes)

    async def reach[T](self, use: Callable[[Platform], Coroutine[Any, Any, T]]) -> T:
        """What `use` makes of the platform, for callers on a loop of their own, which goes on meanwhile.

        `use` runs on the platform's loop and is given the platform. Raises whatever it raises, and PlatformClosedError.
        """
        if self._platform is None:
            loop, platform = await asyncio.to_thread(self._opened)
        else:
            loop, platform = self._opened()
        return await loop.reach(_using(platform, use))

    def _do[T](self, use: Callable[[Platform], Coroutine[Any, Any, T]]) -> T:
        loop, platform = self._opened()
        return loop.call(_using(platform, use))

    def _opened(self) -> tuple[LoopThread, Platform]:
        with self._starting:
            if self._closed:
                raise PlatformClosedError("The platform was shut down; make a new PlatformManager.")
            if self._loop is None or self._platform is None:
                self._loop, self._platform = self._start()
            return self._loop, self._platform

    def _start(self) -> tuple[LoopThread, Platform]:
        loop = LoopThread()
        try:
            return loop, loop.call(self._open())
        except BaseException:
            loop.close()
            raise

    async def _open(self) -> Platform:
        platform = Platform(
            store=self.run_state_store,
            tools=_tools(self.compiler),
            runtimes=_runtimes(self.compiler),
            options=self.options,
            folder=self.continuation_store,
            wrapping=self._wrapping,
            dispatcher=self._dispatcher,
        )
        await platform.open()
        return platform

    async def _rest(
        self, platform: Platform, run_id: RunId, on_event: OnEvent | None, on_text: OnText | None
    ) -> RunResult:
        def tell(events: Sequence[ev.Recorded]) -> None:
            for event in events:
                if on_event is not None:
                    on_event(event)

        with contextlib.ExitStack() as listening:
            # In this order, so that the last piece of a turn is told before its end.
            if on_text is not None:
                listening.callback(platform.hear(run_id, on_text))
            if on_event is not None:
                listening.callback(platform.listen(run_id, tell))
            return await platform.result_at_rest(run_id, patience=self.options.patience_seconds)


async def _using[T](platform: Platform, use: Callable[[Platform], Coroutine[Any, Any, T]]) -> T:
    with platform.in_use():
        return await use(platform)


def _tools(compiler: SpecCompiler) -> ToolRegistry:
    tools = compiler.tool_registry
    if tools is None:
        return ToolRegistry()
    if isinstance(tools, ToolRegistry):
        return tools
    raise InvalidRequestError("The compiler's tool_registry must be a kneo_serv.tools.ToolRegistry to run specs.")


def _runtimes(compiler: SpecCompiler) -> RuntimeRegistry:
    runtimes = compiler.runtime_registry
    if isinstance(runtimes, RuntimeRegistry):
        return runtimes
    raise InvalidRequestError(
        "The compiler's runtime_registry must be a kneo_serv.runtime.RuntimeRegistry to run specs "
        "(kneo_serv.service.factory.create_runtime_registry() makes one)."
    )
