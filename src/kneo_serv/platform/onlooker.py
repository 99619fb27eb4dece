"""Who looks on at a leg, and knows in which trace its calls are made."""

import contextlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol, Self

from kneo_serv.engine import Effect
from kneo_serv.model import event as ev
from kneo_serv.model.run import Run
from kneo_serv.observe import trace_scope


class Onlooker(Protocol):
    """Sees one leg, which is driven while it is entered. Whatever becomes of it, it never hurts the leg."""

    def hear(self, recorded: ev.Recorded, run: Run) -> None:
        """Takes in an event that is durable, in its private form, and the run after it. Never raises."""
        ...

    def active(self, effect: Effect) -> AbstractContextManager[None]:
        """Inside, a task is made that performs an effect whose `started` was heard: in the trace of that effect."""
        ...

    def ends(self, how: str) -> None:
        """Says how the leg came to its end (a DriveEnd)."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Passing:
    """Keeps nothing, and passes on the trace context that the run was asked for under."""

    def __init__(self, trace: Mapping[str, str] | None = None) -> None:
        self._trace = trace or {}

    def hear(self, recorded: ev.Recorded, run: Run) -> None:
        """There is nothing to be kept."""

    def active(self, effect: Effect) -> AbstractContextManager[None]:
        """The same context for every effect."""
        return trace_scope(self._trace) if self._trace else contextlib.nullcontext()

    def ends(self, how: str) -> None:
        """There is nothing to be closed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """There is nothing to be closed."""
