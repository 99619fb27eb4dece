"""Who hears of a run while it happens: a live board on a terminal, plain lines elsewhere, or nobody; all on stderr."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kneo_serv.cli.progress import happened
from kneo_serv.cli.terminal import note
from kneo_serv.model.event import Recorded

if TYPE_CHECKING:
    from kneo_serv.platform.speech import TextDelta


@dataclass(frozen=True, slots=True)
class Listener:
    """Who is told what happens in a run, and what its models say; None where nobody wants to hear that."""

    on_event: Callable[[Recorded], None]
    on_text: "Callable[[TextDelta], None] | None" = None
    on_remark: Callable[[str], None] = lambda text: None
    """Hears in words what there is no event for."""
    is_deaf: bool = False
    """Nobody hears of anything, so that nothing need be fetched to be told."""


@contextmanager
def following(*, silent: bool, stream: bool = True) -> Iterator[Listener]:
    """A listener that tells about what it hears, as long as the context lasts.

    On a terminal it shows what is at work, and with `stream` what models are saying; all that is gone when the context
    ends, so that an answer stands there once. What the project's own functions print meanwhile goes to stderr, so that
    stdout holds nothing but the answer.
    """
    if silent:
        with redirect_stdout(sys.stderr):
            yield Listener(_say_nothing, is_deaf=True)
    elif sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        from kneo_serv.cli.live import watching

        with redirect_stdout(sys.stderr), watching() as board:
            yield Listener(board.happened, board.said if stream else None, board.remark)
    else:
        with redirect_stdout(sys.stderr):
            yield Listener(_say_plainly, on_remark=note)


def _say_nothing(recorded: Recorded) -> None:
    """Hears of everything and keeps it."""


def _say_plainly(recorded: Recorded) -> None:
    if line := happened(recorded.event):
        note(line)
