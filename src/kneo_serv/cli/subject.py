"""A spec with everything that is laid over it, as the commands of `kneo spec` look at it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kneo_serv.cli.workspace import open_workspace

if TYPE_CHECKING:
    from kneo_serv.spec import CompiledAgentPackage, SpecCompiler, ValidationReport


@dataclass(frozen=True, slots=True)
class Subject:
    """One spec, seen in one environment."""

    path: str
    environment: str
    overlays: tuple[str, ...]
    compiler: "SpecCompiler"

    def report(self) -> "ValidationReport":
        """What the checks say. Raises SpecParseError for a file that is no YAML or JSON mapping."""
        return self.compiler.validate(self.path, environment=self.environment, overlays=self.overlays)

    def package(self) -> "CompiledAgentPackage":
        """What the compiler makes of it. Raises SpecCompilationError when it has errors."""
        return self.compiler.compile(self.path, environment=self.environment, overlays=self.overlays)

    def summary(self) -> dict[str, Any]:
        """What it holds, by name. Raises SpecCompilationError when it has errors."""
        return self.compiler.explain(self.path, environment=self.environment, overlays=self.overlays)

    def graph(self) -> dict[str, Any]:
        """Its workflow as nodes and edges. Raises InvalidRequestError when it has none."""
        return self.compiler.graph(self.path, environment=self.environment, overlays=self.overlays)

    def policies(self) -> dict[str, Any]:
        """What its agents may do, and which people look at it."""
        return self.compiler.policy_report(self.path, environment=self.environment, overlays=self.overlays)

    def merged(self) -> dict[str, Any]:
        """The one document that the spec and its overlays make together."""
        return self.compiler.resolve(self.path, environment=self.environment, overlays=self.overlays)


def open_subject(spec: Path | None, environment: str | None, overlays: Sequence[Path] | None) -> Subject:
    """The spec that a command line names, ready to be looked at."""
    from kneo_serv.service.factory import create_runtime_registry, create_tool_registry
    from kneo_serv.spec import SpecCompiler

    workspace = open_workspace(environment)
    return Subject(
        path=str(workspace.spec(spec)),
        environment=workspace.environment,
        overlays=tuple(workspace.overlays(overlays)),
        compiler=SpecCompiler(runtime_registry=create_runtime_registry(), tool_registry=create_tool_registry()),
    )
