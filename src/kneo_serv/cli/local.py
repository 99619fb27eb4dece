"""The platform in this process, over the state in the project's folder."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kneo_serv.cli.answer import answer_of
from kneo_serv.cli.backend import Answer, ForkOrder, RunOrder, ScheduleOrder
from kneo_serv.cli.subject import subject_in
from kneo_serv.errors import NotFoundError
from kneo_serv.model.page import RunFilter
from kneo_serv.model.run import RunResult, RunStatus
from kneo_serv.model.task import HumanResponse

if TYPE_CHECKING:
    from kneo_serv.cli.following import Listener
    from kneo_serv.cli.workspace import Workspace
    from kneo_serv.platform import PlatformManager
    from kneo_serv.platform.retention import RetentionPolicy
    from kneo_serv.service.custom_code import CustomCode


class LocalBackend:
    """The platform in this process, over the state in the project's folder."""

    def __init__(self, workspace: "Workspace") -> None:
        self._workspace = workspace
        self._state_path = workspace.state_path
        self._opened: PlatformManager | None = None

    @property
    def _manager(self) -> "PlatformManager":
        """Where one looks things up: nothing is executed, so that none of the user's code is needed."""
        from kneo_serv.service.custom_code import CustomCode

        return self._open(CustomCode())

    @property
    def _executor(self) -> "PlatformManager":
        return self._open(self._workspace.code)

    def _open(self, code: "CustomCode") -> "PlatformManager":
        if self._opened is None:
            from kneo_serv.service.factory import create_platform_manager

            # What the user's own code prints must not stand in the answer.
            with redirect_stdout(sys.stderr):
                self._opened = create_platform_manager(
                    code,
                    state_path=str(self._state_path),
                    patient=True,
                    secrets=self._workspace.secrets,
                    retention=self._workspace.retention,
                )
        return self._opened

    def _has_state(self) -> bool:
        return self._state_path.exists() or bool(os.environ.get("KNEO_SERV_DATABASE_URL", "").strip())

    def _keeper(self, kind: str, name: str) -> "PlatformManager":
        self._refuse_nothing(kind, name)
        return self._manager

    def _mover(self, kind: str, name: str) -> "PlatformManager":
        # A factory of the user's own may keep the state elsewhere.
        if self._workspace.code.factory is None:
            self._refuse_nothing(kind, name)
        return self._executor

    def _refuse_nothing(self, kind: str, name: str) -> None:
        # Looking for something must not leave a new database behind in a folder that has none.
        if not self._has_state():
            raise NotFoundError(kind, name)

    def _rested(self, result: RunResult, listener: "Listener") -> Answer:
        # Nobody else executes the run when this process ends, so the end of patience is no reason to leave it.
        while result.status == RunStatus.RUNNING and result.error is None:
            result = self._executor.execute_run(result.run_id, **_told(listener))
        return answer_of(result)

    def close(self, *, timeout: float | None = None) -> None:
        """Ends what was opened, within `timeout` seconds."""
        if self._opened is not None:
            self._opened.shutdown(timeout=timeout)

    def run(self, order: RunOrder, listener: "Listener") -> Answer:
        """Starts a run and waits until it rests or ends."""
        workspace, path = self._workspace, str(order.spec)
        document = self._finished(order.spec, order.overlays)
        result = self._executor.run_from_spec(
            input_text=order.input_text,
            spec_path=path if document is None else None,
            spec=document,
            target=order.target,
            environment=workspace.environment,
            overlays=(workspace.overlays(order.overlays) or None) if document is None else None,
            timeout_seconds=order.timeout_seconds,
            session_id=order.session_id,
            tags=order.tags,
            queue=order.queue,
            priority=order.priority,
            metadata=None if document is None else {"spec_path": path},
            trace=order.trace,
            **_told(listener),
        )
        return self._rested(result, listener)

    def _finished(self, spec: Path, overlays: Sequence[Path]) -> dict[str, Any] | None:
        """The document that is run in a project: its defaults and policy are known here only. Elsewhere None."""
        if self._workspace.project.config is None:
            return None
        subject = subject_in(self._workspace, spec, overlays, self._executor.compiler)
        subject.refuse_faults()
        return subject.merged()

    def continue_run(self, run_id: str, listener: "Listener") -> Answer:
        """Takes a failed run up after its last finished step."""
        return self._rested(self._mover("run", run_id).continue_run(run_id, **_told(listener)), listener)

    def preview_fork(self, run_id: str, at_sequence: int | None) -> Answer:
        """What a fork would keep, and what it may do once more."""
        return self._keeper("run", run_id).preview_fork(run_id, at_sequence).to_dict()

    def fork(self, order: ForkOrder, listener: "Listener") -> Answer:
        """Starts a run from the middle of another one, and waits until it rests or ends."""
        manager = self._mover("run", order.run_id)
        changes: dict[str, Any] = {
            "input_text": order.input_text,
            "answer": order.answer,
            "model": order.model,
            "accept_side_effects": order.accept_side_effects,
            **_told(listener),
        }
        if order.retry:
            result = manager.retry_run(order.run_id, **changes)
        else:
            result = manager.fork_run(order.run_id, at_sequence=order.at_sequence, **changes)
        answer = self._rested(result, listener)
        (forked,) = manager.list_audit_events(run_id=result.run_id, event_type="run.forked", limit=1)
        return {**answer, "forked_from": {"run_id": order.run_id, "at_sequence": forked.metadata["at_sequence"]}}

    def resume(self, continuation_id: str, response: HumanResponse, listener: "Listener") -> Answer:
        """Answers a human task; the run goes on from there."""
        manager = self._mover("human task", continuation_id)
        return self._rested(manager.resume_human_task(continuation_id, response=response, **_told(listener)), listener)

    def cancel(self, run_id: str) -> Answer:
        """Ends a run early, and shows it."""
        self._keeper("run", run_id).cancel_run(run_id)
        return self.get_run(run_id)

    def get_run(self, run_id: str) -> Answer:
        """One run."""
        return dict(self._keeper("run", run_id).run_view(run_id))

    def list_runs(self, filters: RunFilter, *, limit: int, offset: int) -> tuple[list[Answer], int]:
        """Some of the runs that pass the filter, newest first, and how many pass."""
        if not self._has_state():
            return [], 0
        from kneo_serv.platform.views import run_view

        records = self._manager.list_runs(limit=limit, offset=offset, filters=filters)
        return [dict(run_view(record)) for record in records], self._manager.count_runs(filters=filters)

    def trace(self, run_id: str) -> list[Answer]:
        """The time line of a run."""
        return list(self._keeper("run", run_id).get_trace(run_id))

    def checkpoints(self, run_id: str) -> list[Answer]:
        """The checkpoints of a run."""
        return [dict(checkpoint.to_dict()) for checkpoint in self._keeper("run", run_id).list_checkpoints(run_id)]

    def replay(self, run_id: str) -> Answer:
        """What a continuation would know of a run."""
        return dict(self._keeper("run", run_id).replay_view(run_id))

    def checkpoint_diff(self, run_id: str, *, from_sequence: int | None, to_sequence: int | None) -> Answer:
        """What changed between two checkpoints."""
        return dict(
            self._keeper("run", run_id).checkpoint_diff(run_id, from_sequence=from_sequence, to_sequence=to_sequence)
        )

    def list_tasks(self, *, limit: int) -> list[Answer]:
        """Open human tasks."""
        return list(self._manager.list_human_tasks(limit=limit)) if self._has_state() else []

    def get_task(self, continuation_id: str) -> Answer:
        """What one human task asks."""
        return dict(self._keeper("human task", continuation_id).get_human_task(continuation_id))

    def list_audit(self, *, run_id: str | None, event_type: str | None, limit: int) -> tuple[list[Answer], int]:
        """Some of the audit's events, newest first, and how many there are."""
        if not self._has_state():
            return [], 0
        from kneo_serv.platform.views import audit_view

        events = self._manager.list_audit_events(run_id=run_id, event_type=event_type, limit=limit)
        total = self._manager.count_audit_events(run_id=run_id, event_type=event_type)
        return [dict(audit_view(event)) for event in events], total

    def check_journals(self, *, limit: int | None) -> list[Answer]:
        """What is wrong with the journals of the newest runs."""
        if not self._has_state():
            return []
        return [asdict(finding) for finding in self._manager.check_journals(limit=limit)]

    def limits(self) -> Answer:
        """The limits that hold for all workers."""
        return dict(self._manager.get_limits().to_dict()) if self._has_state() else {}

    def set_limits(self, limits: Any) -> Answer:
        """Sets them all, and gives them back."""
        return dict(self._manager.set_limits(limits)[1].to_dict())

    def providers(self) -> list[Answer]:
        """The providers that failed lately, are paused, or are bounded."""
        return self._manager.list_providers() if self._has_state() else []

    def pause_provider(self, name: str, reason: str | None) -> Answer:
        """Has nobody ask it."""
        return self._manager.pause_provider(name, reason=reason)

    def resume_provider(self, name: str) -> Answer:
        """Has it asked again."""
        return self._manager.resume_provider(name)

    def prune(self, policy: "RetentionPolicy | None", *, dry_run: bool) -> Answer:
        """Removes what is older than is kept, ends what is overdue, and says how much of each that was."""
        from kneo_serv.platform.retention import RetentionReport

        if not self._has_state():
            return {"expired_human_tasks": 0, "timed_out_runs": 0, **RetentionReport().to_dict()}
        # What continues after a deadline is executed here.
        manager = self._executor
        overdue = manager.overdue() if dry_run else (
            manager.prune_expired_human_tasks(), manager.prune_timed_out_runs()
        )  # fmt: skip
        report = manager.prune_retention(policy, dry_run=dry_run)
        return {"expired_human_tasks": overdue[0], "timed_out_runs": overdue[1], **report.to_dict()}

    def export_run(self, run_id: str, *, private: bool) -> Iterator[str]:
        """A run as lines of JSON."""
        return self._keeper("run", run_id).export_run(run_id, private=private)

    def delete_run(self, run_id: str) -> None:
        """Removes a run that has ended."""
        self._keeper("run", run_id).delete_run(run_id)

    def list_schedules(self) -> list[Answer]:
        """All schedules, by name."""
        if not self._has_state():
            return []
        from kneo_serv.platform.views import schedule_view

        return [schedule_view(schedule) for schedule in self._manager.list_schedules(tenant=None)]

    def create_schedule(self, order: ScheduleOrder) -> Answer:
        """Makes a schedule, and shows it."""
        document = self._finished(order.spec, order.overlays)
        self._executor.create_schedule(
            order.name,
            cron=order.cron,
            timezone=order.timezone,
            at=order.at,
            spec_path=str(order.spec) if document is None else None,
            spec=document,
            input_text=order.input_text,
            overlays=self._workspace.overlays(order.overlays) if document is None else (),
            environment=self._workspace.environment,
            target=order.target,
            session_id=order.session_id,
            tags=order.tags,
            timeout_seconds=order.timeout_seconds,
            overlap=order.overlap,
            catch_up=order.catch_up,
            jitter_seconds=order.jitter_seconds,
            paused=order.paused,
        )
        return self.get_schedule(order.name)

    def get_schedule(self, name: str, *, moments: int = 5) -> Answer:
        """One schedule, with its next moments."""
        from kneo_serv.platform.views import schedule_view
        from kneo_serv.platform.views.bounds import iso

        manager = self._keeper("schedule", name)
        shown = schedule_view(manager.get_schedule(name), whole=True)
        return {**shown, "next_moments": [iso(moment) for moment in manager.next_moments(name, count=moments)]}

    def pause_schedule(self, name: str) -> Answer:
        """Keeps no moment of a schedule any more, and shows it."""
        self._keeper("schedule", name).pause_schedule(name)
        return self.get_schedule(name)

    def resume_schedule(self, name: str) -> Answer:
        """Goes on with a schedule, and shows it."""
        self._keeper("schedule", name).resume_schedule(name)
        return self.get_schedule(name)

    def delete_schedule(self, name: str) -> None:
        """Removes a schedule."""
        self._keeper("schedule", name).delete_schedule(name)

    def trigger_schedule(self, name: str, listener: "Listener") -> Answer:
        """Runs what a schedule runs now, and waits until it rests or ends."""
        manager = self._mover("schedule", name)
        return self._rested(manager.execute_run(manager.trigger_schedule(name), **_told(listener)), listener)


def _told(listener: "Listener") -> dict[str, Any]:
    return {"on_event": listener.on_event, "on_text": listener.on_text}
