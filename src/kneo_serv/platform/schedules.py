"""Schedules: each moment gets its run once, whoever fires it."""

import logging
import math
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from kneo_serv.errors import (
    InvalidRequestError,
    KneoError,
    NotFoundError,
    PlatformClosedError,
    QueueFullError,
    ScheduleExistsError,
    StoreError,
)
from kneo_serv.model.audit import AuditEvent
from kneo_serv.model.clock import Clock
from kneo_serv.model.idempotency import IdempotencyKey
from kneo_serv.model.ids import RunId
from kneo_serv.model.run import RunRecord
from kneo_serv.model.schedule import CatchUp, Outcome, Overlap, Schedule
from kneo_serv.observe import redact_error
from kneo_serv.platform.auditing import AuditIds, audit_event
from kneo_serv.platform.cron import Cron
from kneo_serv.platform.once import as_it_is, once
from kneo_serv.platform.submission import Submission
from kneo_serv.platform.timekeeper import BATCH, PutOff
from kneo_serv.platform.views.bounds import iso
from kneo_serv.spec import confine_spec_path
from kneo_serv.store.contract import NewRun, ScheduleChange, Store
from kneo_serv.tools import HandlerPool

log = logging.getLogger("kneo_serv.platform")

GRACE = 60.0
"""Seconds after which a moment counts as missed where a schedule does not catch up."""
MOST_CAUGHT_UP = 100
"""Moments that are caught up with at most; of more, the latest."""
_MOST_JITTER = 3600.0
_ATTEMPTS = 10
_COMPILES_AT_ONCE = 4
_LONGEST_COMPILE = 60.0
_LONGEST_NAME = 128


class TakeIn(Protocol):
    """Takes a run in, in one transaction with the change of its schedule."""

    async def __call__(
        self,
        submission: Submission,
        change: Callable[[NewRun], ScheduleChange],
        *,
        key: IdempotencyKey | None = None,
    ) -> RunId | None:
        """The run; None when the schedule stood elsewhere. Raises QueueFullError and as `Store.create`."""
        ...


class Schedules:
    """Makes, changes and keeps schedules. `prepare` compiles what one of them runs; it blocks."""

    def __init__(
        self,
        store: Store,
        *,
        ids: AuditIds,
        clock: Clock,
        take_in: TakeIn,
        run: Callable[[RunId], Awaitable[RunRecord | None]],
        cancel: Callable[[RunId], Awaitable[object]],
        spec_root: Path | None = None,
    ) -> None:
        self._store = store
        self._ids = ids
        self._take_in = take_in
        self._run = run
        self._cancel = cancel
        self._spec_root = spec_root
        self._put_off = PutOff(clock, longest=5.0)
        # Threads of its own: tools at work hold up no moment, and an import that hangs holds up no other schedule.
        self._pool = HandlerPool(size=_COMPILES_AT_ONCE, max_abandoned=_COMPILES_AT_ONCE)
        self.prepare: Callable[[Schedule], Submission] | None = None

    def close(self) -> None:
        """Compiles nothing any more."""
        self._pool.close()

    async def create(self, schedule: Schedule, *, actor: str | None = None) -> Schedule:
        """Makes a schedule; it begins with the next moment from now on.

        Raises:
            InvalidRequestError: it cannot be kept as it is.
            ScheduleExistsError: there is one of this name.
        """
        check(schedule)
        now = await self._store.now()
        made = planned(replace(schedule, created_at=now, updated_at=now, created_by=actor, revision=1), now)
        audit = self._audit("schedule.created", made, now, actor, told(made))
        if not await self._store.change_schedule(ScheduleChange(made.name, made.tenant, 0, made, audit=audit)):
            raise ScheduleExistsError(made.name)
        return made

    async def update(
        self, name: str, tenant: str | None, changes: Mapping[str, Any], *, actor: str | None = None
    ) -> Schedule:
        """Changes fields of a schedule. Raises NotFoundError, InvalidRequestError."""

        def make(schedule: Schedule, now: float) -> Schedule:
            changed = replace(schedule, **changes)
            check(changed)
            timing = ("cron", "timezone", "at", "jitter_seconds")
            same = all(getattr(changed, field) == getattr(schedule, field) for field in timing)
            return changed if same else planned(changed, now)

        return await self._change(name, tenant, "schedule.updated", make, actor, {"fields": sorted(changes)})

    async def pause(self, name: str, tenant: str | None, *, actor: str | None = None) -> Schedule:
        """No moment is kept any more until it is resumed; runs that have begun go on. Raises NotFoundError."""

        def make(schedule: Schedule, now: float) -> Schedule:
            return schedule if schedule.paused else replace(schedule, paused=True, next_due_at=None, look_at=None)

        return await self._change(name, tenant, "schedule.paused", make, actor)

    async def resume(self, name: str, tenant: str | None, *, actor: str | None = None) -> Schedule:
        """Goes on with the next moment from now on; those of the pause are not caught up with.

        Raises:
            NotFoundError: there is no such schedule.
            InvalidRequestError: its only moment has passed during the pause.
        """

        def make(schedule: Schedule, now: float) -> Schedule:
            return planned(replace(schedule, paused=False), now) if schedule.paused else schedule

        return await self._change(name, tenant, "schedule.resumed", make, actor)

    async def delete(self, name: str, tenant: str | None, *, actor: str | None = None) -> None:
        """Removes a schedule; its runs stay. Raises NotFoundError."""
        for _ in range(_ATTEMPTS):
            schedule = await self.get(name, tenant)
            audit = self._audit("schedule.deleted", schedule, await self._store.now(), actor)
            change = ScheduleChange(name, tenant, schedule.revision, None, audit=audit)
            if await self._store.change_schedule(change):
                return
        raise StoreError(f"The schedule {name!r} changes all the time; try it again.")

    async def get(self, name: str, tenant: str | None) -> Schedule:
        """One schedule. Raises NotFoundError."""
        schedule = await self._store.get_schedule(name, tenant=tenant)
        if schedule is None:
            raise NotFoundError("schedule", name)
        return schedule

    async def trigger(
        self, name: str, tenant: str | None, *, actor: str | None = None, key: IdempotencyKey | None = None
    ) -> RunId:
        """Takes a run in now, whatever the schedule's moments are and though it may be paused.

        A key that stands for this already gives the run of then.

        Raises:
            NotFoundError: there is no such schedule.
            KneoError: its spec cannot be run, or no more runs are taken in; nothing was changed.
        """
        return await once(self._store, key, lambda: self._trigger(name, tenant, actor, key), as_it_is)

    async def _trigger(self, name: str, tenant: str | None, actor: str | None, key: IdempotencyKey | None) -> RunId:
        for _ in range(_ATTEMPTS):
            schedule = await self.get(name, tenant)
            now = await self._store.now()
            submission = await self._prepared(schedule, now, actor or schedule.created_by)

            def change(new: NewRun, schedule: Schedule = schedule, now: float = now) -> ScheduleChange:
                after = replace(_ran(schedule, new.record.id, now), revision=schedule.revision + 1)
                audit = self._audit("schedule.triggered", after, now, actor, run_id=new.record.id)
                return ScheduleChange(name, tenant, schedule.revision, after, new, audit)

            run_id = await self._take_in(submission, change, key=key)
            if run_id is not None:
                return run_id
        raise StoreError(f"The schedule {name!r} changes all the time; try it again.")

    async def work(self) -> float | None:
        """Keeps a batch of moments that have come; when the next one does."""
        limit = BATCH + len(self._put_off)
        due = list(await self._store.due_schedules(limit=limit))
        self._put_off.keep_only([_place(schedule) for schedule in due])
        ready = [schedule for schedule in due if not self._put_off.waits(_place(schedule))][:BATCH]
        random.shuffle(ready)
        for schedule in ready:
            try:
                kept = await self.fire(schedule)
            except StoreError:
                raise
            except Exception:
                # One schedule must not keep the others from their moments.
                log.exception("schedule %s cannot be kept just now", schedule.name)
                kept = False
            if not kept:
                self._put_off.add(_place(schedule))
        if ready and len(due) >= limit:
            return 0.0
        waiting = await self._store.due_schedules(now=math.inf, limit=len(due) + 1)
        now = await self._store.now()
        return next((one.look_at for one in waiting if one.look_at is not None and one.look_at > now), None)

    async def fire(self, schedule: Schedule, *, now: float | None = None) -> bool:
        """Keeps what has come of a schedule until `now`; False when it waits, or another process was faster."""
        moment = await self._store.now() if now is None else now
        chosen, passed, after = following(schedule, moment)
        if after is schedule:
            return False
        if chosen is None:
            after = replace(after, last_outcome=Outcome.MISSED, missed=schedule.missed + passed)
            return await self._move(schedule, after, moment, "schedule.missed", {"missed": passed})
        after = replace(after, last_due_at=chosen, missed=schedule.missed + passed)
        facts = {"due_at": iso(chosen), **({"missed": passed} if passed else {})}
        if (previous := await self._unfinished(schedule)) is not None:
            match schedule.overlap:
                case Overlap.QUEUE:
                    return False
                case Overlap.SKIP:
                    skipped = replace(after, last_outcome=Outcome.SKIPPED, missed=after.missed + 1)
                    return await self._move(
                        schedule, skipped, moment, "schedule.skipped", {**facts, "unfinished_run_id": previous}
                    )
                case Overlap.CANCEL_PREVIOUS:
                    await self._cancel(previous)
                case Overlap.ALLOW:
                    pass
        try:
            submission = await self._prepared(schedule, chosen, f"schedule:{schedule.name}")
            return await self._start(schedule, after, submission, moment, facts)
        except QueueFullError:
            # Not lost: it is taken in when there is room again.
            return False
        except (StoreError, PlatformClosedError):
            raise
        except Exception as error:  # noqa: BLE001 - what the spec's own code raises is an outcome of this schedule
            reason = error.message if isinstance(error, KneoError) else f"{type(error).__name__}: {error}"
            reason = redact_error(_without_paths(reason, schedule, self._spec_root))[:2000]
            failed = replace(after, last_outcome=Outcome.FAILED, last_error=reason, last_fired_at=moment)
            log.warning("schedule %s could not start a run: %s", schedule.name, reason)
            return await self._move(schedule, failed, moment, "schedule.failed", {**facts, "error": reason})

    async def _start(
        self, schedule: Schedule, after: Schedule, submission: Submission, now: float, facts: Mapping[str, Any]
    ) -> bool:
        def change(new: NewRun) -> ScheduleChange:
            moved = replace(_ran(after, new.record.id, now), revision=schedule.revision + 1)
            audit = self._audit("schedule.fired", moved, now, None, facts, run_id=new.record.id)
            return ScheduleChange(schedule.name, schedule.tenant, schedule.revision, moved, new, audit)

        return await self._take_in(submission, change) is not None

    async def _move(
        self, schedule: Schedule, after: Schedule, now: float, event: str, facts: Mapping[str, Any]
    ) -> bool:
        moved = replace(after, revision=schedule.revision + 1)
        audit = self._audit(event, moved, now, None, facts)
        change = ScheduleChange(schedule.name, schedule.tenant, schedule.revision, moved, audit=audit)
        return await self._store.change_schedule(change)

    async def _change(
        self,
        name: str,
        tenant: str | None,
        event: str,
        make: Callable[[Schedule, float], Schedule],
        actor: str | None,
        facts: Mapping[str, Any] | None = None,
    ) -> Schedule:
        for _ in range(_ATTEMPTS):
            schedule = await self.get(name, tenant)
            now = await self._store.now()
            made = make(schedule, now)
            if made is schedule:
                return schedule
            changed = replace(made, updated_at=now, revision=schedule.revision + 1)
            audit = self._audit(event, changed, now, actor, facts)
            if await self._store.change_schedule(ScheduleChange(name, tenant, schedule.revision, changed, audit=audit)):
                return changed
        raise StoreError(f"The schedule {name!r} changes all the time; try it again.")

    async def _unfinished(self, schedule: Schedule) -> RunId | None:
        if schedule.overlap is Overlap.ALLOW or schedule.last_run_id is None:
            return None
        record = await self._run(schedule.last_run_id)
        return None if record is None or record.status.is_terminal else record.id

    async def _prepared(self, schedule: Schedule, due_at: float, actor: str | None) -> Submission:
        if self.prepare is None:
            raise InvalidRequestError("This platform has no compiler, so that it cannot run what a schedule names.")
        made: Submission = await self._pool.run(
            self.prepare, schedule, timeout=_LONGEST_COMPILE, name=f"compiling schedule {schedule.name}"
        )
        metadata = {**made.metadata, "schedule": {"name": schedule.name, "due_at": iso(due_at)}}
        return replace(made, metadata=metadata, actor=actor, tenant=schedule.tenant)

    def _audit(
        self,
        event: str,
        schedule: Schedule,
        now: float,
        actor: str | None,
        facts: Mapping[str, Any] | None = None,
        *,
        run_id: RunId | None = None,
    ) -> tuple[AuditEvent, ...]:
        metadata = {"schedule": schedule.name, **(facts or {})}
        return (audit_event(self._ids, event, now, run_id, None, actor, metadata, tenant=schedule.tenant),)


def check(schedule: Schedule) -> None:
    """Refuses a schedule that could not be kept, with InvalidRequestError that says what would do."""
    name = schedule.name
    legal = name.isascii() and all(letter.isalnum() or letter in "._-" for letter in name)
    if not name or len(name) > _LONGEST_NAME or not legal or not name[0].isalnum():
        raise InvalidRequestError(
            f"{name[:_LONGEST_NAME]!r} is no name for a schedule: use up to {_LONGEST_NAME} letters, digits, dots, "
            "hyphens and underlines, the first one a letter or digit."
        )
    if (schedule.spec is None) == (schedule.spec_path is None):
        raise InvalidRequestError("A schedule runs either spec or spec_path; give one of them.")
    if (schedule.cron is None) == (schedule.at is None):
        raise InvalidRequestError("A schedule has either cron or at; give one of them.")
    if not 0 <= schedule.jitter_seconds <= _MOST_JITTER:
        raise InvalidRequestError(f"jitter_seconds is a number from 0 to {_MOST_JITTER:g}.")
    if schedule.timeout_seconds is not None and not schedule.timeout_seconds > 0:
        raise InvalidRequestError(f"timeout_seconds must be above 0, not {schedule.timeout_seconds!r}.")
    if schedule.cron is not None:
        Cron(schedule.cron, schedule.timezone)


def planned(schedule: Schedule, now: float) -> Schedule:
    """The schedule before its first moment from now on. Raises InvalidRequestError when its only one has passed."""
    if schedule.paused:
        return replace(schedule, next_due_at=None, look_at=None)
    if schedule.at is not None and schedule.at <= now:
        raise InvalidRequestError(f"The moment {iso(schedule.at)} has passed; a schedule needs one that is to come.")
    due = schedule.at if schedule.cron is None else Cron(schedule.cron, schedule.timezone).after(now)
    return _due(schedule, due, now)


def moments(schedule: Schedule, now: float, count: int) -> list[float]:
    """The next moments of a schedule, as if it were not paused."""
    if schedule.cron is None:
        return [schedule.at] if schedule.at is not None and schedule.at > now else []
    cron = Cron(schedule.cron, schedule.timezone)
    found: list[float] = []
    at: float | None = now
    while len(found) < count and at is not None and (at := cron.after(at)) is not None:
        found.append(at)
    return found


def following(schedule: Schedule, now: float) -> tuple[float | None, int, Schedule]:
    """The moment that is to be kept now, how many pass without a run, and the schedule before its next one.

    Where nothing has come yet, it is the very same schedule.
    """
    due = schedule.next_due_at
    if due is None or due > now:
        return None, 0, schedule
    if schedule.cron is None:
        come, coming = [due], None
    else:
        cron = Cron(schedule.cron, schedule.timezone)
        # The zone may have got other rules since the moment was computed; it stands all the same.
        come = cron.latest(now, since=due, at_most=MOST_CAUGHT_UP) or [due]
        coming = cron.after(now)
    match schedule.catch_up:
        case CatchUp.ALL:
            rest = come[1] if len(come) > 1 else coming
            return come[0], 0, _due(schedule, rest, now)
        case CatchUp.ONE:
            return come[-1], len(come) - 1, _due(schedule, coming, now)
        case CatchUp.NONE:
            in_time = now - come[-1] <= GRACE + schedule.jitter_seconds
            chosen = come[-1] if in_time else None
            return chosen, len(come) - (1 if in_time else 0), _due(schedule, coming, now)


def told(schedule: Schedule) -> dict[str, Any]:
    """What the audit says of a new schedule."""
    return {
        "cron": schedule.cron,
        "timezone": schedule.timezone,
        "at": iso(schedule.at),
        "spec_path": schedule.spec_path,
        "inline_spec": schedule.spec_path is None,
        "environment": schedule.environment,
        "target": schedule.target,
        "overlap": schedule.overlap.value,
        "catch_up": schedule.catch_up.value,
    }


def _due(schedule: Schedule, due: float | None, now: float) -> Schedule:
    if due is None:
        return replace(schedule, next_due_at=None, look_at=None)
    spread = random.uniform(0, schedule.jitter_seconds) if due > now else 0.0  # noqa: S311 - spreads, guards nothing
    return replace(schedule, next_due_at=due, look_at=due + spread)


def _ran(schedule: Schedule, run_id: RunId, now: float) -> Schedule:
    return replace(
        schedule,
        last_fired_at=now,
        last_run_id=run_id,
        last_outcome=Outcome.STARTED,
        last_error=None,
        runs=schedule.runs + 1,
    )


def _place(schedule: Schedule) -> tuple[str, str | None, int]:
    return schedule.name, schedule.tenant, schedule.revision


def located(schedule: Schedule, root: Path | None) -> tuple[str | None, list[str]]:
    """Where the schedule's spec and overlays are: relative ones lie in the folder for specs (None: where we are).

    Raises:
        SpecPathConfinementError: a relative path leads out of the folder.
    """
    folder = Path.cwd() if root is None else root

    def find(path: str) -> str:
        return path if Path(path).is_absolute() else str(confine_spec_path(path, folder))

    return (
        None if schedule.spec_path is None else find(schedule.spec_path),
        [find(overlay) for overlay in schedule.overlays],
    )


def _without_paths(text: str, schedule: Schedule, root: Path | None) -> str:
    """The text with relative paths as they were given, so that the folders of this machine are not told."""
    folder = (Path.cwd() if root is None else root).resolve()
    for path in (schedule.spec_path, *schedule.overlays):
        if path is not None and not Path(path).is_absolute():
            text = text.replace(str(folder / path), path)
    return text
