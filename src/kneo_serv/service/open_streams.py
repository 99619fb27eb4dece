"""The streams that are open in this process: how many there may be, and how all of them are ended."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator

from kneo_serv.service.errors import RequestRefused


class OpenStreams:
    """Counts streams, on the server's loop."""

    def __init__(self, most: int, *, shown: Callable[[int], None] = lambda number: None) -> None:
        """At most so many at a time; `shown` is told their number whenever it changes."""
        self._most = most
        self._shown = shown
        self._endings: set[asyncio.Event] = set()

    def __len__(self) -> int:
        return len(self._endings)

    @contextlib.contextmanager
    def one(self, *, draining: bool = False) -> Iterator[asyncio.Event]:
        """A place for one stream; the event is set when it should end.

        Raises:
            RequestRefused: there is no place (`too_many_streams`).
        """
        if len(self._endings) >= self._most:
            raise RequestRefused(
                "too_many_streams",
                f"{self._most} streams are open in this process, and no more are allowed "
                "(KNEO_SERV_MAX_EVENT_STREAMS). Try it again, or follow several runs by one stream of /v1/events.",
                limit=self._most,
            )
        ending = asyncio.Event()
        if draining:
            ending.set()
        self._endings.add(ending)
        self._shown(len(self))
        try:
            yield ending
        finally:
            self._endings.discard(ending)
            self._shown(len(self))

    def end(self) -> None:
        """Has all of them end soon."""
        for ending in self._endings:
            ending.set()
