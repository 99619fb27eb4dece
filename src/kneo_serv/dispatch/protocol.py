"""The port of a dispatcher: who executes which run, and how soon."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol


class Dispatcher(Protocol):
    """Sees to it that runnable runs are executed. Lives on the platform's loop; none of its methods blocks it.

    A dispatcher decides nothing about a run: `claim` asks the store, whose lease counts, and a message that was lost or
    came twice changes nothing. So it may be late, and must look from time to time without being told.
    """

    def start(self) -> None:
        """Begins to look for work. Idempotent."""
        ...

    def submit(self) -> None:
        """There may be work: look soon. Before `start` and after `stop` this does nothing."""
        ...

    async def stop(self, timeout: float) -> bool:
        """Claims no more, and waits up to `timeout` seconds for what is in hand; whether all of it ended by itself.

        What has not ended by then is cancelled, and its end is waited for.
        """
        ...


class DispatcherFactory[Work](Protocol):
    """Makes the dispatcher of one platform, on its loop. It starts nothing."""

    def __call__(
        self,
        *,
        claim: Callable[[int], Awaitable[Sequence[Work]]],
        execute: Callable[[Work], Awaitable[None]],
        concurrency: int,
        poll_seconds: float,
    ) -> Dispatcher:
        """A dispatcher.

        Args:
            claim: Gives up to so many pieces of work under a lease; raises StoreError when the store cannot say.
            execute: Does one of them to its end. It raises nothing but cancellation.
            concurrency: How many pieces may be in hand at once.
            poll_seconds: How often to look for work that nobody announced.
        """
        ...
