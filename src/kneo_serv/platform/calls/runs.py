"""Calls about runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kneo_serv.errors import EnvironmentPolicyError, InvalidRequestError
from kneo_serv.model.ids import RunId
from kneo_serv.model.limits import checked_priority, checked_queue
from kneo_serv.model.page import Page, RunFilter
from kneo_serv.model.quick import replace
from kneo_serv.model.run import PAUSED, RunRecord, RunResult, RunStatus
from kneo_serv.platform.calls.calling import OnEvent, OnText
from kneo_serv.platform.calls.prepared import Source
from kneo_serv.platform.calls.specs import SpecCalls
from kneo_serv.platform.platform import Platform, Submission
from kneo_serv.spec import enforce

TARGETS = ("agent", "workflow")
"""What a run may execute."""


class RunCalls(SpecCalls):
    """Starting, looking up, ending and continuing runs."""

    def run_from_spec(
        self,
        *,
        input_text: str,
        spec_path: str | Path | None = None,
        spec: Mapping[str, Any] | None = None,
        target: str = "workflow",
        environment: str | None = None,
        overlays: Sequence[str | Path] | None = None,
        overrides: Mapping[str, Any] | None = None,
        skills_overlay: Mapping[str, Any] | None = None,
        timeout_seconds: float | None = None,
        session_id: str | None = None,
        tags: Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None,
        actor: str | None = None,
        queue: str | None = None,
        priority: int | None = None,
        trace: Mapping[str, str] | None = None,
        on_event: OnEvent | None = None,
        on_text: OnText | None = None,
    ) -> RunResult:
        """Runs a spec until it ends, rests on people, or the caller's patience is over.

        `timeout_seconds` is the deadline of the run; patience is an option of the platform. A failed step is a result,
        not an error. `trace` is the W3C trace context of the caller (`traceparent`, `tracestate`). `on_event` and
        `on_text` are told what happens meanwhile (see docs/streaming.md). `queue` and `priority` win over those of the
        spec (`dispatch`).

        Raises:
            SpecCompilationError: the spec has faults; nothing is stored.
            SpecParseError, FileNotFoundError: the spec cannot be read.
            InvalidRequestError: neither or both of `spec` and `spec_path`, or an unknown target.
            QueueFullError: no more runs are taken in.
        """
        submission = self._submission(
            input_text, spec_path, spec, target, environment, overlays, overrides, skills_overlay, timeout_seconds,
            session_id, tags, metadata, actor, trace, queue=queue, priority=priority,
        )  # fmt: skip

        async def run(platform: Platform) -> RunResult:
            record = await platform.start(submission, hold=True)
            return await self._rest(platform, record.id, on_event, on_text)

        return self._do(run)

    def start_run_from_spec(
        self,
        *,
        input_text: str,
        spec_path: str | Path | None = None,
        spec: Mapping[str, Any] | None = None,
        target: str = "workflow",
        environment: str | None = None,
        overlays: Sequence[str | Path] | None = None,
        overrides: Mapping[str, Any] | None = None,
        skills_overlay: Mapping[str, Any] | None = None,
        timeout_seconds: float | None = None,
        session_id: str | None = None,
        tags: Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None,
        actor: str | None = None,
        queue: str | None = None,
        priority: int | None = None,
        trace: Mapping[str, str] | None = None,
    ) -> RunRecord:
        """Takes a run in without waiting for it; a worker, or `execute_run`, executes it. Raises as `run_from_spec`."""
        submission = self._submission(
            input_text, spec_path, spec, target, environment, overlays, overrides, skills_overlay, timeout_seconds,
            session_id, tags, metadata, actor, trace, queue=queue, priority=priority,
        )  # fmt: skip
        return self._do(lambda platform: platform.start(submission))

    def execute_run(
        self,
        run_id: str,
        *,
        owner: str | None = None,
        on_event: OnEvent | None = None,
        on_text: OnText | None = None,
    ) -> RunResult:
        """Executes a run until it rests or ends; of one that rests already, what is stored. `owner` is not needed."""
        return self._do(lambda platform: self._rest(platform, RunId(run_id), on_event, on_text))

    def dispatch_run(self, run_id: str) -> None:
        """Hands a run to the workers. Raises NotFoundError for an unknown one."""

        async def dispatch(platform: Platform) -> None:
            await platform.record(RunId(run_id))
            platform.submit()

        self._do(dispatch)

    def get_run(self, run_id: str) -> RunRecord:
        """The run's row. Raises NotFoundError (a KeyError)."""
        return self._do(lambda platform: platform.record(RunId(run_id)))

    def run_view(self, run_id: str) -> dict[str, Any]:
        """The run as lists and `kneo runs get` show it, without secrets. Raises NotFoundError."""
        return self._do(lambda platform: platform.run_view(RunId(run_id)))

    def list_runs(
        self,
        *,
        status: str | None = None,
        limit: int = 100,
        offset: int = 0,
        filters: RunFilter | None = None,
    ) -> list[RunRecord]:
        """Runs, the newest updated first."""
        wanted = _filter(status, filters)

        async def look(platform: Platform) -> list[RunRecord]:
            return list(await platform.store.list_runs(wanted, Page(limit=limit, offset=offset)))

        return self._do(look)

    def count_runs(self, *, status: str | None = None, filters: RunFilter | None = None) -> int:
        """How many runs."""
        wanted = _filter(status, filters)
        return self._do(lambda platform: platform.store.count_runs(wanted))

    def cancel_run(self, run_id: str, *, actor: str | None = None) -> RunRecord:
        """Ends a run early; one that has ended already is returned as it is. Raises NotFoundError."""
        return self._do(lambda platform: platform.cancel(RunId(run_id), actor=actor))

    def continue_run(
        self,
        run_id: str,
        *,
        actor: str | None = None,
        on_event: OnEvent | None = None,
        on_text: OnText | None = None,
    ) -> RunResult:
        """Takes up a failed or orphaned run after its last finished step, until it rests or ends.

        Raises:
            NotFoundError: there is no such run.
            RunStateConflictError: it is at work, waits for a person, or has ended otherwise than by failing.
        """

        async def go_on(platform: Platform) -> RunResult:
            await platform.continue_run(RunId(run_id), actor=actor)
            return await self._rest(platform, RunId(run_id), on_event, on_text)

        return self._do(go_on)

    def prepare(
        self,
        *,
        input_text: str,
        spec_path: str | Path | None = None,
        spec: Mapping[str, Any] | None = None,
        target: str = "workflow",
        environment: str | None = None,
        overlays: Sequence[str | Path] | None = None,
        overrides: Mapping[str, Any] | None = None,
        skills_overlay: Mapping[str, Any] | None = None,
        timeout_seconds: float | None = None,
        session_id: str | None = None,
        tags: Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None,
        actor: str | None = None,
        trace: Mapping[str, str] | None = None,
        tenant: str | None = None,
        queue: str | None = None,
        priority: int | None = None,
    ) -> Submission:
        """What `Platform.start` takes in: compiled and checked, nothing stored. For doors; blocks while it compiles.

        A spec without a workflow runs its agent, whatever the target. Raises as `run_from_spec` (but never
        QueueFullError), and EnvironmentPolicyError where the environment's policy refuses the spec.
        """
        return self._submission(
            input_text, spec_path, spec, target, environment, overlays, overrides, skills_overlay, timeout_seconds,
            session_id, tags, metadata, actor, trace, tenant, agent_alone=True, queue=queue, priority=priority,
        )  # fmt: skip

    def is_at_hand(
        self,
        *,
        spec_path: str | Path | None = None,
        spec: Mapping[str, Any] | None = None,
        environment: str | None = None,
        overlays: Sequence[str | Path] | None = None,
        overrides: Mapping[str, Any] | None = None,
        skills_overlay: Mapping[str, Any] | None = None,
    ) -> bool:
        """Whether `prepare` would take no time, since this spec was compiled just now and no policy is to be asked."""
        source = Source(spec_path, spec, environment, overlays, overrides, skills_overlay)
        return environment is None and self._prepared.is_at_hand(
            source, signing_key=self.options.spec_signing_key, bundles_only=self.options.require_spec_bundles
        )

    def _submission(
        self,
        input_text: str,
        spec_path: str | Path | None,
        spec: Mapping[str, Any] | None,
        target: str,
        environment: str | None,
        overlays: Sequence[str | Path] | None,
        overrides: Mapping[str, Any] | None,
        skills_overlay: Mapping[str, Any] | None,
        timeout_seconds: float | None,
        session_id: str | None,
        tags: Sequence[str],
        metadata: Mapping[str, Any] | None,
        actor: str | None,
        trace: Mapping[str, str] | None,
        tenant: str | None = None,
        agent_alone: bool = False,
        queue: str | None = None,
        priority: int | None = None,
    ) -> Submission:
        if (spec is None) == (spec_path is None):
            raise InvalidRequestError("Give either spec_path or spec, and not both.")
        if target not in TARGETS:
            raise InvalidRequestError(f"Unknown target {target!r}; use one of {', '.join(TARGETS)}.")
        if timeout_seconds is not None and not timeout_seconds > 0:
            raise InvalidRequestError(f"timeout_seconds must be above 0, not {timeout_seconds!r}.")
        queue = None if queue is None else checked_queue(queue)
        priority = None if priority is None else checked_priority(priority)
        source = Source(spec_path, spec, environment, overlays, overrides, skills_overlay)
        prepared = self._prepared.prepare(
            source, signing_key=self.options.spec_signing_key, bundles_only=self.options.require_spec_bundles
        )
        package = prepared.package
        policy = None if environment is None else self.get_environment_policy(environment)
        refused = [] if policy is None else enforce(policy, package.spec, package.diagnostics)
        if environment is not None and refused:
            raise EnvironmentPolicyError(environment=environment, diagnostics=[item.to_dict() for item in refused])
        if target == "workflow" and package.plan.root_flow is None and agent_alone:
            target = "agent"
        if target == "workflow" and package.plan.root_flow is None:
            raise InvalidRequestError("The spec has no workflow; use target 'agent', or add a block workflow.")
        asked = {
            "spec_path": None if spec_path is None else str(spec_path),
            "target": target,
            **source.options,
            "frozen_spec": prepared.frozen,
        }
        return Submission(
            plan=package.plan,
            input_text=input_text,
            target=target,
            environment=environment,
            timeout_seconds=timeout_seconds,
            session_id=session_id,
            tags=tuple(tags),
            metadata={
                **{name: value for name, value in asked.items() if value is not None},
                "caller_metadata": dict(metadata or {}),
            },
            actor=actor,
            trace=trace or {},
            tenant=tenant,
            queue=queue,
            priority=priority,
        )


def _filter(status: str | None, filters: RunFilter | None) -> RunFilter:
    wanted = filters or RunFilter()
    if status is None:
        return wanted
    return replace(wanted, status=(RunStatus.BLOCKED.value if status == PAUSED else status,))
