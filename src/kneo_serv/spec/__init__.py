"""Reading of workflow documents: YAML text in, a checked spec and a plan out."""

from kneo_serv.spec.compiler import CompiledAgentPackage, SpecCompiler
from kneo_serv.spec.confine import confine_spec_path
from kneo_serv.spec.diagnostic import Diagnostic, Severity, SpecCompilationError, ValidationReport
from kneo_serv.spec.environment_policy import EnvironmentPolicy, enforce
from kneo_serv.spec.models.spec import KneoSpec
from kneo_serv.spec.project import ProjectContext, discover
from kneo_serv.spec.project_config import ProjectConfig

__all__ = [
    "CompiledAgentPackage",
    "Diagnostic",
    "EnvironmentPolicy",
    "KneoSpec",
    "ProjectConfig",
    "ProjectContext",
    "Severity",
    "SpecCompilationError",
    "SpecCompiler",
    "ValidationReport",
    "confine_spec_path",
    "discover",
    "enforce",
]
