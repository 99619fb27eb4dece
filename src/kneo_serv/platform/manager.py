"""The synchronous face of the platform: what scripts and the command line call."""

import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kneo_serv.errors import InvalidRequestError, NotFoundError, PlatformClosedError
from kneo_serv.model import event as ev
from kneo_serv.model.audit import AuditEvent
from kneo_serv.model.ids import ContinuationId, RunId
from kneo_serv.model.page import AuditFilter, Page, RunFilter
from kneo_serv.model.run import PAUSED, RunRecord, RunResult, RunStatus
from kneo_serv.model.task import HumanResponse, TaskStatus
from kneo_serv.platform import views
from kneo_serv.platform.auditing import audit_event
from kneo_serv.platform.chance import RandomIds
from kneo_serv.platform.loop import LoopThread
from kneo_serv.platform.options import PlatformOptions
from kneo_serv.platform.platform import Platform, Submission
from kneo_serv.platform.projection import TaskFolder
from kneo_serv.platform.retention import RetentionPolicy, RetentionReport, cut_of
from kneo_serv.runtime import RuntimeRegistry
from kneo_serv.spec import SpecCompiler
from kneo_serv.store.contract import Store, TimerKind
from kneo_serv.tools import ToolRegistry

type OnEvent = Callable[[ev.Recorded], None]
"""Is told the public form of each event as it becomes durable, on a thread of the platform."""

TARGETS = ("agent", "workflow")


class PlatformManager:
    """Blocking calls to one platform, safe from any thread but the platform's own.

    The platform starts with the first call that needs it, on a daemon thread: a script may simply end.
    """

    def __init__(
        self,
        *,
        compiler: SpecCompiler,
        run_state_store: Store,
        continuation_store: TaskFolder | None = None,
        options: PlatformOptions | None = None,
    ) -> None:
        self.compiler = compiler
        self.run_state_store = run_state_store
        self.continuation_store = continuation_store
        self.options = options or PlatformOptions()
        self._starting = threading.Lock()
        self._closed = False
        self._loop: LoopThread | None = None
        self._platform: Platform | None = None
        self._ids = RandomIds()

    # --- life -------------------------------------------------------------------------------------------------------

    def start_worker(self) -> None:
        """Begins to execute runnable runs and to fire timers in this process. Idempotent."""
        self._do(lambda platform: _call(platform.start_worker))

    def shutdown(self, *, timeout: float | None = None) -> bool:
        """Drains and closes for good; whether every run in hand came to a rest within `timeout` seconds."""
        patience = self.options.shutdown_timeout_seconds if timeout is None else timeout
        with self._starting:
            self._closed = True
            loop, platform = self._loop, self._platform
            self._loop = self._platform = None
        if loop is None or platform is None:
            return True
        drained = loop.call(platform.close(timeout=patience))
        loop.close()
        return drained

    def metrics_snapshot(self) -> dict[str, Any]:
        """Numbers for a quick look: runnable runs, runs in hand, workers, abandoned calls."""

        async def look(platform: Platform) -> dict[str, Any]:
            return {
                "queued": len(await platform.store.runnable(limit=1000)),
                "running": platform.in_hand,
                "worker_count": self.options.worker_concurrency,
                "abandoned_calls": platform.abandoned_calls,
            }

        return self._do(look)

    # --- runs -------------------------------------------------------------------------------------------------------

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
        on_event: OnEvent | None = None,
    ) -> RunResult:
        """Runs a spec until it ends, rests on people, or the caller's patience is over.

        `timeout_seconds` is the deadline of the run; patience is an option of the platform. A failed step is a result,
        not an error.

        Raises:
            SpecCompilationError: the spec has faults; nothing is stored.
            SpecParseError, FileNotFoundError: the spec cannot be read.
            InvalidRequestError: neither or both of `spec` and `spec_path`, or an unknown target.
            QueueFullError: no more runs are taken in.
        """
        submission = self._submission(
            input_text, spec_path, spec, target, environment, overlays, overrides, skills_overlay, timeout_seconds,
            session_id, tags, metadata, actor,
        )  # fmt: skip

        async def run(platform: Platform) -> RunResult:
            record = await platform.start(submission, hold=True)
            return await self._rest(platform, record.id, on_event)

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
    ) -> RunRecord:
        """Takes a run in without waiting for it; a worker, or `execute_run`, executes it. Raises as `run_from_spec`."""
        submission = self._submission(
            input_text, spec_path, spec, target, environment, overlays, overrides, skills_overlay, timeout_seconds,
            session_id, tags, metadata, actor,
        )  # fmt: skip
        return self._do(lambda platform: platform.start(submission))

    def execute_run(self, run_id: str, *, owner: str | None = None, on_event: OnEvent | None = None) -> RunResult:
        """Executes a run until it rests or ends; of one that rests already, what is stored. `owner` is not needed."""
        return self._do(lambda platform: self._rest(platform, RunId(run_id), on_event))

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

    def continue_run(self, run_id: str, *, actor: str | None = None, on_event: OnEvent | None = None) -> RunResult:
        """Takes up a failed or orphaned run after its last finished step, until it rests or ends.

        Raises:
            NotFoundError: there is no such run.
            RunStateConflictError: it is at work, waits for a person, or has ended otherwise than by failing.
        """

        async def go_on(platform: Platform) -> RunResult:
            await platform.continue_run(RunId(run_id), actor=actor)
            return await self._rest(platform, RunId(run_id), on_event)

        return self._do(go_on)

    # --- history ----------------------------------------------------------------------------------------------------

    def list_checkpoints(self, run_id: str) -> list[views.Checkpoint]:
        """The run's checkpoints by sequence. Raises NotFoundError."""
        return self._fold(run_id, views.checkpoints)

    def get_trace(self, run_id: str) -> list[dict[str, Any]]:
        """The run's trace events, secrets removed. Raises NotFoundError."""
        return self._fold(run_id, lambda record, events: views.trace_events(record, events)[0])

    def replay_view(self, run_id: str) -> dict[str, Any]:
        """The run's life as a time line of checkpoints. Raises NotFoundError."""
        return self._fold(run_id, views.replay_view)

    def recovery_context(self, run_id: str) -> dict[str, Any]:
        """Where the run would go on if it were continued. Raises NotFoundError."""
        return self._fold(run_id, views.recovery_context)

    def checkpoint_diff(
        self, run_id: str, *, from_sequence: int | None = None, to_sequence: int | None = None
    ) -> dict[str, Any]:
        """What changed between two checkpoints (default: the last two).

        Raises:
            NotFoundError: there is no such run.
            InvalidRequestError: there are fewer than two checkpoints, or a sequence is unknown.
        """
        return views.checkpoint_diff(
            self.list_checkpoints(run_id), from_sequence=from_sequence, to_sequence=to_sequence
        )

    # --- people -----------------------------------------------------------------------------------------------------

    def get_human_task(self, continuation_id: str) -> dict[str, Any]:
        """What an open task asks, with the real text under review. Raises NotFoundError."""

        async def look(platform: Platform) -> dict[str, Any]:
            task = await platform.store.get_task(ContinuationId(continuation_id))
            if task is None or task.status is not TaskStatus.OPEN:
                raise NotFoundError("human task", continuation_id)
            return views.request_view(task, private=True)

        return self._do(look)

    def list_human_tasks(self, *, limit: int | None = None) -> list[dict[str, Any]]:
        """Open tasks, the oldest first, without secrets."""

        async def look(platform: Platform) -> list[dict[str, Any]]:
            found = []
            for task in await platform.store.list_tasks(page=None if limit is None else Page(limit=limit)):
                found.append(views.task_view(task, await platform.record(task.run_id)))
            return found

        return self._do(look)

    def resume_human_task(
        self,
        continuation_id: str,
        *,
        response: HumanResponse,
        actor: str | None = None,
        on_event: OnEvent | None = None,
    ) -> RunResult:
        """Gives a person's answer, and takes the run on until it rests or ends.

        Raises:
            NotFoundError: no open task has this id.
            LockAcquisitionError: another answer was first, and its run is still at work on it.
            RequestIdMismatchError, DecisionNotAllowedError: the answer does not fit the question.
            HumanTaskExpiredError: the task's deadline has passed.
        """

        async def resume(platform: Platform) -> RunResult:
            run_id = await platform.answer(ContinuationId(continuation_id), response, actor=actor)
            return await self._rest(platform, run_id, on_event)

        return self._do(resume)

    # --- time -------------------------------------------------------------------------------------------------------

    def prune_expired_human_tasks(self, *, now: float | None = None) -> int:
        """Does what the tasks say whose deadline has passed (before `now`), and awaits the legs that this starts."""

        async def prune(platform: Platform) -> int:
            count = 0
            for timer in await platform.due(TimerKind.HUMAN_DEADLINE, now=now, limit=1000):
                if await platform.fire(timer):
                    count += 1
                    await platform.run_to_rest(timer.run_id, patience=self.options.patience_seconds)
            return count

        return self._do(prune)

    def prune_timed_out_runs(self, *, now: float | None = None, scan_limit: int = 1000) -> int:
        """Ends the runs whose deadline has passed (before `now`); how many that were."""

        async def prune(platform: Platform) -> int:
            timers = await platform.due(TimerKind.RUN_DEADLINE, now=now, limit=scan_limit)
            return sum([await platform.fire(timer) for timer in timers])

        return self._do(prune)

    def prune_retention(self, policy: RetentionPolicy | None = None) -> RetentionReport:
        """Removes what is older than the policy keeps; only what has ended ever goes."""
        kept = policy or RetentionPolicy()

        async def prune(platform: Platform) -> RetentionReport:
            pruned = await platform.store.prune(cut_of(kept, await platform.store.now()))
            return RetentionReport(
                runs=pruned.runs,
                checkpoints=pruned.events,
                continuations=pruned.tasks,
                audit_events=pruned.audit,
            )

        return self._do(prune)

    # --- audit ------------------------------------------------------------------------------------------------------

    def record_audit_event(
        self,
        event_type: str,
        *,
        actor: str | None = None,
        run_id: str | None = None,
        continuation_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> AuditEvent:
        """Writes an audit event (redacted) and returns it."""

        async def record(platform: Platform) -> AuditEvent:
            now = await platform.store.now()
            event = audit_event(self._ids, event_type, now, run_id, continuation_id, actor, metadata)
            await platform.store.add_audit([event])
            return event

        return self._do(record)

    def list_audit_events(
        self, *, event_type: str | None = None, run_id: str | None = None, limit: int = 100
    ) -> list[AuditEvent]:
        """Audit events, the newest first."""
        wanted = AuditFilter(event_type, None if run_id is None else RunId(run_id))

        async def look(platform: Platform) -> list[AuditEvent]:
            return list(await platform.store.list_audit(wanted, limit=limit))

        return self._do(look)

    def count_audit_events(self, *, event_type: str | None = None, run_id: str | None = None) -> int:
        """How many audit events."""
        wanted = AuditFilter(event_type, None if run_id is None else RunId(run_id))
        return self._do(lambda platform: platform.store.count_audit(wanted))

    # --- within -----------------------------------------------------------------------------------------------------

    def _do[T](self, use: Callable[[Platform], Coroutine[Any, Any, T]]) -> T:
        with self._starting:
            if self._closed:
                raise PlatformClosedError("The platform was shut down; make a new PlatformManager.")
            if self._loop is None or self._platform is None:
                self._loop = LoopThread()
                self._platform = self._loop.call(self._open())
            loop, platform = self._loop, self._platform
        return loop.call(use(platform))

    async def _open(self) -> Platform:
        platform = Platform(
            store=self.run_state_store,
            tools=_tools(self.compiler),
            runtimes=_runtimes(self.compiler),
            options=self.options,
            folder=self.continuation_store,
        )
        await platform.open()
        return platform

    async def _rest(self, platform: Platform, run_id: RunId, on_event: OnEvent | None) -> RunResult:
        def tell(events: Sequence[ev.Recorded]) -> None:
            for event in events:
                if on_event is not None:
                    on_event(event)

        stop = platform.listen(run_id, tell) if on_event is not None else lambda: None
        try:
            await platform.run_to_rest(run_id, patience=self.options.patience_seconds)
        finally:
            stop()
        return await platform.result(run_id)

    def _fold[T](self, run_id: str, view: Callable[[RunRecord, Sequence[ev.Recorded]], T]) -> T:
        async def read(platform: Platform) -> tuple[RunRecord, list[ev.Recorded]]:
            return await platform.record(RunId(run_id)), await platform.events(RunId(run_id))

        return view(*self._do(read))

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
    ) -> Submission:
        if (spec is None) == (spec_path is None):
            raise InvalidRequestError("Give either spec_path or spec, and not both.")
        if target not in TARGETS:
            raise InvalidRequestError(f"Unknown target {target!r}; use one of {', '.join(TARGETS)}.")
        if timeout_seconds is not None and not timeout_seconds > 0:
            raise InvalidRequestError(f"timeout_seconds must be above 0, not {timeout_seconds!r}.")
        options: dict[str, Any] = {
            "environment": environment,
            "overlays": None if overlays is None else [str(path) for path in overlays],
            "overrides": None if overrides is None else dict(overrides),
            "skills_overlay": skills_overlay,
        }
        if spec_path is not None:
            package = self.compiler.compile(str(spec_path), **options)
        else:
            package = self.compiler.compile_dict(dict(spec or {}), **options)
        if target == "workflow" and package.plan.root_flow is None:
            raise InvalidRequestError("The spec has no workflow; use target 'agent', or add a block workflow.")
        asked = {"spec_path": None if spec_path is None else str(spec_path), "target": target, **options}
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
        )


def _filter(status: str | None, filters: RunFilter | None) -> RunFilter:
    wanted = filters or RunFilter()
    if status is None:
        return wanted
    return replace(wanted, status=(RunStatus.BLOCKED.value if status == PAUSED else status,))


def _tools(compiler: SpecCompiler) -> ToolRegistry:
    tools = compiler.tool_registry
    if tools is None:
        return ToolRegistry()
    if isinstance(tools, ToolRegistry):
        return tools
    raise InvalidRequestError("The compiler's tool_registry must be a kneo_serv.tools.ToolRegistry to run specs.")


def _runtimes(compiler: SpecCompiler) -> RuntimeRegistry:
    runtimes = compiler.runtime_registry
    if isinstance(runtimes, RuntimeRegistry):
        return runtimes
    raise InvalidRequestError(
        "The compiler's runtime_registry must be a kneo_serv.runtime.RuntimeRegistry to run specs "
        "(kneo_serv.service.factory.create_runtime_registry() makes one)."
    )


async def _call(function: Callable[[], None]) -> None:
    function()
