"""Findings about a spec, and the error that carries them."""

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from kneo_serv.errors import KneoError


class Severity(StrEnum):
    """How much a finding matters. Only an error stops a spec."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding. `line` and `column` count from 1 in `source`; None where the spec came as a plain mapping."""

    code: str
    severity: Severity
    message: str
    path: str | None = None
    suggestion: str | None = None
    line: int | None = None
    column: int | None = None
    source: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The finding as a JSON object with every field."""
        return asdict(self) | {"severity": self.severity.value}

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.source, self.line, self.column) if part is not None)
        where = " ".join(part for part in (place, self.path) if part)
        return f"{self.severity.value.upper()} {self.code}: {self.message}{f' ({where})' if where else ''}"


@dataclass(slots=True)
class ValidationReport:
    """The findings about one spec, in the order of the rules."""

    diagnostics: list[Diagnostic] = field(default_factory=list)

    def error(self, code: str, message: str, path: str | None = None, suggestion: str | None = None) -> None:
        """Adds an error."""
        self.diagnostics.append(Diagnostic(code, Severity.ERROR, message, path, suggestion))

    def warn(self, code: str, message: str, path: str | None = None, suggestion: str | None = None) -> None:
        """Adds a warning."""
        self.diagnostics.append(Diagnostic(code, Severity.WARNING, message, path, suggestion))

    def info(self, code: str, message: str, path: str | None = None, suggestion: str | None = None) -> None:
        """Adds a note."""
        self.diagnostics.append(Diagnostic(code, Severity.INFO, message, path, suggestion))

    @property
    def has_errors(self) -> bool:
        """Whether the spec cannot be used."""
        return any(item.severity is Severity.ERROR for item in self.diagnostics)

    def to_dict_list(self) -> list[dict[str, Any]]:
        """The findings as JSON objects."""
        return [item.to_dict() for item in self.diagnostics]


class SpecCompilationError(KneoError, ValueError):
    """A spec has errors. The text has one line for each finding; `report` holds them all."""

    code = "spec_invalid"

    def __init__(self, report: ValidationReport) -> None:
        super().__init__("\n".join(str(item) for item in report.diagnostics) or "The spec is invalid.")
        self.report = report

    def facts(self) -> dict[str, Any]:
        """The findings as JSON values."""
        return {"diagnostics": self.report.to_dict_list()}
