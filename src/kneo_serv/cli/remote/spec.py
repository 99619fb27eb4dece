"""A spec that a service looks at: put together here, since files and the project's defaults are here."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kneo_serv.cli.refusal import ServiceRefusal
from kneo_serv.cli.remote.client import ServiceClient
from kneo_serv.cli.subject import judged
from kneo_serv.errors import InvalidRequestError
from kneo_serv.spec import Diagnostic, Severity, SpecCompilationError, ValidationReport
from kneo_serv.spec.resolve import read_layer, resolve

if TYPE_CHECKING:
    from kneo_serv.cli.workspace import Workspace

_STEP = re.compile(r"\[(\d+)\]|\.?([^.\[]+)")


class ServedSubject:
    """One spec in one environment, with its overlays and the project's defaults, as the service sees it."""

    def __init__(
        self, workspace: "Workspace", spec: Path | None, overlays: Sequence[Path] | None, client: ServiceClient
    ) -> None:
        """Reads the files. Raises SpecParseError, FileError."""
        self.path = str(workspace.spec(spec))
        self._environment = workspace.environment
        self._policy = workspace.project.policy()
        self._client = client
        resolved = resolve(
            [read_layer(source) for source in (self.path, *workspace.overlays(overlays))],
            environment=workspace.environment,
            defaults=workspace.project.defaults(),
        )
        self.document = resolved.data
        """The one document that they make together."""
        self._source = resolved.source

    def report(self) -> ValidationReport:
        """What the checks of the service and the project's own policy say."""
        answer = self._asked("validate", "diagnostics")
        return judged(self._policy, self.document, ValidationReport(self._found(answer["diagnostics"])))

    def compiled(self) -> tuple[dict[str, Any], list[Diagnostic]]:
        """What the service's compiler makes of it, by name, and what it found. Raises SpecCompilationError."""
        self.refuse_by_policy()
        answer = self._asked("compile", "summary", "diagnostics")
        return dict(answer["summary"]), self._found(answer["diagnostics"])

    def summary(self) -> dict[str, Any]:
        """What it holds, by name. Raises SpecCompilationError when it has errors."""
        return dict(self._asked("explain", "summary")["summary"])

    def graph(self) -> dict[str, Any]:
        """Its workflow as nodes and edges. Raises InvalidRequestError when it has none."""
        answer = self._asked("graph", "workflow_kind", "nodes")
        # Of workflows that not every client can draw, the view stands by itself.
        view = answer.get("view") or {name: value for name, value in answer.items() if name != "view"}
        if view["workflow_kind"] is None:
            raise InvalidRequestError("The spec has no `workflow` to draw.")
        nodes = [{name: value for name, value in node.items() if name != "label"} for node in view["nodes"]]
        return {**view, "nodes": nodes}

    def policies(self) -> dict[str, Any]:
        """What its agents may do, and which people look at it."""
        report = dict(self._asked("policy-report", "report")["report"])
        return {**report, "diagnostics": [item.to_dict() for item in self._found(report.get("diagnostics", ()))]}

    def refuse_by_policy(self) -> None:
        """Raises SpecCompilationError when the project's own policy refuses it; the service knows only its own."""
        if self._policy is not None and (report := self.report()).has_errors:
            raise SpecCompilationError(report)

    @contextmanager
    def located(self) -> Iterator[None]:
        """Has a refusal of the spec name the lines of the files here."""
        try:
            yield
        except ServiceRefusal as refusal:
            found = refusal.facts().get("diagnostics")
            if refusal.wire_code != SpecCompilationError.code or not isinstance(found, list):
                raise
            raise SpecCompilationError(ValidationReport(self._found(found))) from refusal

    def _asked(self, verb: str, *holds: str) -> dict[str, Any]:
        body = {"spec": self.document, "environment": self._environment}
        with self.located():
            return self._client.look(f"/specs/{verb}", *holds, body=body)

    def _found(self, diagnostics: Sequence[Mapping[str, Any]]) -> list[Diagnostic]:
        return [self._placed(item) for item in diagnostics]

    def _placed(self, item: Mapping[str, Any]) -> Diagnostic:
        severity = Severity(item["severity"])
        bare = Diagnostic(item["code"], severity, item["message"], item.get("path"), item.get("suggestion"))
        place = self._source.locate(_path(bare.path or ""))
        return replace(bare, line=place.line, column=place.column, source=place.source)


def _path(text: str) -> tuple[str | int, ...]:
    """The path that is written so: `agent.tools[0]`."""
    return tuple(int(number) if number else name for number, name in _STEP.findall(text))
