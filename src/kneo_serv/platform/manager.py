"""The synchronous face of the platform: what scripts and the command line call."""

from collections.abc import Callable
from typing import Any

from kneo_serv.platform.calls.audit import AuditCalls
from kneo_serv.platform.calls.fleet import FleetCalls
from kneo_serv.platform.calls.forks import ForkCalls
from kneo_serv.platform.calls.history import HistoryCalls
from kneo_serv.platform.calls.people import PeopleCalls
from kneo_serv.platform.calls.schedules import ScheduleCalls
from kneo_serv.platform.calls.streams import StreamCalls
from kneo_serv.platform.calls.upkeep import UpkeepCalls
from kneo_serv.platform.platform import Platform


class PlatformManager(
    ScheduleCalls, ForkCalls, HistoryCalls, StreamCalls, PeopleCalls, UpkeepCalls, AuditCalls, FleetCalls
):
    """Blocking calls to one platform, safe from any thread but the platform's own.

    The platform starts with the first call that needs it, on a daemon thread: a script may simply end.
    """

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
                "queued": (await platform.store.gauges()).queued,
                "running": platform.in_hand,
                "worker_count": self.options.worker_concurrency,
                "abandoned_calls": platform.abandoned_calls,
            }

        return self._do(look)


async def _call(function: Callable[[], None]) -> None:
    function()
