"""Schedules: a spec that is to be run at moments of the calendar, or once at one moment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from kneo_serv.model.ids import RunId


class Overlap(StrEnum):
    """What becomes of a moment at which the schedule's last run has not ended."""

    SKIP = "skip"
    """It passes without a run."""
    QUEUE = "queue"
    """Its run begins when the last one has ended; what comes due meanwhile has been missed."""
    ALLOW = "allow"
    """Its run begins beside the last one."""
    CANCEL_PREVIOUS = "cancel_previous"
    """The last one is cancelled, then its run begins."""


class CatchUp(StrEnum):
    """What becomes of moments that nobody was there to keep."""

    NONE = "none"
    """They pass without a run."""
    ONE = "one"
    """The latest of them gets a run."""
    ALL = "all"
    """Each of them gets a run, as far as they are not too many; then the latest ones."""


class Outcome(StrEnum):
    """What came of the last moment of a schedule."""

    STARTED = "started"
    """A run was taken in. How it went, the run says."""
    SKIPPED = "skipped"
    """The last run had not ended."""
    MISSED = "missed"
    """Nobody was there, and the schedule does not catch up."""
    FAILED = "failed"
    """No run could be taken in, for example since the spec has faults; `last_error` says why."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule as it stands. Moments are seconds since the epoch.

    Either `spec` (the document) or `spec_path` says what is run; either `cron` with a time zone or `at` says when. A
    relative `spec_path` lies in the folder for specs of whoever fires it.
    """

    name: str
    """Given once within a tenant."""
    created_at: float
    updated_at: float
    revision: int = 1
    """Grows with every change."""
    tenant: str | None = None
    created_by: str | None = None
    input_text: str = ""
    spec: Mapping[str, Any] | None = None
    spec_path: str | None = None
    overlays: tuple[str, ...] = ()
    environment: str | None = None
    target: str = "workflow"
    session_id: str | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    timeout_seconds: float | None = None
    """Deadline of each run, from its creation."""
    cron: str | None = None
    timezone: str = "UTC"
    at: float | None = None
    overlap: Overlap = Overlap.SKIP
    catch_up: CatchUp = CatchUp.ONE
    jitter_seconds: float = 0.0
    """Each moment is kept up to so much later, by chance."""
    paused: bool = False
    next_due_at: float | None = None
    """The next moment; None when there is none, or the schedule is paused."""
    look_at: float | None = None
    """When the next moment is to be kept: `next_due_at`, or later."""
    last_due_at: float | None = None
    last_fired_at: float | None = None
    last_run_id: RunId | None = None
    last_outcome: Outcome | None = None
    last_error: str | None = None
    """Why no run could be taken in; without secrets."""
    missed: int = 0
    """Moments that passed without a run, since the schedule was made."""
    runs: int = 0
    """Runs that it has taken in."""
