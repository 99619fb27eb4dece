"""How long things are kept."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from kneo_serv.model.run import TERMINAL, RunStatus
from kneo_serv.store.contract import RetentionCut

_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """Days for which each sort of record is kept; None keeps it for ever. Only what has ended is ever removed.

    Removing the events of a run takes its checkpoints, trace and replay with them; the run's row stays.
    """

    runs_days: float | None = None
    checkpoints_days: float | None = None
    continuations_days: float | None = None
    audit_days: float | None = None
    idempotency_days: float | None = None
    """A key may be used anew after so many days, and its request is done anew then."""
    run_statuses: tuple[RunStatus, ...] = tuple(sorted(TERMINAL))


@dataclass(frozen=True, slots=True)
class RetentionReport:
    """How many records of each sort were removed."""

    runs: int = 0
    checkpoints: int = 0
    queue_records: int = 0
    continuations: int = 0
    audit_events: int = 0
    idempotency_records: int = 0
    artifacts: int = 0
    logs: int = 0

    def to_dict(self) -> Mapping[str, int]:
        """The numbers by name."""
        return asdict(self)


def cut_of(policy: RetentionPolicy, now: float) -> RetentionCut:
    """The moments before which things go. Raises RuntimeError for a status that is not terminal."""
    live = [status for status in policy.run_statuses if status not in TERMINAL]
    if live:
        raise RuntimeError(f"Retention never removes runs that are {', '.join(live)}; name terminal statuses only.")

    def before(days: float | None) -> float | None:
        return None if days is None else now - days * _DAY

    return RetentionCut(
        runs_before=before(policy.runs_days),
        run_statuses=policy.run_statuses,
        events_before=before(policy.checkpoints_days),
        tasks_before=before(policy.continuations_days),
        audit_before=before(policy.audit_days),
        keys_before=before(policy.idempotency_days),
    )
