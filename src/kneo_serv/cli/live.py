"""The live part of a terminal: what is at work in a run, and the last lines of what its models are saying."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from kneo_serv.cli.progress import going_on, happened
from kneo_serv.cli.terminal import printable
from kneo_serv.model import event as kinds
from kneo_serv.model.event import Recorded
from kneo_serv.platform.speech import TextDelta

_FRAMES_PER_SECOND = 12.5
_MOST_STEPS = 6
_MOST_LINES = 12
_TAIL = 4000
"""Characters of a text that are kept; more never fits."""
_INDENT = "  "


@dataclass(slots=True)
class _Row:
    """One step at work."""

    present: str
    text: str = ""


class Board:
    """Steps at work, the oldest first, each with the end of what is being said in it. Safe to use from any thread."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._spinner = Spinner("dots")
        self._lock = threading.Lock()
        self._rows: dict[str, _Row] = {"": _Row("starting")}

    def happened(self, recorded: Recorded) -> None:
        """Takes in an event, and prints a line above the board about one that is worth it."""
        event = recorded.event
        with self._lock:
            self._rows.pop("", None)
            match event:
                case kinds.StepCompleted(key) | kinds.StepFailed(key) | kinds.StepReturned(key) | kinds.HumanAsked(key):
                    self._rows = {name: row for name, row in self._rows.items() if not _within(name, key)}
                case kinds.StepStarted(key) | kinds.ModelTurnStarted(key) | kinds.ToolCallStarted(key):
                    self._rows[key] = _Row(going_on(event) or "")
                case kinds.ModelTurnCompleted(key) if key in self._rows:
                    self._rows[key].text = ""
                case _:
                    pass
        if line := happened(event):
            self._console.print(Text(printable(line)))

    def remark(self, text: str) -> None:
        """Prints a line above the board."""
        self._console.print(Text(printable(text)))

    def said(self, delta: TextDelta) -> None:
        """Takes in a piece of what a model is saying."""
        with self._lock:
            if (row := self._rows.get(delta.key)) is not None:
                row.text = (delta.text if delta.void else row.text + delta.text)[-_TAIL:]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        with self._lock:
            rows = [(row.present, row.text) for row in self._rows.values()]
        shown = rows[-_MOST_STEPS:]
        if hidden := len(rows) - len(shown):
            yield Text(f"{_INDENT}and {hidden} more", "dim")
        speaking = sum(bool(text) for _, text in shown)
        room = (console.height - len(shown) - 2) // max(1, speaking)
        for present, text in shown:
            frame = cast("Text", self._spinner.render(console.get_time()))
            line = Text.assemble(frame, " ", printable(present))
            line.truncate(options.max_width, overflow="ellipsis")
            yield line
            yield from _last_lines(console, text, options.max_width, max(1, min(_MOST_LINES, room)))


@contextmanager
def watching() -> Iterator[Board]:
    """A board at the bottom of the terminal, which is gone when the context ends."""
    console = Console(stderr=True, highlight=False)
    board = Board(console)
    with Live(board, console=console, transient=True, refresh_per_second=_FRAMES_PER_SECOND):
        yield board


def _within(name: str, key: str) -> bool:
    return name == key or name.startswith((f"{key}/", f"{key}@"))


def _last_lines(console: Console, text: str, width: int, most: int) -> Iterator[Text]:
    if not text.strip():
        return
    room = max(1, width - len(_INDENT))
    lines = Text(printable(text.strip("\n")), "dim").wrap(console, room, tab_size=4)
    for line in lines[-most:]:
        line.rstrip()
        yield Text(_INDENT) + line
