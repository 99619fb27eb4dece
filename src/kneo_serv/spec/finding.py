"""What a check finds, before it is given a line and a column."""

from collections.abc import Iterable
from dataclasses import dataclass

from kneo_serv.spec.diagnostic import Diagnostic, Severity
from kneo_serv.spec.node import SourceMap
from kneo_serv.spec.path import Path, show


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault or doubt at one place of the spec."""

    code: str
    severity: Severity
    path: Path
    message: str
    suggestion: str | None = None
    at: Path | None = None
    """Where the text really stands, when people know the place by a shorter path."""
    key: bool = False
    """Whether the key itself is at fault, and not its value."""


def error(
    code: str, path: Path, message: str, suggestion: str | None = None, *, at: Path | None = None, key: bool = False
) -> Finding:
    """A finding that stops the spec."""
    return Finding(code, Severity.ERROR, path, message, suggestion, at, key)


def warning(
    code: str, path: Path, message: str, suggestion: str | None = None, *, at: Path | None = None, key: bool = False
) -> Finding:
    """A finding that stops nothing."""
    return Finding(code, Severity.WARNING, path, message, suggestion, at, key)


def diagnose(findings: Iterable[Finding], source: SourceMap) -> list[Diagnostic]:
    """The findings with their lines and columns, each one once."""
    found: dict[Diagnostic, None] = {}
    for item in findings:
        paths = (item.path,) if item.at is None else (item.at, item.path)
        place = source.locate(*paths, key=item.key)
        diagnostic = Diagnostic(
            item.code,
            item.severity,
            item.message,
            show(item.path) or None,
            item.suggestion,
            place.line,
            place.column,
            place.source,
        )
        found.setdefault(diagnostic)
    return list(found)
