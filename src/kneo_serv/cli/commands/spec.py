"""`kneo spec`."""

from typing import TYPE_CHECKING, Any

import typer

from kneo_serv.cli.exit_codes import ExitCode
from kneo_serv.cli.options import AsJson, Environment, Overlays, SpecPath
from kneo_serv.cli.terminal import bold, fail, show, show_facts, show_json, succeed, warn
from kneo_serv.cli.workspace import open_workspace

if TYPE_CHECKING:
    from kneo_serv.spec import Diagnostic, SpecCompiler

spec_app = typer.Typer(name="spec", no_args_is_help=True, help="Check specs and see what they mean.")


@spec_app.command("validate")
def validate(
    spec: SpecPath = None, environment: Environment = None, overlays: Overlays = None, as_json: AsJson = False
) -> None:
    """Check a spec. Warnings are shown, but only errors fail."""
    workspace = open_workspace(environment)
    path = str(workspace.spec(spec))
    report = _compiler().validate(
        path, environment=workspace.environment, overlays=workspace.overlays(overlays) or None
    )
    if as_json:
        show_json({"valid": not report.has_errors, "diagnostics": report.to_dict_list()})
    else:
        _show_diagnostics(path, report.diagnostics)
        if not report.has_errors:
            succeed(f"{path} is valid.")
    if report.has_errors:
        raise typer.Exit(ExitCode.FAILURE)


@spec_app.command("lint")
def lint(
    spec: SpecPath = None, environment: Environment = None, overlays: Overlays = None, as_json: AsJson = False
) -> None:
    """Check a spec strictly: warnings fail too."""
    workspace = open_workspace(environment)
    path = str(workspace.spec(spec))
    report = _compiler().validate(
        path, environment=workspace.environment, overlays=workspace.overlays(overlays) or None
    )
    errors = sum(diagnostic.severity == "error" for diagnostic in report.diagnostics)
    warnings = sum(diagnostic.severity == "warning" for diagnostic in report.diagnostics)
    clean = errors + warnings == 0
    if as_json:
        show_json(
            {
                "clean": clean,
                "warning_count": warnings,
                "error_count": errors,
                "diagnostics": report.to_dict_list(),
            }
        )
    else:
        _show_diagnostics(path, report.diagnostics)
        if clean:
            succeed(f"{path}: nothing to complain about.")
    if not clean:
        raise typer.Exit(ExitCode.FAILURE)


@spec_app.command("compile")
def compile_spec(
    spec: SpecPath = None, environment: Environment = None, overlays: Overlays = None, as_json: AsJson = False
) -> None:
    """Compile a spec without running it."""
    workspace = open_workspace(environment)
    path = str(workspace.spec(spec))
    package = _compiler().compile(
        path, environment=workspace.environment, overlays=workspace.overlays(overlays) or None
    )
    plan = package.plan
    if as_json:
        summary = {
            "has_root_agent": True,
            "has_root_workflow": plan.root_flow is not None,
            "component_agents": sorted(package.component_agents),
            "plan_hash": plan.hash,
        }
        show_json({"ok": True, "summary": summary, "diagnostics": [d.to_dict() for d in package.diagnostics]})
        return
    _show_diagnostics(path, package.diagnostics)
    show_facts(
        [
            ("agent", package.root_agent.name),
            ("workflow", plan.root_flow.name if plan.root_flow else None),
            ("agents", ", ".join(sorted(package.component_agents))),
            ("plan", plan.hash),
        ]
    )
    succeed(f"{path} compiles.")


@spec_app.command("explain")
def explain(
    spec: SpecPath = None, environment: Environment = None, overlays: Overlays = None, as_json: AsJson = False
) -> None:
    """Tell what a spec would do, step by step."""
    workspace = open_workspace(environment)
    path = str(workspace.spec(spec))
    compiler = _compiler()
    package = compiler.compile(path, environment=workspace.environment, overlays=workspace.overlays(overlays) or None)
    plan = package.plan
    flow = plan.root_flow
    if as_json:
        summary: dict[str, Any] = {
            "root_agent": package.root_agent.name,
            "root_workflow": flow.name if flow else None,
            "component_agents": sorted(package.component_agents),
            "steps": [{"id": step.id, "kind": step.kind.value, "ref": step.ref} for step in flow.steps] if flow else [],
        }
        show_json({"summary": summary})
        return
    model = package.root_agent.model
    show_facts(
        [
            ("agent", package.root_agent.name),
            ("model", f"{model.provider}/{model.name}" if model else None),
            ("tools", ", ".join(package.root_agent.tools)),
            ("workflow", f"{flow.name} ({flow.type})" if flow else None),
        ]
    )
    for number, step in enumerate(flow.steps if flow else (), start=1):
        person = plan.humans.get(step.ref) if step.kind == "human" else None
        asked = f": {person.description}" if person and person.description else ""
        show(f"{number:>3}. {bold(step.id)} ({step.kind} {step.ref}){asked}")


def _compiler() -> "SpecCompiler":
    from kneo_serv.service.factory import create_runtime_registry, create_tool_registry
    from kneo_serv.spec import SpecCompiler

    return SpecCompiler(runtime_registry=create_runtime_registry(), tool_registry=create_tool_registry())


def _show_diagnostics(path: str, diagnostics: "list[Diagnostic]") -> None:
    for diagnostic in diagnostics:
        place = ":".join(str(part) for part in (diagnostic.source or path, diagnostic.line, diagnostic.column) if part)
        where = f" at {diagnostic.path}" if diagnostic.path else ""
        show(f"{place}: {diagnostic.severity} {bold(diagnostic.code)}{where}: {diagnostic.message}")
        if diagnostic.suggestion:
            show(f"    {diagnostic.suggestion}")
    errors = sum(diagnostic.severity == "error" for diagnostic in diagnostics)
    warnings = sum(diagnostic.severity == "warning" for diagnostic in diagnostics)
    if errors:
        fail(f"{_count(errors, 'error')}, {_count(warnings, 'warning')}.")
    elif warnings:
        warn(f"{_count(warnings, 'warning')}.")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
