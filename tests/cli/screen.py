"""A person at a real terminal: a pseudo-terminal, and what stands on its screen."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 30.0
_SEQUENCE = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])|\x1b[()][0-9A-B]|\x1b[=>]")


class Screen:
    """The lines of a terminal, as far as the sequences that our output uses go; nothing is ever scrolled away."""

    def __init__(self) -> None:
        self.lines = [""]
        self._row = self._column = 0

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.lines).rstrip("\n")

    def feed(self, text: str) -> None:
        at = 0
        while at < len(text):
            if (found := _SEQUENCE.match(text, at)) is not None:
                self._obey(found[1] or "", found[2] or "")
                at = found.end()
            else:
                self._put(text[at])
                at += 1

    def _obey(self, arguments: str, command: str) -> None:
        count = int(arguments) if arguments.isdigit() else 1
        match command:
            case "A":
                self._row = max(0, self._row - count)
            case "B":
                self._row += count
            case "K":
                line = self.lines[self._row]
                self.lines[self._row] = "" if arguments == "2" else line[: self._column]
            case "J" | "H":
                raise AssertionError(f"the screen was to be wiped by {arguments}{command}")
            case _:
                pass  # colours, and whether the cursor is seen

    def _put(self, letter: str) -> None:
        if letter == "\r":
            self._column = 0
        elif letter == "\n":
            self._row += 1
            if self._row == len(self.lines):
                self.lines.append("")
        elif letter >= " ":
            line = self.lines[self._row].ljust(self._column)
            self.lines[self._row] = line[: self._column] + letter + line[self._column + 1 :]
            self._column += 1


class Terminal:
    """`kneo` at work in a terminal of its own. stdout is that terminal too, unless it goes into a pipe."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.screen = Screen()
        self.history: list[str] = []
        """What stood on the screen whenever it changed."""
        self._process = process
        self._master = master

    def until(self, holds: Callable[[str], bool]) -> str:
        """Watches until this can be said of the screen."""
        deadline = time.monotonic() + PATIENCE
        while not holds(self.screen.text):
            if time.monotonic() > deadline or not self._watch():
                raise AssertionError(f"it did not come to that:\n{self.screen.text}")
        return self.screen.text

    def type(self, text: str) -> None:
        """What the person types."""
        os.write(self._master, text.encode())

    def interrupt(self) -> None:
        """Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def end(self) -> int:
        """Watches to the end of the process; its exit code."""
        while self._watch():
            pass
        return self._process.wait(PATIENCE)

    def _watch(self) -> bool:
        ready, _, _ = select.select([self._master], [], [], PATIENCE)
        try:
            data = os.read(self._master, 65_536) if ready else b""
        except OSError:  # on Linux that is how the end of a terminal looks
            data = b""
        self.screen.feed(data.decode())
        self.history.append(self.screen.text)
        return bool(data)


@contextmanager
def terminal(
    folder: Path,
    *words: str,
    piped: bool = False,
    columns: int = 60,
    rows: int = 20,
    term: str = "xterm-256color",
    variables: Mapping[str, str] | None = None,
) -> Iterator[Terminal]:
    """Runs `kneo` in a terminal of this size; with `piped`, stdout goes to the file `out` in the folder."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    own = {name: value for name, value in os.environ.items() if not name.startswith(("KNEO_", "OPENAI_", "NO_COLOR"))}
    with (folder / "out").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "kneo_serv", *words],
            cwd=folder,
            env={**own, "HOME": str(folder), "TERM": term, "COLUMNS": "", "LINES": "", **(variables or {})},
            stdin=slave,
            stdout=out if piped else slave,
            stderr=slave,
            start_new_session=True,
        )
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        process.kill()
        process.wait()
        os.close(master)
