"""What answers the commands. All answers are JSON values, so that a service can answer as well as this process."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from kneo_serv.model.page import RunFilter
from kneo_serv.model.task import HumanResponse

if TYPE_CHECKING:
    from kneo_serv.cli.following import Listener
    from kneo_serv.platform.retention import RetentionPolicy

type Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RunOrder:
    """What is to be run: a spec with what was laid over it. `timeout_seconds` counts from the run's start."""

    spec: Path
    input_text: str
    target: str
    overlays: Sequence[Path] = ()
    timeout_seconds: float | None = None
    session_id: str | None = None
    tags: tuple[str, ...] = ()
    queue: str | None = None
    priority: int | None = None
    trace: Mapping[str, str] = field(default_factory=dict)
    """W3C trace context of who gives the order."""


@dataclass(frozen=True, slots=True)
class ScheduleOrder:
    """What is to be run by the calendar: a spec with what was laid over it; by `cron`, or once at `at` (epoch)."""

    name: str
    spec: Path
    input_text: str
    target: str
    cron: str | None = None
    timezone: str = "UTC"
    at: float | None = None
    overlays: Sequence[Path] = ()
    timeout_seconds: float | None = None
    session_id: str | None = None
    tags: tuple[str, ...] = ()
    overlap: str = "skip"
    catch_up: str = "one"
    jitter_seconds: float = 0.0
    paused: bool = False


@dataclass(frozen=True, slots=True)
class ForkOrder:
    """What is to be run anew from one of a run's checkpoints, and what is to be other than it was there.

    `at_sequence` None is the last checkpoint that can be gone on from; with `retry`, the last one before the failure.
    """

    run_id: str
    at_sequence: int | None = None
    retry: bool = False
    input_text: str | None = None
    answer: HumanResponse | None = None
    model: Mapping[str, Any] | None = None
    accept_side_effects: bool = False


class Backend(Protocol):
    """Runs and people's tasks, wherever they are kept."""

    def run(self, order: RunOrder, listener: "Listener") -> Answer:
        """Starts a run and waits until it rests or ends."""
        ...

    def continue_run(self, run_id: str, listener: "Listener") -> Answer:
        """Takes a failed run up after its last finished step."""
        ...

    def preview_fork(self, run_id: str, at_sequence: int | None) -> Answer:
        """What a fork would keep, and what it may do once more."""
        ...

    def fork(self, order: ForkOrder, listener: "Listener") -> Answer:
        """Starts a run from the middle of another one, and waits until it rests or ends."""
        ...

    def resume(self, continuation_id: str, response: HumanResponse, listener: "Listener") -> Answer:
        """Answers a human task; the run goes on from there."""
        ...

    def cancel(self, run_id: str) -> Answer:
        """Ends a run early, and shows it."""
        ...

    def get_run(self, run_id: str) -> Answer:
        """One run."""
        ...

    def list_runs(self, filters: RunFilter, *, limit: int, offset: int) -> tuple[list[Answer], int]:
        """Some of the runs that pass the filter, newest first, and how many pass."""
        ...

    def trace(self, run_id: str) -> list[Answer]:
        """The time line of a run."""
        ...

    def checkpoints(self, run_id: str) -> list[Answer]:
        """The checkpoints of a run."""
        ...

    def replay(self, run_id: str) -> Answer:
        """What a continuation would know of a run."""
        ...

    def checkpoint_diff(self, run_id: str, *, from_sequence: int | None, to_sequence: int | None) -> Answer:
        """What changed between two checkpoints."""
        ...

    def list_tasks(self, *, limit: int) -> list[Answer]:
        """Open human tasks."""
        ...

    def get_task(self, continuation_id: str) -> Answer:
        """What one human task asks."""
        ...

    def list_audit(self, *, run_id: str | None, event_type: str | None, limit: int) -> tuple[list[Answer], int]:
        """Some of the audit's events, newest first, and how many there are."""
        ...

    def check_journals(self, *, limit: int | None) -> list[Answer]:
        """What is wrong with the journals of the newest runs."""
        ...

    def limits(self) -> Answer:
        """The limits that hold for all workers."""
        ...

    def set_limits(self, limits: Any) -> Answer:
        """Sets them all, and gives them back."""
        ...

    def providers(self) -> list[Answer]:
        """The providers that failed lately, are paused, or are bounded."""
        ...

    def pause_provider(self, name: str, reason: str | None) -> Answer:
        """Has nobody ask it."""
        ...

    def resume_provider(self, name: str) -> Answer:
        """Has it asked again."""
        ...

    def prune(self, policy: "RetentionPolicy | None", *, dry_run: bool) -> Answer:
        """Removes what is older than is kept, ends what is overdue, and says how much of each that was."""
        ...

    def export_run(self, run_id: str, *, private: bool) -> Iterator[str]:
        """A run as lines of JSON."""
        ...

    def delete_run(self, run_id: str) -> None:
        """Removes a run that has ended."""
        ...

    def list_schedules(self) -> list[Answer]:
        """All schedules, by name."""
        ...

    def create_schedule(self, order: ScheduleOrder) -> Answer:
        """Makes a schedule, and shows it."""
        ...

    def get_schedule(self, name: str, *, moments: int = 5) -> Answer:
        """One schedule, with its next moments (`next_moments`)."""
        ...

    def pause_schedule(self, name: str) -> Answer:
        """Keeps no moment of a schedule any more, and shows it."""
        ...

    def resume_schedule(self, name: str) -> Answer:
        """Goes on with a schedule, and shows it."""
        ...

    def delete_schedule(self, name: str) -> None:
        """Removes a schedule."""
        ...

    def trigger_schedule(self, name: str, listener: "Listener") -> Answer:
        """Runs what a schedule runs now, and waits until it rests or ends."""
        ...
