"""`kneo spec`: what is checked and told about a spec."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kneo_serv.cli.directions import Directions, directed
from kneo_serv.cli.exit_codes import ExitCode
from kneo_serv.cli.findings import counted, counts_of, lines_of, tally
from kneo_serv.cli.opening import open_subject
from kneo_serv.cli.options import AsJson, Environment, Factory, Overlays, SpecPath, Tools
from kneo_serv.cli.terminal import fail, show, show_facts, show_heading, show_json, succeed, warn
from kneo_serv.cli.workspace import open_workspace

if TYPE_CHECKING:
    from kneo_serv.spec import Diagnostic

spec_app = typer.Typer(name="spec", no_args_is_help=True, help="Check specs and see what they mean.")


class GraphForm(StrEnum):
    """How a workflow is drawn."""

    TEXT = "text"
    MERMAID = "mermaid"
    DOT = "dot"
    JSON = "json"


_OF_THE_MACHINE = "_UNAVAILABLE"
"""Ends the codes of findings that another machine would not have."""


@spec_app.command("validate")
@directed
def validate(
    spec: SpecPath = None,
    environment: Environment = None,
    overlays: Overlays = None,
    tools: Tools = None,
    factory: Factory = None,
    as_json: AsJson = False,
    *,
    directions: Directions,
) -> None:
    """Check a spec. Warnings are shown, but only errors fail."""
    workspace = open_workspace(environment, tools=tools, factory=factory)
    with open_subject(workspace, directions, spec, overlays) as subject:
        report = subject.report()
    if as_json:
        show_json({"valid": not report.has_errors, "diagnostics": report.to_dict_list()})
    else:
        _show_diagnostics(subject.path, report.diagnostics)
        if not report.has_errors:
            succeed(f"{subject.path} is valid.")
    if report.has_errors:
        raise typer.Exit(ExitCode.FAILURE)


@spec_app.command("lint")
@directed
def lint(
    spec: SpecPath = None,
    environment: Environment = None,
    overlays: Overlays = None,
    tools: Tools = None,
    factory: Factory = None,
    as_json: AsJson = False,
    *,
    directions: Directions,
) -> None:
    """Check a spec strictly: warnings fail too. What is missing on this machine, such as a key, is left out."""
    workspace = open_workspace(environment, tools=tools, factory=factory)
    with open_subject(workspace, directions, spec, overlays) as subject:
        report = subject.report()
    report = type(report)([item for item in report.diagnostics if not item.code.endswith(_OF_THE_MACHINE)])
    errors, warnings = counts_of(report.diagnostics)
    clean = errors + warnings == 0
    if as_json:
        counts = {"clean": clean, "warning_count": warnings, "error_count": errors}
        show_json({**counts, "diagnostics": report.to_dict_list()})
    else:
        _show_diagnostics(subject.path, report.diagnostics)
        if clean:
            succeed(f"{subject.path}: nothing to complain about.")
    if not clean:
        raise typer.Exit(ExitCode.FAILURE)


@spec_app.command("compile")
@directed
def compile_spec(
    spec: SpecPath = None,
    environment: Environment = None,
    overlays: Overlays = None,
    tools: Tools = None,
    factory: Factory = None,
    as_json: AsJson = False,
    *,
    directions: Directions,
) -> None:
    """Compile a spec without running it."""
    workspace = open_workspace(environment, tools=tools, factory=factory)
    with open_subject(workspace, directions, spec, overlays) as subject:
        summary, found = subject.compiled()
    if as_json:
        show_json({"ok": True, "summary": summary, "diagnostics": [one.to_dict() for one in found]})
        return
    _show_diagnostics(subject.path, found)
    show_facts(_summary(summary))
    succeed(f"{subject.path} compiles.")


@spec_app.command("explain")
@directed
def explain(
    spec: SpecPath = None,
    environment: Environment = None,
    overlays: Overlays = None,
    tools: Tools = None,
    factory: Factory = None,
    as_json: AsJson = False,
    *,
    directions: Directions,
) -> None:
    """Tell what a spec holds and what it does, step by step. None of its code is loaded."""
    workspace = open_workspace(environment, tools=tools, factory=factory)
    with open_subject(workspace, directions, spec, overlays) as subject:
        summary = subject.summary()
        flow = subject.graph() if summary["has_root_workflow"] else None
    if as_json:
        show_json({"summary": summary, "workflow": flow})
        return
    show_facts(
        [
            ("agent", summary["root_agent"]),
            ("workflow", f"{flow['workflow_name']} ({flow['workflow_kind']})" if flow else None),
            ("other agents", ", ".join(summary["component_agents"])),
            ("other workflows", ", ".join(summary["component_workflows"])),
        ]
    )
    for number, node in enumerate(flow["nodes"] if flow else (), start=1):
        name = "" if node["name"] == node["id"] else f" {node['name']}"
        show(f"{number:>3}. {node['id']} ({node['kind']}{name})")


@spec_app.command("graph")
@directed
def graph(
    spec: SpecPath = None,
    environment: Environment = None,
    overlays: Overlays = None,
    form: Annotated[
        GraphForm, typer.Option("--format", help="A tree to read, Mermaid or DOT to draw, or JSON.")
    ] = GraphForm.TEXT,
    tools: Tools = None,
    factory: Factory = None,
    as_json: AsJson = False,
    *,
    directions: Directions,
) -> None:
    """Draw the workflow of a spec. None of its code is loaded."""
    from kneo_serv.spec.drawing import draw_dot, draw_mermaid, draw_text

    workspace = open_workspace(environment, tools=tools, factory=factory)
    with open_subject(workspace, directions, spec, overlays) as subject:
        view = subject.graph()
    if as_json or form is GraphForm.JSON:
        show_json(view)
        return
    draw = {GraphForm.TEXT: draw_text, GraphForm.MERMAID: draw_mermaid, GraphForm.DOT: draw_dot}[form]
    show(draw(view).rstrip("\n"))


@spec_app.command("policy-report")
@directed
def policy_report(
    spec: SpecPath = None,
    environment: Environment = None,
    overlays: Overlays = None,
    tools: Tools = None,
    factory: Factory = None,
    as_json: AsJson = False,
    *,
    directions: Directions,
) -> None:
    """Tell what a spec's agents may do, and which people look at it."""
    workspace = open_workspace(environment, tools=tools, factory=factory)
    with open_subject(workspace, directions, spec, overlays) as subject:
        report = subject.policies()
    if as_json or not report["valid"]:
        show_json(report)
    else:
        show_facts((name.replace("_", " "), value) for name, value in report["summary"].items())
        for policy in report["tools"]["agent_policies"]:
            show_heading(f"Tools of {policy.get('agent')}")
            show_facts((name.replace("_", " "), value) for name, value in policy.items() if name != "agent")
    if not report["valid"]:
        raise typer.Exit(ExitCode.FAILURE)


def _summary(summary: Mapping[str, Any]) -> list[tuple[str, object]]:
    name, kind, steps = (summary.get(key) for key in ("root_workflow", "workflow_type", "step_count"))
    return [
        ("agent", summary.get("root_agent")),
        ("model", summary.get("model")),
        ("tools", ", ".join(summary.get("tools") or ())),
        ("workflow", f"{name} ({kind}, {counted(steps or 0, 'step')})" if summary["has_root_workflow"] else None),
        ("other agents", ", ".join(summary["component_agents"])),
        ("plan", summary.get("plan_hash")),
    ]


def _show_diagnostics(path: str, diagnostics: "Sequence[Diagnostic]") -> None:
    for line in lines_of(diagnostics, path=path):
        show(line)
    errors, warnings = counts_of(diagnostics)
    if errors:
        fail(tally(diagnostics))
    elif warnings:
        warn(tally(diagnostics))
