"""How long things are kept, and removing what is older."""

import asyncio
import logging
import math
import os
import stat
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

from kneo_serv.errors import SettingsError
from kneo_serv.model.run import TERMINAL, RunStatus
from kneo_serv.store.contract import RetentionCut, Store

log = logging.getLogger("kneo_serv.platform")

_DAY = 86_400.0
_MOST_DAYS = 36_500.0
_PREFIX = "KNEO_SERV_RETENTION_"
_QUEUE_STATUSES = ("completed", "failed")


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """Days for which each sort of record is kept; None keeps it for ever. Only what has ended is ever removed.

    Removing the events of a run takes its checkpoints, trace and replay with them; the run's row stays.
    """

    runs_days: float | None = None
    checkpoints_days: float | None = None
    queue_days: float | None = None
    """Taken for the sake of older configurations: the queue is the runs themselves, so there is nothing to remove."""
    continuations_days: float | None = None
    audit_days: float | None = None
    idempotency_days: float | None = None
    """A key may be used anew after so many days, and its request is done anew then."""
    artifacts_days: float | None = None
    """Files under `artifact_path`, by their last change."""
    logs_days: float | None = None
    """Files under `log_path`, by their last change."""
    run_statuses: tuple[RunStatus, ...] = tuple(sorted(TERMINAL))
    queue_statuses: tuple[str, ...] = _QUEUE_STATUSES
    artifact_path: Path | None = None
    log_path: Path | None = None
    interval_seconds: float = 3600.0
    """How often the timekeeper applies it."""

    @property
    def keeps_all(self) -> bool:
        """Whether nothing ever goes."""
        return all(getattr(self, name) is None for name in DAYS)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ, *, base: Self | None = None) -> Self:
        """What the environment says (`KNEO_SERV_RETENTION_RUNS_DAYS` and so on), over what `base` says.

        Raises:
            SettingsError: values that are not allowed; all of them are named at once.
        """
        values: dict[str, Any] = {}
        faults: list[tuple[str, str]] = []
        for name, variable, read, allowed in _VARIABLES:
            text = environ.get(variable, "").strip()
            if not text:
                continue
            try:
                values[name] = read(text)
            except ValueError:
                faults.append((variable, f"{text[:60]!r} is not allowed; it must be {allowed}."))
        if faults:
            (variable, problem), *others = faults
            raise SettingsError(variable, "\n".join([problem, *(f"{name}: {text}" for name, text in others)]))
        return replace(base or cls(), **values)


DAYS = tuple(one.name for one in fields(RetentionPolicy) if one.name.endswith("_days"))
"""The fields of a policy that say how long something is kept."""


def _days(text: str) -> float:
    value = float(text)
    if "_" in text or not math.isfinite(value) or not 0 <= value <= _MOST_DAYS:
        raise ValueError(text)
    return value


def _interval(text: str) -> float:
    value = float(text)
    if "_" in text or not math.isfinite(value) or not 60 <= value <= _DAY:
        raise ValueError(text)
    return value


def _statuses(text: str) -> tuple[RunStatus, ...]:
    found = tuple(RunStatus(word.strip().lower()) for word in text.split(",") if word.strip())
    if not found or not TERMINAL.issuperset(found):
        raise ValueError(text)
    return found


def _queue_statuses(text: str) -> tuple[str, ...]:
    found = tuple(word.strip().lower() for word in text.split(",") if word.strip())
    if not found or not set(_QUEUE_STATUSES).issuperset(found):
        raise ValueError(text)
    return found


def _folder(text: str) -> Path:
    path = Path(text).expanduser().absolute()
    if path == Path(path.anchor):
        raise ValueError(text)
    return path


_VARIABLES: tuple[tuple[str, str, Callable[[str], Any], str], ...] = (
    *(
        (name, f"{_PREFIX}{name.upper()}", _days, f"a number of days from 0 to {_MOST_DAYS:g} (0: all that has ended)")
        for name in DAYS
    ),
    ("run_statuses", f"{_PREFIX}RUN_STATUSES", _statuses, f"some of {', '.join(sorted(TERMINAL))}, with commas"),
    ("queue_statuses", f"{_PREFIX}QUEUE_STATUSES", _queue_statuses, f"some of {', '.join(_QUEUE_STATUSES)}"),
    ("interval_seconds", f"{_PREFIX}INTERVAL_SECONDS", _interval, "a number of seconds from 60 to 86400"),
    ("artifact_path", "KNEO_SERV_ARTIFACT_PATH", _folder, "the path of a folder, and not the root of a disk"),
    ("log_path", "KNEO_SERV_LOG_PATH", _folder, "the path of a folder, and not the root of a disk"),
)
VARIABLES = tuple(variable for _, variable, _, _ in _VARIABLES)
"""Every variable that a policy is read from."""


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


async def apply_retention(store: Store, policy: RetentionPolicy, *, dry_run: bool = False) -> RetentionReport:
    """Removes what is older than the policy keeps; with `dry_run`, only tells how much that would be now.

    Files are compared with this machine's clock, all else with the store's. Raises RuntimeError as `cut_of`.
    """
    pruned = await store.prune(cut_of(policy, await store.now()), dry_run=dry_run)
    report = RetentionReport(
        runs=pruned.runs,
        checkpoints=pruned.events,
        continuations=pruned.tasks,
        audit_events=pruned.audit,
        idempotency_records=pruned.keys,
    )
    return await _with_files(report, policy, dry_run=dry_run)


async def _with_files(report: RetentionReport, policy: RetentionPolicy, *, dry_run: bool = False) -> RetentionReport:
    artifacts = await _old_files(policy.artifact_path, policy.artifacts_days, dry_run)
    logs = await _old_files(policy.log_path, policy.logs_days, dry_run)
    return replace(report, artifacts=artifacts, logs=logs)


async def _old_files(folder: Path | None, days: float | None, dry_run: bool) -> int:
    if folder is None or days is None:
        return 0
    return await asyncio.to_thread(remove_files, folder, time.time() - days * _DAY, dry_run=dry_run)


def remove_files(folder: Path, before: float, *, dry_run: bool = False) -> int:
    """Removes files under the folder that were last changed before, then folders that this left empty; how many files.

    Links are never followed, and what cannot be removed is logged and stays.
    """
    gone = 0
    if folder.is_symlink() or not folder.is_dir():
        return gone
    for place, folders, names in os.walk(folder, topdown=False, followlinks=False):
        removed = 0
        for name in names:
            path = Path(place, name)
            try:
                facts = path.lstat()
                if not stat.S_ISREG(facts.st_mode) or facts.st_mtime >= before:
                    continue
                if not dry_run:
                    path.unlink()
                removed += 1
            except FileNotFoundError:
                # Another process was faster.
                continue
            except OSError as error:
                log.warning("retention cannot remove %s: %s", path, error.strerror)
        gone += removed
        if not dry_run and (removed or folders) and Path(place) != folder:
            try:
                Path(place).rmdir()
            except OSError:
                # It holds something younger.
                continue
    return gone


class RetentionDuty:
    """Applies a policy every now and then: to the store by one process of all, to files by each on its own machine."""

    def __init__(
        self,
        store: Store,
        policy: RetentionPolicy,
        *,
        report: Callable[[RetentionReport], Awaitable[None]],
    ) -> None:
        self._store = store
        self._policy = policy
        self._report = report
        self._next = 0.0

    async def work(self) -> float | None:
        """Applies it when the time has come."""
        every = self._policy.interval_seconds
        now = await self._store.now()
        if self._policy.keeps_all or now < self._next <= now + every:
            return None
        self._next = now + every
        if await self._store.claim_duty("retention", every=every):
            await self._report(await apply_retention(self._store, self._policy))
        else:
            files = await _with_files(RetentionReport(), self._policy)
            if files != RetentionReport():
                await self._report(files)
        return None
