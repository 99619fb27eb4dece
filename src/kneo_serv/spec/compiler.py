"""The compiler: documents in, findings or a plan out."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import ValidationError

from kneo_serv.errors import InvalidRequestError
from kneo_serv.model.plan import AgentPlan, Flow, Plan, RuntimeMode
from kneo_serv.model.tool import ToolDefinition
from kneo_serv.spec.build.agents import build_agent
from kneo_serv.spec.build.imports import check_code
from kneo_serv.spec.build.plans import build_plan
from kneo_serv.spec.checks.rules import check
from kneo_serv.spec.diagnostic import Diagnostic, Severity, SpecCompilationError, ValidationReport
from kneo_serv.spec.explain import explain
from kneo_serv.spec.faults import faults
from kneo_serv.spec.finding import Finding, diagnose, error, near, warning
from kneo_serv.spec.graph_view import graph_view
from kneo_serv.spec.models.spec import KneoSpec
from kneo_serv.spec.path import Path
from kneo_serv.spec.policy_report import policy_report
from kneo_serv.spec.resolve import Resolved, Source, read_layer, resolve
from kneo_serv.spec.salvage import salvage
from kneo_serv.spec.skills import FrozenSkillLoader, SkillLoader, SkillSource
from kneo_serv.spec.walk import agents


class RuntimeAdvice(Protocol):
    """What the compiler asks a runtime registry. One with `modes` also tells which words are modes."""

    def problem(self, agent: AgentPlan) -> str | None:
        """Why the agent cannot run here, or None. Cheap."""
        ...


class KnownTools(Protocol):
    """What the compiler asks a tool registry."""

    @property
    def definitions(self) -> Mapping[str, ToolDefinition]:
        """The registered tools by name."""
        ...


@dataclass(frozen=True, slots=True)
class CompiledAgentPackage:
    """A compiled spec: its plan, the parts people ask for by name, and what was found on the way."""

    root_agent: AgentPlan
    root_workflow: Flow | None
    component_agents: Mapping[str, AgentPlan]
    diagnostics: list[Diagnostic]
    component_workflows: Mapping[str, Flow]
    plan: Plan
    spec: KneoSpec = field(repr=False)

    def summary(self) -> dict[str, Any]:
        """What it holds, by name, as JSON object; `plan_hash` is that of the plan."""
        agent, flow = self.root_agent, self.root_workflow
        return {
            "has_root_agent": True,
            "has_root_workflow": flow is not None,
            "root_agent": agent.name,
            "root_workflow": None if flow is None else flow.name,
            "component_agents": sorted(self.component_agents),
            "component_workflows": sorted(self.component_workflows),
            "model": None if agent.model is None else f"{agent.model.provider}/{agent.model.name}",
            "tools": list(agent.tools),
            "workflow_type": None if flow is None else flow.type.value,
            "step_count": 0 if flow is None else len(flow.steps),
            "plan_hash": self.plan.hash,
        }


@dataclass(frozen=True, slots=True)
class _Examined:
    resolved: Resolved
    diagnostics: list[Diagnostic]
    spec: KneoSpec | None
    """None when the shape is at fault."""


class SpecCompiler:
    """Checks and compiles specs. Without a registry, what only it could tell is not checked.

    `middleware_names` are those that agents may list; a `PlatformManager` sets them where they are None.
    """

    def __init__(
        self,
        *,
        runtime_registry: RuntimeAdvice | None,
        tool_registry: KnownTools | None,
        skill_loader: SkillSource | None = None,
        middleware_names: Collection[str] | None = None,
    ) -> None:
        self.runtime_registry = runtime_registry
        self.tool_registry = tool_registry
        self.middleware_names = middleware_names
        self.skill_loader: SkillSource = skill_loader if skill_loader is not None else SkillLoader()

    def compile(
        self,
        path: Source,
        *,
        environment: str | None = None,
        overlays: Sequence[Source] | None = None,
        strict: bool = True,
        overrides: Mapping[str, Any] | None = None,
        skills_overlay: Mapping[str, Any] | None = None,
        defaults: Mapping[str, Any] | None = None,
    ) -> CompiledAgentPackage:
        """The compiled spec of a file (or mapping) with its overlays. Imports the functions and tools that it names.

        With `strict=False`, errors beyond the shape are left in `diagnostics`. `defaults` fill what is not written.

        Raises:
            SpecCompilationError: the spec has errors; its report holds all findings.
            SpecParseError: a document cannot be read.
            FileNotFoundError: a file is not there.
        """
        layers = [read_layer(source) for source in (path, *(overlays or ()))]
        resolved = resolve(
            layers, overrides=overrides, environment=environment, defaults=defaults, skills_overlay=skills_overlay
        )
        return self._compile(resolved, self.skill_loader, strict=strict)

    def compile_dict(
        self,
        spec: Mapping[str, Any],
        *,
        environment: str | None = None,
        overlays: Sequence[Source] | None = None,
        strict: bool = True,
        overrides: Mapping[str, Any] | None = None,
        skills_overlay: Mapping[str, Any] | None = None,
        defaults: Mapping[str, Any] | None = None,
    ) -> CompiledAgentPackage:
        """The compiled spec of a plain mapping; as `compile`, without lines and columns."""
        return self.compile(
            spec,
            environment=environment,
            overlays=overlays,
            strict=strict,
            overrides=overrides,
            skills_overlay=skills_overlay,
            defaults=defaults,
        )

    def validate(
        self,
        path_or_spec: Source,
        *,
        environment: str | None = None,
        overlays: Sequence[Source] | None = None,
        overrides: Mapping[str, Any] | None = None,
        defaults: Mapping[str, Any] | None = None,
    ) -> ValidationReport:
        """Every finding about a spec. Imports none of the code that it names and reads no skill.

        Raises:
            SpecParseError: a document cannot be read.
            FileNotFoundError: a file is not there.
        """
        examined = self._examine_sources(path_or_spec, environment, overlays, overrides, defaults)
        return ValidationReport(examined.diagnostics)

    def resolve(
        self,
        path_or_spec: Source,
        *,
        environment: str | None = None,
        overlays: Sequence[Source] | None = None,
        overrides: Mapping[str, Any] | None = None,
        defaults: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The merged document in its long form, not checked. Raises SpecParseError, FileNotFoundError."""
        layers = [read_layer(source) for source in (path_or_spec, *(overlays or ()))]
        return resolve(layers, overrides=overrides, environment=environment, defaults=defaults).data

    def explain(
        self,
        path_or_spec: Source,
        *,
        environment: str | None = None,
        overlays: Sequence[Source] | None = None,
        overrides: Mapping[str, Any] | None = None,
        defaults: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """What a spec holds, by name. Raises SpecCompilationError, SpecParseError."""
        return explain(self._sound(path_or_spec, environment, overlays, overrides, defaults))

    def graph(
        self,
        path_or_spec: Source,
        *,
        environment: str | None = None,
        overlays: Sequence[Source] | None = None,
        overrides: Mapping[str, Any] | None = None,
        defaults: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The root workflow as nodes and edges. Raises SpecCompilationError, SpecParseError, InvalidRequestError."""
        return graph_view(self._sound(path_or_spec, environment, overlays, overrides, defaults))

    def policy_report(
        self,
        path_or_spec: Source,
        *,
        environment: str | None = None,
        overlays: Sequence[Source] | None = None,
        overrides: Mapping[str, Any] | None = None,
        defaults: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """What the spec's agents may do, remember and guard, and who looks at it. Raises SpecParseError."""
        examined = self._examine_sources(path_or_spec, environment, overlays, overrides, defaults)
        if examined.spec is None:
            return {"valid": False, "diagnostics": [item.to_dict() for item in examined.diagnostics]}
        return policy_report(examined.spec, examined.diagnostics, self._registered)

    def freeze_inputs(
        self,
        *,
        spec_path: Source | None = None,
        spec: Mapping[str, Any] | None = None,
        overlays: Sequence[Source] | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """All texts that a spec is made of as plain data `{base, overlays[, skills]}`, for `compile_from_frozen`.

        Raises:
            InvalidRequestError: neither a path nor a spec is given, or a skill cannot be read.
            SpecParseError: a document cannot be read.
        """
        source = spec if spec is not None else spec_path
        if source is None:
            raise InvalidRequestError("Either spec_path or spec is needed.")
        layers = [read_layer(item) for item in (source, *(overlays or ()))]
        frozen: dict[str, Any] = {"base": layers[0].data, "overlays": [layer.data for layer in layers[1:]]}
        declared = resolve(layers, overrides=overrides).data.get("skills")
        if isinstance(declared, dict) and declared:
            frozen["skills"] = {
                name: self.skill_loader.load(name, skill["source"]).text
                for name, skill in declared.items()
                if isinstance(skill, dict) and isinstance(skill.get("source"), str)
            }
        return frozen

    def compile_from_frozen(
        self,
        base: Mapping[str, Any],
        overlay_dicts: Sequence[Mapping[str, Any]] = (),
        *,
        environment: str | None = None,
        overrides: Mapping[str, Any] | None = None,
        skills_overlay: Mapping[str, Any] | None = None,
        strict: bool = True,
        frozen_skills: Mapping[str, str] | None = None,
        defaults: Mapping[str, Any] | None = None,
    ) -> CompiledAgentPackage:
        """The compiled spec of frozen inputs; as `compile`, but reads no file."""
        layers = [read_layer(source) for source in (base, *overlay_dicts)]
        resolved = resolve(
            layers, overrides=overrides, environment=environment, defaults=defaults, skills_overlay=skills_overlay
        )
        return self._compile(resolved, FrozenSkillLoader(frozen_skills or {}), strict=strict)

    def _examine_sources(
        self,
        path_or_spec: Source,
        environment: str | None,
        overlays: Sequence[Source] | None,
        overrides: Mapping[str, Any] | None,
        defaults: Mapping[str, Any] | None,
    ) -> _Examined:
        layers = [read_layer(source) for source in (path_or_spec, *(overlays or ()))]
        return self._examine(resolve(layers, overrides=overrides, environment=environment, defaults=defaults))

    def _sound(
        self,
        path_or_spec: Source,
        environment: str | None,
        overlays: Sequence[Source] | None,
        overrides: Mapping[str, Any] | None,
        defaults: Mapping[str, Any] | None,
    ) -> KneoSpec:
        examined = self._examine_sources(path_or_spec, environment, overlays, overrides, defaults)
        report = ValidationReport(examined.diagnostics)
        if examined.spec is None or report.has_errors:
            raise SpecCompilationError(report)
        return examined.spec

    @property
    def _registered(self) -> Mapping[str, ToolDefinition] | None:
        return None if self.tool_registry is None else self.tool_registry.definitions

    def _examine(self, resolved: Resolved) -> _Examined:
        try:
            spec = KneoSpec.model_validate(resolved.data)
        except ValidationError as failure:
            found = list(faults(failure.errors(include_url=False, include_input=False), resolved.data))
            rest = salvage(resolved.data, failure)
            if rest is not None:
                found += [item for item in check(rest.spec, self._registered) if rest.says(item)]
            return _Examined(resolved, diagnose(found, resolved.source), None)
        found = [*check(spec, self._registered), *self._modes(spec)]
        if not any(item.severity is Severity.ERROR for item in found):
            found += self._runtimes(spec)
            found += self._middlewares(spec)
        return _Examined(resolved, diagnose(found, resolved.source), spec)

    def _modes(self, spec: KneoSpec) -> Iterator[Finding]:
        known = {mode.value for mode in RuntimeMode} | set(getattr(self.runtime_registry, "modes", ()))
        for agent in agents(spec):
            wanted = agent.spec.runtime_preferences
            if wanted is None:
                continue
            places: list[tuple[Path, str | None]] = [
                (("preferred_mode",), wanted.preferred_mode),
                (("fallback_mode",), wanted.fallback_mode),
                *((("allowed_modes", index), mode) for index, mode in enumerate(wanted.allowed_modes)),
            ]
            for place, mode in places:
                if mode is not None and mode not in known:
                    words = ", ".join(f"`{word}`" for word in sorted(known))
                    message = f"There is no runtime mode `{mode}` here."
                    hint = near(mode, known, otherwise=f"Use one of {words}.")
                    yield error("E_RUNTIME_MODE_UNKNOWN", (*agent.path, "runtime_preferences", *place), message, hint)

    def _runtimes(self, spec: KneoSpec) -> Iterator[Finding]:
        if self.runtime_registry is None:
            return
        for agent in agents(spec):
            if agent.spec.as_agent is not None:
                continue
            problem = self.runtime_registry.problem(build_agent(spec, agent.spec))
            if problem is not None:
                key = "model" if agent.spec.model is not None else "runtime_preferences"
                yield warning("W_RUNTIME_UNAVAILABLE", (*agent.path, key), problem)

    def _middlewares(self, spec: KneoSpec) -> Iterator[Finding]:
        if self.middleware_names is None:
            return
        for agent in agents(spec):
            for index, name in enumerate(agent.spec.middleware):
                if name not in self.middleware_names:
                    message = f"There is no middleware `{name}` here, and without it the agent cannot run."
                    hint = near(name, self.middleware_names, otherwise="Give it to the platform: `middlewares=`.")
                    yield warning("W_MIDDLEWARE_UNAVAILABLE", (*agent.path, "middleware", index), message, hint)

    def _compile(self, resolved: Resolved, skill_loader: SkillSource, *, strict: bool) -> CompiledAgentPackage:
        examined = self._examine(resolved)
        report = ValidationReport(examined.diagnostics)
        if examined.spec is None or (strict and report.has_errors):
            raise SpecCompilationError(report)
        spec = examined.spec
        skills, missing = _load_skills(spec, skill_loader)
        plan = build_plan(spec, self._registered, skills)
        report.diagnostics += diagnose([*missing, *check_code(plan)], resolved.source)
        if strict and report.has_errors:
            raise SpecCompilationError(report)
        return CompiledAgentPackage(
            root_agent=plan.root_agent,
            root_workflow=plan.root_flow,
            component_agents={name: plan.agents[name] for name in spec.components.agents},
            diagnostics=report.diagnostics,
            component_workflows={name: plan.flows[name] for name in spec.components.workflows},
            plan=plan,
            spec=spec,
        )


def _load_skills(spec: KneoSpec, loader: SkillSource) -> tuple[dict[str, str], list[Finding]]:
    texts: dict[str, str] = {}
    missing: list[Finding] = []
    for name in sorted({name for agent in agents(spec) for name in agent.spec.skills}):
        skill = spec.skills.get(name)
        if skill is None:
            continue
        try:
            texts[name] = loader.load(name, skill.source).text
        except InvalidRequestError as fault:
            missing.append(error("E_SKILL_SOURCE", ("skills", name, "source"), str(fault)))
    return texts, missing
