"""Calls about specs, and about what an environment demands of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kneo_serv.errors import InvalidRequestError
from kneo_serv.model.ids import RunId
from kneo_serv.model.page import Page, RunFilter
from kneo_serv.model.run import RunRecord
from kneo_serv.platform.calls.calling import Calling
from kneo_serv.platform.platform import Platform
from kneo_serv.spec import CompiledAgentPackage, EnvironmentPolicy, ValidationReport, enforce

_POLICIES = "environment_policy"


class SpecCalls(Calling):
    """Validating, compiling and reporting; environment policies."""

    def validate_spec(
        self,
        spec: Mapping[str, Any] | None = None,
        *,
        spec_path: str | Path | None = None,
        environment: str | None = None,
        overlays: Sequence[str | Path] | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> ValidationReport:
        """Every finding about a spec, without importing what it names. Raises SpecParseError, InvalidRequestError."""
        return self.compiler.validate(
            _source(spec, spec_path), environment=environment, overlays=overlays, overrides=overrides
        )

    def compile_spec(
        self,
        *,
        spec_path: str | Path | None = None,
        spec: Mapping[str, Any] | None = None,
        environment: str | None = None,
        overlays: Sequence[str | Path] | None = None,
        overrides: Mapping[str, Any] | None = None,
        strict: bool = True,
    ) -> CompiledAgentPackage:
        """The compiled spec. Raises SpecCompilationError, SpecParseError, InvalidRequestError."""
        return self.compiler.compile(
            _source(spec, spec_path), environment=environment, overlays=overlays, overrides=overrides, strict=strict
        )

    def compile_from_run_state(self, state: RunRecord) -> CompiledAgentPackage:
        """The spec of a run, compiled again from the inputs that were frozen when it started.

        Raises:
            SpecCompilationError: it has faults now, such as code that is not there any more.
        """
        frozen = state.metadata.get("frozen_spec") or {}
        return self.compiler.compile_from_frozen(
            frozen.get("base", {}),
            frozen.get("overlays", ()),
            environment=state.environment,
            overrides=state.metadata.get("overrides"),
            skills_overlay=state.metadata.get("skills_overlay"),
            frozen_skills=frozen.get("skills"),
        )

    def policy_report(
        self,
        *,
        spec_path: str | Path | None = None,
        spec: Mapping[str, Any] | None = None,
        overlays: Sequence[str | Path] | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """What the spec's agents may do, remember and guard. Raises SpecParseError, InvalidRequestError."""
        return self.compiler.policy_report(_source(spec, spec_path), overlays=overlays, overrides=overrides)

    def policy_report_for_run(self, run_id: str) -> dict[str, Any]:
        """The policy report of the spec that a run was started with. Raises NotFoundError."""
        record = self._do(lambda platform: platform.record(RunId(run_id)))
        frozen = record.metadata.get("frozen_spec") or {}
        return self.compiler.policy_report(
            frozen.get("base", {}),
            environment=record.environment,
            overlays=list(frozen.get("overlays", ())),
            overrides=record.metadata.get("overrides"),
        )

    def get_environment_policy(self, environment: str) -> EnvironmentPolicy | None:
        """What this environment demands of specs; None when nothing was set."""

        async def look(platform: Platform) -> str | None:
            return await platform.store.get_document(_POLICIES, environment)

        text = self._do(look)
        return None if text is None else EnvironmentPolicy.model_validate_json(text)

    def list_environment_policies(self) -> dict[str, EnvironmentPolicy]:
        """All policies by environment."""

        async def look(platform: Platform) -> Mapping[str, str]:
            return await platform.store.list_documents(_POLICIES)

        return {name: EnvironmentPolicy.model_validate_json(text) for name, text in self._do(look).items()}

    def set_environment_policy(
        self, environment: str, policy: EnvironmentPolicy | Mapping[str, Any], *, actor: str | None = None
    ) -> tuple[EnvironmentPolicy | None, EnvironmentPolicy]:
        """Sets what an environment demands from now on; the previous policy and the new one."""
        new = policy if isinstance(policy, EnvironmentPolicy) else EnvironmentPolicy.model_validate(policy)

        async def put(platform: Platform) -> EnvironmentPolicy | None:
            text = await platform.store.swap_document(_POLICIES, environment, new.model_dump_json())
            previous = None if text is None else EnvironmentPolicy.model_validate_json(text)
            changed = {
                "environment": environment,
                "previous": None if previous is None else previous.model_dump(),
                "new": new.model_dump(),
            }
            await platform.audit("policy.changed", actor=actor, metadata=changed)
            return previous

        return self._do(put), new

    def preview_environment_policy(
        self, environment: str, candidate: EnvironmentPolicy | Mapping[str, Any], *, scan_limit: int = 500
    ) -> dict[str, Any]:
        """What a policy would change: the differences, and the recent runs that it would have refused."""
        new = candidate if isinstance(candidate, EnvironmentPolicy) else EnvironmentPolicy.model_validate(candidate)
        old = self.get_environment_policy(environment) or EnvironmentPolicy()
        before, after = old.model_dump(), new.model_dump()
        diff = {name: {"before": before[name], "after": after[name]} for name in after if before[name] != after[name]}

        async def recent(platform: Platform) -> list[RunRecord]:
            records = await platform.store.list_runs(RunFilter(), Page(limit=min(scan_limit, 1000)))
            return [record for record in records if record.environment == environment]

        affected, blocking = [], []
        records = self._do(recent)
        for record in records:
            frozen = record.metadata.get("frozen_spec") or {}
            package = self.compiler.compile_from_frozen(
                frozen.get("base", {}), frozen.get("overlays", ()), environment=environment, strict=False
            )
            refused = {
                name: bool(enforce(policy, package.spec, package.diagnostics))
                for name, policy in (("old", old), ("new", new))
            }
            if refused["new"]:
                affected.append(record.id)
            if refused["new"] and not refused["old"]:
                blocking.append(record.id)
        return {
            "environment": environment,
            "diff": diff,
            "affected_run_ids": affected,
            "newly_blocking": blocking,
            "runs_evaluated": len(records),
        }


def _source(spec: Mapping[str, Any] | None, spec_path: str | Path | None) -> Mapping[str, Any] | str:
    if (spec is None) == (spec_path is None):
        raise InvalidRequestError("Give either spec_path or spec, and not both.")
    return spec if spec is not None else str(spec_path)
