"""Calls about specs, and about what an environment demands of them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kneo_serv.errors import InvalidRequestError, KneoError
from kneo_serv.model.ids import RunId
from kneo_serv.model.page import Page, RunFilter
from kneo_serv.model.run import RunRecord
from kneo_serv.platform.calls.calling import Calling
from kneo_serv.platform.platform import Platform
from kneo_serv.spec import CompiledAgentPackage, EnvironmentPolicy, ValidationReport, enforce

_POLICIES = "environment_policy"
_SCANNED, _SCANNED_AT_ONCE = 10_000, 1_000


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

    def compile_from_run_state(self, state: RunRecord, *, strict: bool = True) -> CompiledAgentPackage:
        """The spec of a run, compiled again from the inputs that were frozen when it started.

        Raises:
            SpecCompilationError: it has faults now, such as code that is not there any more; not where `strict` is off.
        """
        frozen = state.metadata.get("frozen_spec") or {}
        return self.compiler.compile_from_frozen(
            frozen.get("base", {}),
            frozen.get("overlays", ()),
            environment=state.environment,
            overrides=state.metadata.get("overrides"),
            skills_overlay=state.metadata.get("skills_overlay"),
            frozen_skills=frozen.get("skills"),
            strict=strict,
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
                "surface": "environment_policy_enforcement",
                "environment": environment,
                "previous": None if previous is None else previous.model_dump(),
                "current": new.model_dump(),
                "changed_fields": list(policy_diff(previous, new)),
            }
            await platform.audit("policy.changed", actor=actor, metadata=changed)
            return previous

        return self._do(put), new

    def preview_environment_policy(
        self,
        environment: str,
        candidate: EnvironmentPolicy | Mapping[str, Any],
        *,
        scan_limit: int = 500,
        tenant: str | None = None,
    ) -> dict[str, Any]:
        """What a policy would change: the differences, and which of the environment's newest runs it would refuse.

        Looks at up to `scan_limit` runs, of this tenant if one is given, and stores nothing. `affected_run_ids` are
        those that the policy refuses, `newly_blocking` those among them that are not refused today.
        """
        new = candidate if isinstance(candidate, EnvironmentPolicy) else EnvironmentPolicy.model_validate(candidate)
        stored = self.get_environment_policy(environment)
        old = EnvironmentPolicy(enabled=False) if stored is None else stored

        async def recent(platform: Platform) -> list[RunRecord]:
            return await _runs_in(platform, environment, tenant=tenant, limit=scan_limit)

        records = self._do(recent)
        verdicts: dict[str, tuple[bool, bool]] = {}
        affected, blocking = [], []
        for record in records:
            inputs = [record.metadata.get(name) for name in ("frozen_spec", "overrides", "skills_overlay")]
            frozen = json.dumps(inputs, sort_keys=True)
            if frozen not in verdicts:
                # Many runs have one spec, and compiling is what takes time.
                verdicts[frozen] = self._refused(record, old, new)
            before, after = verdicts[frozen]
            if after:
                affected.append(record.id)
            if after and not before:
                blocking.append(record.id)
        return {
            "environment": environment,
            "diff": policy_diff(stored, new),
            "affected_run_ids": affected,
            "newly_blocking": blocking,
            "runs_evaluated": len(records),
        }

    def _refused(self, record: RunRecord, old: EnvironmentPolicy, new: EnvironmentPolicy) -> tuple[bool, bool]:
        """Whether each of two policies refuses the spec of a run."""
        try:
            package = self.compile_from_run_state(record, strict=False)
        except KneoError:
            # What cannot be compiled any more is refused for that, whatever the policy says.
            return False, False
        before, after = (enforce(policy, package.spec, package.diagnostics) for policy in (old, new))
        return bool(before), bool(after)


def policy_diff(previous: EnvironmentPolicy | None, new: EnvironmentPolicy) -> dict[str, dict[str, Any]]:
    """By field what changes, `from` and `to`; every field, from None, where there was no policy."""
    before = {} if previous is None else previous.model_dump()
    after = new.model_dump()
    return {
        name: {"from": before.get(name), "to": value}
        for name, value in after.items()
        if name not in before or before[name] != value
    }


async def _runs_in(platform: Platform, environment: str, *, tenant: str | None, limit: int) -> list[RunRecord]:
    """The newest runs of an environment among the newest 10,000."""
    found: list[RunRecord] = []
    for offset in range(0, _SCANNED, _SCANNED_AT_ONCE):
        page = Page(limit=_SCANNED_AT_ONCE, offset=offset, sort="created_at", descending=True)
        rows = await platform.store.list_runs(RunFilter(tenant=tenant), page, texts=False)
        for row in rows:
            if row.environment == environment and len(found) < limit:
                record = await platform.store.get_run(row.id)
                found += [] if record is None else [record]
        if len(rows) < _SCANNED_AT_ONCE or len(found) >= limit:
            break
    return found


def _source(spec: Mapping[str, Any] | None, spec_path: str | Path | None) -> Mapping[str, Any] | str:
    if (spec is None) == (spec_path is None):
        raise InvalidRequestError("Give either spec_path or spec, and not both.")
    return spec if spec is not None else str(spec_path)
