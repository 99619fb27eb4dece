"""What a check finds, before it is given a line and a column."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from kneo_serv.spec.diagnostic import Diagnostic, Severity
from kneo_serv.spec.node import SourceMap
from kneo_serv.spec.path import Path, did_you_mean, show

MAX_HINTS = 25
"""Findings of one spec for which near names are searched; searching costs, and nobody reads more."""

type Hint = str | Callable[[], str | None] | None
"""A suggestion, or how to find it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault or doubt at one place of the spec."""

    code: str
    severity: Severity
    path: Path
    message: str
    suggestion: Hint = None
    at: Path | None = None
    """Where the text really stands, when people know the place by a shorter path."""
    key: bool = False
    """Whether the key itself is at fault, and not its value."""


def error(
    code: str, path: Path, message: str, suggestion: Hint = None, *, at: Path | None = None, key: bool = False
) -> Finding:
    """A finding that stops the spec."""
    return Finding(code, Severity.ERROR, path, message, suggestion, at, key)


def warning(
    code: str, path: Path, message: str, suggestion: Hint = None, *, at: Path | None = None, key: bool = False
) -> Finding:
    """A finding that stops nothing."""
    return Finding(code, Severity.WARNING, path, message, suggestion, at, key)


def near(word: str, known: Iterable[str], *, otherwise: str | None = None) -> Hint:
    """The known name that is meant, looked for only when somebody will read it."""
    return partial(did_you_mean, word, known, otherwise=otherwise)


def diagnose(findings: Iterable[Finding], source: SourceMap) -> list[Diagnostic]:
    """The findings with their lines and columns, each one once."""
    found: dict[Diagnostic, None] = {}
    for number, item in enumerate(findings):
        hint = item.suggestion
        if callable(hint):
            hint = hint() if number < MAX_HINTS else None
        paths = (item.path,) if item.at is None else (item.at, item.path)
        place = source.locate(*paths, key=item.key)
        diagnostic = Diagnostic(
            item.code,
            item.severity,
            item.message,
            show(item.path) or None,
            hint,
            place.line,
            place.column,
            place.source,
        )
        found.setdefault(diagnostic)
    return list(found)
