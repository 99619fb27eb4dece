"""Calls that do by hand what the timekeeper does, and that remove what is old."""

from collections.abc import AsyncGenerator, Iterator

from kneo_serv.model.ids import RunId
from kneo_serv.platform.calls.calling import Calling
from kneo_serv.platform.doctor import Finding, check_journals
from kneo_serv.platform.export import some
from kneo_serv.platform.platform import Platform
from kneo_serv.platform.retention import RetentionPolicy, RetentionReport, apply_retention
from kneo_serv.store.contract import TimerKind


class UpkeepCalls(Calling):
    """The three prunes, and a look into the journals."""

    def check_journals(self, *, limit: int | None = None) -> list[Finding]:
        """What is wrong with the journals of the newest `limit` runs (None means all); empty when nothing is."""
        return self._do(lambda platform: check_journals(platform.store, limit=limit))

    def export_run(self, run_id: str, *, private: bool = False) -> Iterator[str]:
        """The run as lines of JSON (docs/retention.md), read as they are asked for; without secrets unless `private`.

        Raises NotFoundError, with the first line.
        """

        async def begin(platform: Platform) -> AsyncGenerator[str]:
            return platform.export_run(RunId(run_id), private=private)

        lines = self._do(begin)
        try:
            while found := self._do(lambda platform: some(lines)):
                yield from found
        finally:
            self._do(lambda platform: lines.aclose())

    def delete_run(self, run_id: str, *, actor: str | None = None) -> None:
        """Removes a run that has ended; the audit stays. Raises NotFoundError, RunStateConflictError."""
        self._do(lambda platform: platform.delete_run(RunId(run_id), actor=actor))

    def prune_expired_human_tasks(self, *, now: float | None = None) -> int:
        """Does what the tasks say whose deadline has passed (before `now`), and awaits the legs that this starts."""

        async def prune(platform: Platform) -> int:
            count = 0
            for timer in await platform.due(TimerKind.HUMAN_DEADLINE, now=now, limit=1000):
                if await platform.fire(timer, now=now):
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

    def overdue(self, *, now: float | None = None) -> tuple[int, int]:
        """How many human tasks and how many runs are past their deadlines (before `now`), up to 1,000 of each."""

        async def look(platform: Platform) -> tuple[int, int]:
            tasks = await platform.due(TimerKind.HUMAN_DEADLINE, now=now, limit=1000)
            runs = await platform.due(TimerKind.RUN_DEADLINE, now=now, limit=1000)
            return len(tasks), len(runs)

        return self._do(look)

    def prune_retention(
        self, policy: RetentionPolicy | None = None, *, dry_run: bool = False, actor: str | None = None
    ) -> RetentionReport:
        """Removes what is older than the policy keeps (None: that of the options); only what has ended ever goes.

        With `dry_run` nothing goes, and the report says what would. Else the audit has it as `retention.pruned`.
        Raises RuntimeError for a status that is not terminal.
        """
        kept = policy or self.options.retention

        async def prune(platform: Platform) -> RetentionReport:
            report = await apply_retention(platform.store, kept, dry_run=dry_run)
            if not dry_run:
                await platform.audit_retention(report, actor=actor)
            return report

        return self._do(prune)
