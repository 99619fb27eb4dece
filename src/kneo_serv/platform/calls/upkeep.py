"""Calls that do by hand what the timekeeper does, and that remove what is old."""

from kneo_serv.platform.calls.calling import Calling
from kneo_serv.platform.doctor import Finding, check_journals
from kneo_serv.platform.platform import Platform
from kneo_serv.platform.retention import RetentionPolicy, RetentionReport, cut_of
from kneo_serv.store.contract import TimerKind


class UpkeepCalls(Calling):
    """The three prunes, and a look into the journals."""

    def check_journals(self, *, limit: int | None = None) -> list[Finding]:
        """What is wrong with the journals of the newest `limit` runs (None means all); empty when nothing is."""
        return self._do(lambda platform: check_journals(platform.store, limit=limit))

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
                idempotency_records=pruned.keys,
            )

        return self._do(prune)
