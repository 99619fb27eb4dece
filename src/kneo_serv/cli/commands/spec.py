"""`kneo spec`: what is checked and told about a spec."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from kneo_serv.cli.exit_codes import ExitCode
from kneo_serv.cli.options import AsJson, Environment, Overlays, SpecPath
from kneo_serv.cli.subject import open_subject
from kneo_serv.cli.terminal import bold, fail, show, show_facts, show_json, succeed, warn

if TYPE_CHECKING:
    from kneo_serv.spec import CompiledAgentPackage, Diagnostic

spec_app = typer.Typer(name="spec", no_args_is_help=True, help="Check specs and see what they mean.")


@spec_app.command("validate")
def validate(
    spec: SpecPath = None, environment: Environment = None, overlays: Overlays = None, as_json: AsJson = False
) -> None:
    """Check a spec. Warnings are shown, but only errors fail."""
    subject = open_subject(spec, environment, overlays)
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
def lint(
    spec: SpecPath = None, environment: Environment = None, overlays: Overlays = None, as_json: AsJson = False
) -> None:
    """Check a spec strictly: warnings fail too."""
    subject = open_subject(spec, environment, overlays)
    report = subject.report()
    errors, warnings = _counts(report.diagnostics)
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
def compile_spec(
    spec: SpecPath = None, environment: Environment = None, overlays: Overlays = None, as_json: AsJson = False
) -> None:
    """Compile a spec without running it."""
    subject = open_subject(spec, environment, overlays)
    package = subject.package()
    if as_json:
        summary = {
            "has_root_agent": True,
            "has_root_workflow": package.root_workflow is not None,
            "component_agents": sorted(package.component_agents),
            "plan_hash": package.plan.hash,
        }
        diagnostics = [diagnostic.to_dict() for diagnostic in package.diagnostics]
        show_json({"ok": True, "summary": summary, "diagnostics": diagnostics})
        return
    _show_diagnostics(subject.path, package.diagnostics)
    show_facts([*_summary(package), ("plan", package.plan.hash)])
    succeed(f"{subject.path} compiles.")


@spec_app.command("explain")
def explain(
    spec: SpecPath = None, environment: Environment = None, overlays: Overlays = None, as_json: AsJson = False
) -> None:
    """Tell what a spec would do, step by step."""
    package = open_subject(spec, environment, overlays).package()
    plan, flow = package.plan, package.root_workflow
    steps = flow.steps if flow else ()
    if as_json:
        summary: dict[str, Any] = {
            "root_agent": package.root_agent.name,
            "root_workflow": flow.name if flow else None,
            "component_agents": sorted(package.component_agents),
            "steps": [{"id": step.id, "kind": step.kind.value, "ref": step.ref} for step in steps],
        }
        show_json({"summary": summary})
        return
    show_facts(_summary(package))
    for number, step in enumerate(steps, start=1):
        person = plan.humans.get(step.ref) if step.kind == "human" else None
        question = f": {person.description}" if person and person.description else ""
        show(f"{number:>3}. {bold(step.id)} ({step.kind} {step.ref}){question}")


def _summary(package: "CompiledAgentPackage") -> list[tuple[str, object]]:
    agent, flow = package.root_agent, package.root_workflow
    return [
        ("agent", agent.name),
        ("model", f"{agent.model.provider}/{agent.model.name}" if agent.model else None),
        ("tools", ", ".join(agent.tools)),
        ("workflow", f"{flow.name} ({flow.type}, {_count(len(flow.steps), 'step')})" if flow else None),
        ("other agents", ", ".join(sorted(package.component_agents))),
    ]


def _show_diagnostics(path: str, diagnostics: "Sequence[Diagnostic]") -> None:
    for diagnostic in diagnostics:
        place = ":".join(str(part) for part in (diagnostic.source or path, diagnostic.line, diagnostic.column) if part)
        where = f" at {diagnostic.path}" if diagnostic.path else ""
        show(f"{place}: {diagnostic.severity} {bold(diagnostic.code)}{where}: {diagnostic.message}")
        if diagnostic.suggestion:
            show(f"    {diagnostic.suggestion}")
    errors, warnings = _counts(diagnostics)
    if errors:
        fail(f"{_count(errors, 'error')}, {_count(warnings, 'warning')}.")
    elif warnings:
        warn(f"{_count(warnings, 'warning')}.")


def _counts(diagnostics: "Sequence[Diagnostic]") -> tuple[int, int]:
    severities = [diagnostic.severity.value for diagnostic in diagnostics]
    return severities.count("error"), severities.count("warning")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
