"""Calls about schedules."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kneo_serv.errors import InvalidRequestError
from kneo_serv.model.page import NO_TENANT
from kneo_serv.model.run import RunResult
from kneo_serv.model.schedule import CatchUp, Overlap, Schedule
from kneo_serv.platform.calls.runs import RunCalls
from kneo_serv.platform.platform import Platform
from kneo_serv.platform.schedules import check, located, moments
from kneo_serv.platform.submission import Submission
from kneo_serv.platform.timekeeper import BATCH

CHANGEABLE = (
    "input_text", "spec", "spec_path", "overlays", "environment", "target", "session_id", "tags", "metadata",
    "timeout_seconds", "cron", "timezone", "at", "overlap", "catch_up", "jitter_seconds",
)  # fmt: skip
"""What `update_schedule` may change."""


class ScheduleCalls(RunCalls):
    """Running specs at moments of the calendar."""

    async def _open(self) -> Platform:
        platform = await super()._open()
        platform.schedules.prepare = self.prepare_scheduled
        return platform

    def create_schedule(
        self,
        name: str,
        *,
        cron: str | None = None,
        timezone: str = "UTC",
        at: float | None = None,
        spec_path: str | Path | None = None,
        spec: Mapping[str, Any] | None = None,
        input_text: str = "",
        overlays: Sequence[str | Path] = (),
        environment: str | None = None,
        target: str = "workflow",
        session_id: str | None = None,
        tags: Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None,
        timeout_seconds: float | None = None,
        overlap: str = Overlap.SKIP,
        catch_up: str = CatchUp.ONE,
        jitter_seconds: float = 0.0,
        paused: bool = False,
        actor: str | None = None,
        tenant: str | None = None,
        in_spec_root: bool = False,
    ) -> Schedule:
        """Runs a spec from now on whenever `cron` says so, or once at `at` (seconds since the epoch).

        The spec is compiled now, so that its faults are told to you, and anew for each run, so that a mended file is
        what runs. Runs begin while a worker is started on the store, in this process or another one.

        Args:
            name: Given once within the tenant: letters, digits, dots, hyphens, underlines.
            cron: Five fields, or a word such as `@daily`.
            timezone: Zone of the IANA database that `cron` is meant in.
            at: The one moment, instead of `cron`.
            spec_path: File of the spec; it is kept as an absolute path.
            spec: The spec itself, instead of a file.
            input_text: What each run starts with.
            overlays: Files that are laid over the spec.
            environment: Environment of the runs.
            target: `workflow` or `agent`.
            session_id: Session that the runs belong to.
            tags: Tags of the runs.
            metadata: Caller's metadata of the runs.
            timeout_seconds: Deadline of each run.
            overlap: What becomes of a moment while the last run has not ended: `skip`, `queue`, `allow` or
                `cancel_previous`.
            catch_up: What becomes of moments at which nobody was there: `none`, `one` or `all`.
            jitter_seconds: Each moment is kept up to so much later, by chance.
            paused: Whether it waits for `resume_schedule`.
            actor: Who makes it.
            tenant: To whom it belongs, with its runs.
            in_spec_root: Whether the paths are relative to the folder for specs, and must lie in it.

        Raises:
            ScheduleExistsError: there is one of this name.
            InvalidRequestError: a value cannot be used.
            SpecCompilationError: the spec has faults; nothing is stored.
        """
        asked = Schedule(
            name=name,
            created_at=0.0,
            updated_at=0.0,
            tenant=tenant,
            input_text=input_text,
            spec=None if spec is None else dict(spec),
            spec_path=_path(spec_path, keep=in_spec_root),
            overlays=tuple(str(_path(one, keep=in_spec_root)) for one in overlays),
            environment=environment,
            target=target,
            session_id=session_id,
            tags=tuple(tags),
            metadata=dict(metadata or {}),
            timeout_seconds=timeout_seconds,
            cron=cron,
            timezone=timezone,
            at=at,
            overlap=_word(Overlap, "overlap", overlap),
            catch_up=_word(CatchUp, "catch_up", catch_up),
            jitter_seconds=jitter_seconds,
            paused=paused,
        )
        check(asked)
        self.prepare_scheduled(asked)
        return self._do(lambda platform: platform.schedules.create(asked, actor=actor))

    def update_schedule(
        self,
        name: str,
        *,
        actor: str | None = None,
        tenant: str | None = None,
        in_spec_root: bool = False,
        **changes: Any,
    ) -> Schedule:
        """Changes some of what `create_schedule` was given; a new `cron` takes the place of `at`, and so with specs.

        Raises:
            NotFoundError: there is no such schedule.
            InvalidRequestError: a value, or a name of a field, cannot be used.
            SpecCompilationError: the spec has faults; nothing is changed.
        """
        unknown = sorted(set(changes) - set(CHANGEABLE))
        if unknown:
            raise InvalidRequestError(f"A schedule has no field {unknown[0]!r}; there are {', '.join(CHANGEABLE)}.")
        fields = dict(changes)
        for one, other in (("cron", "at"), ("spec", "spec_path")):
            for given, gone in ((one, other), (other, one)):
                if fields.get(given) is not None:
                    fields.setdefault(gone, None)
        if fields.get("spec_path") is not None:
            fields["spec_path"] = _path(fields["spec_path"], keep=in_spec_root)
        if "overlays" in fields:
            fields["overlays"] = tuple(str(_path(one, keep=in_spec_root)) for one in fields["overlays"])
        if "tags" in fields:
            fields["tags"] = tuple(fields["tags"])
        if "overlap" in fields:
            fields["overlap"] = _word(Overlap, "overlap", fields["overlap"])
        if "catch_up" in fields:
            fields["catch_up"] = _word(CatchUp, "catch_up", fields["catch_up"])
        changed = replace(self.get_schedule(name, tenant=tenant), **fields)
        check(changed)
        self.prepare_scheduled(changed)
        return self._do(lambda platform: platform.schedules.update(name, tenant, fields, actor=actor))

    def get_schedule(self, name: str, *, tenant: str | None = None) -> Schedule:
        """One schedule. Raises NotFoundError (a KeyError)."""
        return self._do(lambda platform: platform.schedules.get(name, tenant))

    def list_schedules(self, *, tenant: str | None = NO_TENANT) -> list[Schedule]:
        """The schedules of a tenant (None means of all, and the default of none), by name."""

        async def look(platform: Platform) -> list[Schedule]:
            return list(await platform.store.list_schedules(tenant=tenant, limit=10_000))

        return self._do(look)

    def next_moments(self, name: str, *, count: int = 5, tenant: str | None = None) -> list[float]:
        """When a schedule is due next, in seconds since the epoch, as if it were not paused. Raises NotFoundError."""

        async def look(platform: Platform) -> list[float]:
            return moments(await platform.schedules.get(name, tenant), await platform.store.now(), count)

        return self._do(look)

    def pause_schedule(self, name: str, *, actor: str | None = None, tenant: str | None = None) -> Schedule:
        """Keeps no moment any more until it is resumed. Raises NotFoundError."""
        return self._do(lambda platform: platform.schedules.pause(name, tenant, actor=actor))

    def resume_schedule(self, name: str, *, actor: str | None = None, tenant: str | None = None) -> Schedule:
        """Goes on with the next moment from now on. Raises NotFoundError, InvalidRequestError."""
        return self._do(lambda platform: platform.schedules.resume(name, tenant, actor=actor))

    def delete_schedule(self, name: str, *, actor: str | None = None, tenant: str | None = None) -> None:
        """Removes a schedule; its runs stay. Raises NotFoundError."""
        self._do(lambda platform: platform.schedules.delete(name, tenant, actor=actor))

    def trigger_schedule(self, name: str, *, actor: str | None = None, tenant: str | None = None) -> str:
        """Takes a run in now, for a worker or `execute_run`; its id. Raises NotFoundError, and as starting a run."""
        return self._do(lambda platform: platform.schedules.trigger(name, tenant, actor=actor))

    def run_schedule(self, name: str, *, actor: str | None = None, tenant: str | None = None) -> RunResult:
        """As `trigger_schedule`, and waits until the run rests or ends."""
        return self.execute_run(self.trigger_schedule(name, actor=actor, tenant=tenant))

    def fire_due_schedules(self, *, now: float | None = None) -> int:
        """Keeps the moments that have come (until `now`), as the timekeeper does; of how many schedules."""

        async def fire(platform: Platform) -> int:
            due = await platform.store.due_schedules(now=now, limit=BATCH)
            return sum([await platform.schedules.fire(schedule, now=now) for schedule in due])

        return self._do(fire)

    def prepare_scheduled(self, schedule: Schedule) -> Submission:
        """What a run of this schedule would be, compiled now. Blocks; raises as `prepare`."""
        spec_path, overlays = located(schedule, self.options.spec_root)
        made = self.prepare(
            input_text=schedule.input_text,
            spec_path=spec_path,
            spec=schedule.spec,
            target=schedule.target,
            environment=schedule.environment,
            overlays=overlays or None,
            timeout_seconds=schedule.timeout_seconds,
            session_id=schedule.session_id,
            tags=schedule.tags,
            metadata=schedule.metadata,
            actor=schedule.created_by,
            tenant=schedule.tenant,
        )
        # Told as they were given: the folders of this machine are nobody's business.
        if schedule.spec_path is not None:
            made.metadata["spec_path"] = schedule.spec_path
        if schedule.overlays:
            made.metadata["overlays"] = list(schedule.overlays)
        return made


def _path(path: str | Path | None, *, keep: bool) -> str | None:
    if path is None:
        return None
    return str(path) if keep else str(Path(path).expanduser().absolute())


def _word[T: (Overlap, CatchUp)](words: type[T], field: str, text: str) -> T:
    try:
        return words(text)
    except ValueError:
        raise InvalidRequestError(f"{field} is one of {', '.join(words)}, not {text!r}.") from None
