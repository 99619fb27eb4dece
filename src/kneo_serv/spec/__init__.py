"""Reading of workflow documents: YAML text in, a checked spec and a plan out."""

from kneo_serv.spec.compiler import CompiledAgentPackage, SpecCompiler
from kneo_serv.spec.diagnostic import Diagnostic, Severity, SpecCompilationError, ValidationReport
from kneo_serv.spec.models.spec import KneoSpec

__all__ = [
    "CompiledAgentPackage",
    "Diagnostic",
    "KneoSpec",
    "Severity",
    "SpecCompilationError",
    "SpecCompiler",
    "ValidationReport",
]
