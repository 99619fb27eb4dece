"""Calls that follow a run."""

import contextlib
from collections.abc import AsyncGenerator, Iterator

from kneo_serv.errors import PlatformClosedError
from kneo_serv.model.ids import RunId
from kneo_serv.platform.calls.calling import Calling
from kneo_serv.platform.feed import FeedFilter
from kneo_serv.platform.platform import Platform
from kneo_serv.platform.streams import StreamItem, Until, checked
from kneo_serv.platform.views import LightEvent


class StreamCalls(Calling):
    """Seeing what happens in a run while it happens."""

    def stream(self, run_id: str, *, after: int = 0, deltas: bool = True, until: Until = "end") -> Iterator[StreamItem]:
        """What happens in the run, as `Platform.stream` tells it; each step of the iterator blocks until there is more.

        Following a run does not execute it: a worker does (`start_worker`), or `execute_run` in another thread.

        Raises:
            NotFoundError: there is no such run.
            InvalidRequestError: `after` is below 0, or `until` another word.
            JournalUnreadableError: while iterating, the history cannot be read.
            PlatformClosedError: while iterating, the platform was shut down before the run had ended.
        """
        checked(after, until)

        async def begin(platform: Platform) -> AsyncGenerator[StreamItem]:
            await platform.record(RunId(run_id))
            return platform.stream(RunId(run_id), after=after, deltas=deltas, until=until)

        return self._items(self._do(begin))

    def feed(self, *, after: int | None = None, chosen: FeedFilter | None = None) -> Iterator[LightEvent]:
        """The events of all runs, as `Platform.feed` tells them; each step of the iterator blocks until there is more.

        It never ends by itself.

        Raises:
            InvalidRequestError: `after` is below 0.
            StoreError: the store could not be read, also while iterating.
            PlatformClosedError: while iterating, the platform was shut down.
        """

        async def begin(platform: Platform) -> AsyncGenerator[LightEvent]:
            return platform.feed(after=await platform.feed_position(after), chosen=chosen)

        return self._items(self._do(begin))

    def _items[T](self, stream: AsyncGenerator[T]) -> Iterator[T]:
        try:
            while (item := self._do(lambda _: _next(stream))) is not None:
                yield item
        finally:
            with contextlib.suppress(PlatformClosedError):
                self._do(lambda _: _close(stream))


async def _next[T](stream: AsyncGenerator[T]) -> T | None:
    return await anext(stream, None)


async def _close[T](stream: AsyncGenerator[T]) -> None:
    await stream.aclose()
