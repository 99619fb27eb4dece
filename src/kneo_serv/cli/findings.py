"""How findings about a spec are shown: one line each, as editors and people read them."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kneo_serv.spec import Diagnostic


def lines_of(diagnostics: "Sequence[Diagnostic]", *, path: str | None = None) -> Iterator[str]:
    """`file:line:column: severity CODE at path: message`, with the suggestion on a line of its own."""
    for diagnostic in diagnostics:
        place = ":".join(str(part) for part in (diagnostic.source or path, diagnostic.line, diagnostic.column) if part)
        where = f" at {diagnostic.path}" if diagnostic.path else ""
        yield f"{f'{place}: ' if place else ''}{diagnostic.severity} {diagnostic.code}{where}: {diagnostic.message}"
        if diagnostic.suggestion:
            yield f"    {diagnostic.suggestion}"


def counts_of(diagnostics: "Sequence[Diagnostic]") -> tuple[int, int]:
    """How many errors, and how many warnings."""
    severities = [diagnostic.severity.value for diagnostic in diagnostics]
    return severities.count("error"), severities.count("warning")


def tally(diagnostics: "Sequence[Diagnostic]") -> str:
    """The numbers in words: `2 errors, 1 warning`."""
    errors, warnings = counts_of(diagnostics)
    parts = [counted(number, noun) for number, noun in ((errors, "error"), (warnings, "warning")) if number]
    return f"{', '.join(parts) or 'nothing found'}."


def counted(number: int, noun: str) -> str:
    """`1 step`, `2 steps`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
