"""What monitoring counts: runs, tokens, people, requests. Each app has numbers of its own.

Runs are counted where they are written down, so that nothing which a worker does is missed; each process counts what
itself has written.
"""

import asyncio
import json
import logging
import os
import weakref
from collections.abc import Iterable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from kneo_serv.errors import KneoError
from kneo_serv.model import event as ev
from kneo_serv.model.provider_state import Standing
from kneo_serv.platform.platform import Platform
from kneo_serv.service.gauges import Gauges
from kneo_serv.service.several import METRICS_DIRECTORY
from kneo_serv.store.contract import Append, TaskClosing

log = logging.getLogger("kneo_serv.service")

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_RUN_SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600, 14_400, 86_400, 604_800)
_HUMAN_SECONDS = (1, 5, 15, 60, 300, 900, 3600, 14_400, 43_200, 86_400, 259_200, 604_800)
_ENDS = {
    ev.RunCompleted.KIND: "completed",
    ev.RunFailed.KIND: "failed",
    ev.RunCancelled.KIND: "cancelled",
    ev.RunTimedOut.KIND: "timed_out",
    ev.RunExpired.KIND: "expired",
}
_WITH_USAGE = frozenset({ev.ModelTurnCompleted.KIND, ev.GuardrailApplied.KIND})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class ServiceMetrics:
    """The counters of one app. Safe to use from the server's loop and from those of platforms."""

    def __init__(self) -> None:
        self._heard: weakref.WeakSet[Platform] = weakref.WeakSet()
        self._looking: set[asyncio.Task[None]] = set()
        self._all: list[Collector] = []
        self._started = self._counter("kneo_runs_started_total", "Runs that a worker began.")
        self._completed = self._counter("kneo_runs_completed_total", "Runs that came to a good end.")
        self._failed = self._counter("kneo_runs_failed_total", "Runs that failed.")
        self._dead = self._counter("kneo_runs_dead_lettered_total", "Runs given up after too many takeovers.")
        self._rejected = self._counter("kneo_runs_rejected_total", "Runs refused since the queue was full.")
        self._tokens_in = self._counter("kneo_tokens_input_total", "Tokens that models were given.")
        self._tokens_out = self._counter("kneo_tokens_output_total", "Tokens that models answered with.")
        self._tokens = self._counter("kneo_tokens_total", "Tokens in both directions.")
        self._ended = self._counter("kneo_runs_ended_total", "Runs that ended, by how.", "status")
        self._runs = self._histogram(
            "kneo_run_duration_seconds", "From a run's first step to its end.", _RUN_SECONDS, "status"
        )
        self._decisions = self._histogram(
            "kneo_human_decision_seconds", "From a question to the person's answer.", _HUMAN_SECONDS
        )
        self._streams = self._gauge("kneo_event_streams_open", "Streams of events that are open.")
        self._workers = self._gauge("kneo_worker_count", "Runs that are executed at a time.")
        self._abandoned = self._gauge("kneo_abandoned_calls", "Calls that ran out of time and still run.")
        self._requests = self._histogram(
            "kneo_http_request_duration_seconds",
            "From a request to the beginning of its answer.",
            _REQUEST_SECONDS,
            *("method", "route", "status"),
        )

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        made = Counter(name, about, labels, registry=None)
        self._all.append(made)
        return made

    def _gauge(self, name: str, about: str) -> Gauge:
        # Of several processes the sum of those that live.
        made = Gauge(name, about, registry=None, multiprocess_mode="livesum")
        self._all.append(made)
        return made

    def _histogram(self, name: str, about: str, buckets: Iterable[float], *labels: str) -> Histogram:
        made = Histogram(name, about, labels, buckets=tuple(buckets), registry=None)
        self._all.append(made)
        return made

    def requested(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        known = method if method in _METHODS else "other"
        self._requests.labels(known, route, str(status)).observe(seconds)

    def streams_open(self, number: int) -> None:
        """So many streams of events are open now."""
        self._streams.set(number)

    def rejected(self) -> None:
        """A run was refused since the queue was full."""
        self._rejected.inc()

    def hear(self, platform: Platform) -> None:
        """Counts from now on what this platform writes; called on its loop, and harmless when it is heard already."""
        self._abandoned.set(platform.abandoned_calls)
        if platform not in self._heard:
            self._heard.add(platform)
            self._workers.set(platform.options.worker_concurrency)
            platform.on_append(lambda append: self._count(platform, append))

    def text(self, gauges: Gauges | None) -> bytes:
        """All numbers in the form that Prometheus reads. Without `gauges` the store could not be asked."""
        registry = CollectorRegistry()
        folder = os.environ.get(METRICS_DIRECTORY)
        counted: list[Collector] = self._all if folder is None else [_of_all_processes(folder)]
        registry.register(_Shown([*counted, _Now(gauges)]))
        return generate_latest(registry)

    def _count(self, platform: Platform, append: Append) -> None:
        # Whoever counts must not hurt what is counted.
        try:
            self._count_events(append)
            answers = [closing for closing in append.closed if closing.decision is not None]
            if answers:
                task = asyncio.get_running_loop().create_task(self._count_answers(platform, answers))
                self._looking.add(task)
                task.add_done_callback(self._looking.discard)
        except Exception:
            log.exception("run %s cannot be counted", append.run_id)

    def _count_events(self, append: Append) -> None:
        for row in append.events:
            if row.kind in _WITH_USAGE:
                self._count_tokens(json.loads(row.payload).get("usage") or {})
            elif row.kind == ev.LegStarted.KIND:
                if json.loads(row.payload).get("reason") == ev.LegReason.START.value:
                    self._started.inc()
            elif (status := _ENDS.get(row.kind)) is not None:
                self._count_end(status, append, json.loads(row.payload))

    def _count_tokens(self, usage: dict[str, Any]) -> None:
        given, answered = int(usage.get("input_tokens", 0)), int(usage.get("output_tokens", 0))
        self._tokens_in.inc(given)
        self._tokens_out.inc(answered)
        self._tokens.inc(given + answered)

    def _count_end(self, status: str, append: Append, payload: dict[str, Any]) -> None:
        self._ended.labels(status).inc()
        if status == "completed":
            self._completed.inc()
        elif status == "failed":
            self._failed.inc()
            if payload.get("error_type") == "dead_letter":
                self._dead.inc()
        began, ended = append.projection.started_at, append.projection.completed_at
        if began is not None and ended is not None:
            self._runs.labels(status).observe(max(0.0, ended - began))

    async def _count_answers(self, platform: Platform, answers: list[TaskClosing]) -> None:
        # The question may have been asked by another process, days ago: the store knows when.
        for closing in answers:
            try:
                task = await platform.store.get_task(closing.continuation_id)
            except KneoError as error:
                log.debug("the time of an answer is not counted: %s", error)
                continue
            if task is not None:
                self._decisions.observe(max(0.0, closing.at - task.created_at))


class _Shown(Collector):
    """Metrics as they are shown: without the moments at which each of them was made."""

    def __init__(self, metrics: Iterable[Collector]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterable[Metric]:
        """The metrics."""
        for one in self._metrics:
            for metric in one.collect():
                metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
                yield metric


def _of_all_processes(folder: str) -> Collector:
    """What all processes that serve together have counted, as each of them has left it in the folder."""
    from prometheus_client.multiprocess import MultiProcessCollector

    collector: Collector = MultiProcessCollector(None, folder)  # type: ignore[no-untyped-call]
    return collector


class _Now(Collector):
    """What is in the database just now; the same whichever process is asked."""

    def __init__(self, gauges: Gauges | None) -> None:
        self._gauges = gauges

    def collect(self) -> Iterable[Metric]:
        """The metrics."""
        now = self._gauges
        reachable = "Whether the database answered just now."
        yield GaugeMetricFamily("kneo_store_reachable", reachable, value=0 if now is None else 1)
        if now is None:
            return
        shown: dict[str, tuple[str, float]] = {
            "kneo_runs_queued": ("Runs that wait for a worker.", now.queued),
            "kneo_runs_running": ("Runs under a live lease.", now.running),
            "kneo_queue_oldest_seconds": ("Age of the run that waits longest for a worker.", now.queue_age),
            "kneo_human_tasks_open": ("Questions that wait for people.", now.open_tasks),
            "kneo_human_tasks_oldest_seconds": ("Age of the question that waits longest.", now.task_age),
        }
        for name, (about, value) in shown.items():
            yield GaugeMetricFamily(name, about, value=value)
        runs = GaugeMetricFamily("kneo_runs", "Runs in the database, by status.", labels=["status"])
        for status, number in now.runs.items():
            runs.add_metric([status], number)
        yield runs
        queues = GaugeMetricFamily("kneo_queue_waiting", "Runs that wait for a worker, by queue.", labels=["queue"])
        for queue, number in now.queues.items():
            queues.add_metric([queue], number)
        yield queues
        about = "Whether a provider is not asked, since it fails or by hand."
        paused = GaugeMetricFamily("kneo_provider_paused", about, labels=["provider"])
        for provider, standing in now.providers.items():
            paused.add_metric([provider], 0 if standing == Standing.OPEN else 1)
        yield paused
