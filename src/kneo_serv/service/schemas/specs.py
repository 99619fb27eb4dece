"""Shapes of requests about specs, and of their answers."""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, FailFast, Field

from kneo_serv.service.limits import RequestLimits
from kneo_serv.service.schemas.bounds import Bounds
from kneo_serv.service.schemas.shapes import Answered, Asked


def _upright(path: str) -> str:
    if path.startswith("~"):
        raise ValueError("A path may not begin with `~`")
    if ".." in PurePosixPath(path.replace("\\", "/")).parts:
        raise ValueError("A path may not contain `..`")
    return path


SpecPath = Annotated[
    str,
    AfterValidator(_upright),
    Field(json_schema_extra={"pattern": r"^(?!~)(?!([\s\S]*[/\\])?\.\.([/\\]|$))"}),
]
"""A path on the server, within its folder for specs."""

_EXAMPLE: dict[str, Any] = {
    "version": "v1",
    "agent": {"name": "echo", "model": {"provider": "dummy", "name": "dummy"}},
}


class SpecSource(Asked):
    """A spec, inline or by its path on the server, and what is laid over it."""

    spec_path: SpecPath | None = Field(default=None, examples=["research_agent.yaml"])
    spec: dict[str, Any] | None = Field(default=None, description="Wins over `spec_path`.", examples=[_EXAMPLE])
    environment: str | None = Field(default=None, examples=["prod"])
    overlays: Annotated[list[SpecPath], FailFast()] = Field(
        default_factory=list, description="Merged over the spec, in this order."
    )
    overrides: dict[str, Any] = Field(
        default_factory=dict, description="Merged last, as nested objects: dotted keys are not split."
    )

    def check(self, limits: RequestLimits) -> None:
        """Raises RequestValidationError where something is larger than this service takes."""
        bounds = Bounds()
        self._measure(bounds, limits)
        bounds.check()

    def _measure(self, bounds: Bounds, limits: RequestLimits) -> None:
        for name, text in self._names():
            bounds.chars(name, text, limits.max_path_chars)
        bounds.items("overlays", self.overlays, limits.max_list_items)
        for number, overlay in enumerate(self.overlays):
            bounds.chars("overlays", overlay, limits.max_path_chars, number)
        if self.spec is not None:
            bounds.json_bytes("spec", self.spec, limits.max_inline_spec_bytes)
        bounds.json_bytes("overrides", self.overrides, limits.max_overrides_bytes)

    def _names(self) -> Iterator[tuple[str, str | None]]:
        yield "spec_path", self.spec_path
        yield "environment", self.environment


class SpecValidateRequest(SpecSource):
    """Which spec is to be checked."""


class SpecCompileRequest(SpecSource):
    """Which spec is to be compiled."""

    strict: bool = Field(default=True, description="Off: errors come back as `ok` false, not as a refusal.")


class SpecExplainRequest(SpecSource):
    """Which spec is to be explained."""


class SpecGraphRequest(SpecSource):
    """Which spec is to be drawn."""


class SpecPolicyReportRequest(SpecSource):
    """Which spec is to be reported about."""


class DiagnosticItem(Answered):
    """One finding about a spec."""

    code: str = Field(examples=["E_UNKNOWN_TOOL"])
    severity: str = Field(examples=["error"])
    message: str
    path: str | None = Field(default=None, examples=["agent.tools[0]"])
    suggestion: str | None = None
    line: int | None = None
    column: int | None = None
    source: str | None = None


class SpecValidateResponse(Answered):
    """Whether the spec may be used, and every finding."""

    valid: bool
    diagnostics: list[DiagnosticItem] = Field(default_factory=list)


class SpecCompileResponse(Answered):
    """Whether the spec compiled, and what it holds."""

    ok: bool
    diagnostics: list[DiagnosticItem] = Field(default_factory=list)
    summary: dict[str, Any] = Field(default_factory=dict)


class SpecExplainResponse(Answered):
    """What the spec holds, by name."""

    summary: dict[str, Any]


class GraphNode(Answered):
    """A step. `name` is the component that it refers to."""

    id: str
    kind: str
    name: str | None = None
    label: str | None = None
    on_error: str | None = None
    fallback_node: str | None = None
    max_retries: int = 0
    timeout_seconds: float | None = None


class GraphEdge(Answered):
    """A way from one step to another."""

    source: str
    target: str
    label: str | None = None
    conditional: bool = False
    priority: int = 0


class SpecGraphResponse(Answered):
    """The root workflow as nodes and edges.

    Of workflows that are neither a graph nor a sequence, nodes and edges are empty and `workflow_kind` is null; what
    they are made of is under `view`, as it is for `kneo spec graph`.
    """

    workflow_name: str | None = None
    workflow_kind: str | None = None
    start: str | None = None
    max_steps: int | None = None
    nodes: list[GraphNode] = Field(default_factory=list)
    edges: list[GraphEdge] = Field(default_factory=list)
    view: dict[str, Any] | None = None


class PolicyReportResponse(Answered):
    """What the agents of a spec may do, remember and guard, and who looks at it."""

    valid: bool
    report: dict[str, Any]
