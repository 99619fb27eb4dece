"""A spec with everything that belongs to it, as the commands look at it."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from kneo_serv.cli.workspace import Workspace

if TYPE_CHECKING:
    from kneo_serv.spec import Diagnostic, SpecCompiler, ValidationReport
    from kneo_serv.spec.environment_policy import EnvironmentPolicy


class Subject(Protocol):
    """One spec in one environment, with overlays over it, the project's defaults under it and its policy around it."""

    @property
    def path(self) -> str:
        """The file that was named."""
        ...

    def report(self) -> "ValidationReport":
        """What the checks and the environment's policy say. Raises SpecParseError."""
        ...

    def compiled(self) -> "tuple[dict[str, Any], list[Diagnostic]]":
        """What the compiler makes of it, by name, and what it found. Raises SpecCompilationError."""
        ...

    def summary(self) -> dict[str, Any]:
        """What it holds, by name. Raises SpecCompilationError when it has errors."""
        ...

    def graph(self) -> dict[str, Any]:
        """Its workflow as nodes and edges. Raises InvalidRequestError when it has none."""
        ...

    def policies(self) -> dict[str, Any]:
        """What its agents may do, and which people look at it."""
        ...


@dataclass(frozen=True, slots=True)
class LocalSubject:
    """A spec as the compiler in this process sees it."""

    path: str
    environment: str
    overlays: tuple[str, ...]
    compiler: "SpecCompiler"
    defaults: Mapping[str, Any] = field(default_factory=dict)
    policy: "EnvironmentPolicy | None" = None

    @property
    def _with(self) -> dict[str, Any]:
        return {"environment": self.environment, "overlays": self.overlays, "defaults": self.defaults}

    def report(self) -> "ValidationReport":
        """What the checks and the environment's policy say; none of the spec's code is loaded.

        Raises:
            SpecParseError: a file is no YAML or JSON mapping.
        """
        report = self.compiler.validate(self.path, **self._with)
        return report if self.policy is None else judged(self.policy, self.merged(), report)

    def compiled(self) -> "tuple[dict[str, Any], list[Diagnostic]]":
        """What the compiler makes of it, by name, and what it found.

        Raises:
            SpecCompilationError: it has errors, or the policy refuses it.
        """
        self.refuse_faults()
        package = self.compiler.compile(self.path, **self._with)
        return package.summary(), package.diagnostics

    def summary(self) -> dict[str, Any]:
        """What it holds, by name. Raises SpecCompilationError when it has errors."""
        return self.compiler.explain(self.path, **self._with)

    def graph(self) -> dict[str, Any]:
        """Its workflow as nodes and edges. Raises InvalidRequestError when it has none."""
        return self.compiler.graph(self.path, **self._with)

    def policies(self) -> dict[str, Any]:
        """What its agents may do, and which people look at it."""
        return self.compiler.policy_report(self.path, **self._with)

    def merged(self) -> dict[str, Any]:
        """The one document that the spec, its overlays and the project's defaults make together."""
        return self.compiler.resolve(self.path, **self._with)

    def refuse_faults(self) -> None:
        """Raises SpecCompilationError when the checks or the environment's policy find errors."""
        from kneo_serv.spec import SpecCompilationError

        report = self.report()
        if report.has_errors:
            raise SpecCompilationError(report)


def judged(
    policy: "EnvironmentPolicy | None", document: Mapping[str, Any], report: "ValidationReport"
) -> "ValidationReport":
    """The report, with what the policy demands of a spec that the checks let pass."""
    if policy is not None and not report.has_errors:
        from kneo_serv.spec import KneoSpec
        from kneo_serv.spec.environment_policy import enforce

        report.diagnostics += enforce(policy, KneoSpec.model_validate(document), report.diagnostics)
    return report


def open_local_subject(workspace: Workspace, spec: Path | None, overlays: Sequence[Path] | None) -> LocalSubject:
    """The spec that a command line names, ready to be looked at. Raises CustomCodeError."""
    from kneo_serv.service.factory import create_compiler

    path = workspace.spec(spec)
    # What the project's own code prints must not stand in the answer.
    with redirect_stdout(sys.stderr):
        compiler = create_compiler(workspace.code, secrets=workspace.secrets)
    return subject_in(workspace, path, overlays, compiler)


def subject_in(
    workspace: Workspace, spec: Path | None, overlays: Sequence[Path] | None, compiler: "SpecCompiler"
) -> LocalSubject:
    """A spec of this workspace, as this compiler sees it."""
    return LocalSubject(
        path=str(workspace.spec(spec)),
        environment=workspace.environment,
        overlays=tuple(workspace.overlays(overlays)),
        compiler=compiler,
        defaults=workspace.project.defaults(),
        policy=workspace.project.policy(),
    )
