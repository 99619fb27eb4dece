"""How things are shown: data on stdout, remarks on stderr. No text is ever read as markup."""

import json
import os
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

import typer

# Letters that make what follows run from right to left, so that a text can look like another one.
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_GREEN, _YELLOW, _RED, _DIM, _BOLD = 32, 33, 31, 2, 1


def show_json(value: Any) -> None:
    """Prints a value as JSON on stdout: two spaces deep, letters of all languages as they are."""
    ascii_only = not (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")
    _write(sys.stdout, json.dumps(value, indent=2, ensure_ascii=ascii_only, allow_nan=False))


def show(text: str = "") -> None:
    """Prints data on stdout. On a terminal, control characters are made visible, so that no text can steer it."""
    _write(sys.stdout, printable(text) if sys.stdout.isatty() else text)


def show_rows(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints a table on stdout, in columns as wide as their longest cell."""
    _write_rows(sys.stdout, headings, rows)


def note_rows(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Remarks a table on stderr, in columns as wide as their longest cell."""
    _write_rows(sys.stderr, headings, rows)


def show_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Prints names and values on stdout, one pair per line; pairs without a value are left out."""
    known = [(name, _cell(value)) for name, value in facts if value is not None and value != ""]
    width = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        _write(sys.stdout, f"{_styled(sys.stdout, name.ljust(width), _DIM)}  {value}")


def succeed(text: str) -> None:
    """Remarks on stderr that something went well."""
    _remark("✓", text, _GREEN)


def warn(text: str) -> None:
    """Remarks on stderr that something deserves a look."""
    _remark("⚠", text, _YELLOW)


def fail(text: str) -> None:
    """Remarks on stderr that something went wrong."""
    _remark("✗", text, _RED)


def note(text: str) -> None:
    """Remarks something on stderr."""
    _write(sys.stderr, printable(text))


def show_heading(text: str) -> None:
    """Prints a line on stdout with an empty one above it, heavier where stdout shows such things."""
    _write(sys.stdout, f"\n{_styled(sys.stdout, printable(text), _BOLD)}")


def somebody_is_there() -> bool:
    """Whether a person sits at this terminal, who can be asked (on stderr) and can answer (on stdin)."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask(question: str) -> bool:
    """What the person at the terminal says, no unless they say yes."""
    return bool(typer.confirm(printable(question), err=True))


def printable(text: str) -> str:
    r"""The text with control and turning characters written out (`\x1b`); line breaks and tabs stay."""
    if text.isprintable():
        return text
    return "".join(repr(letter)[1:-1] if _steers(letter) else letter for letter in text)


def moment(text: object) -> str | None:
    """A point in time as people read it, to the second, in UTC like the ids of runs: `2026-05-10 12:34:56Z`."""
    return None if text is None else f"{str(text)[:19].replace('T', ' ')}Z"


def _steers(letter: str) -> bool:
    if unicodedata.category(letter) in {"Cc", "Cs"}:
        return letter not in "\n\t"
    return letter in _TURNING


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict | list):
        value = json.dumps(value, ensure_ascii=False)
    return printable(" ".join(str(value).split("\n")).replace("\t", " "))


def _write_rows(stream: TextIO, headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    lines = [list(headings), *([_cell(value) for value in row] for row in rows)]
    widths = [max(_width(line[column]) for line in lines) for column in range(len(headings))]
    for number, line in enumerate(lines):
        text = "  ".join(cell + " " * (width - _width(cell)) for cell, width in zip(line, widths, strict=True)).rstrip()
        _write(stream, _styled(stream, text, _DIM) if number == 0 else text)


def _width(text: str) -> int:
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in {"W", "F"} else 1
        for letter in text
    )


def _remark(mark: str, text: str, colour: int) -> None:
    first, *rest = printable(text).split("\n")
    _write(sys.stderr, "\n".join([f"{_styled(sys.stderr, mark, colour)} {first}", *(f"  {line}" for line in rest)]))


def _styled(stream: TextIO, text: str, colour: int) -> str:
    # https://no-color.org: any value that is not empty counts.
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    wanted = bool(os.environ.get("FORCE_COLOR")) or stream.isatty()
    return f"\x1b[{colour}m{text}\x1b[0m" if wanted and not plain else text


def _write(stream: TextIO, text: str) -> None:
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    stream.flush()
