"""A tracer provider of our own, for programs that have none: spans go to the collector that `OTEL_*` names.

The library reads these variables itself. What is added here: a collector that cannot be reached is told of once, costs
no run anything, and does not hold up the end of the process.
"""

import atexit
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Self

from kneo_serv import __version__
from kneo_serv.errors import SettingsError

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

log = logging.getLogger("kneo_serv.observe")

EXPORTER = "OTEL_TRACES_EXPORTER"
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
SERVICE_NAME = "kneo-serv"

_LAST_WORDS_SECONDS = 2.0
"""How long the end of a process may wait for its last spans, where nobody closed the platform."""
_SILENCE_SECONDS = 60.0
"""Between two lines about a collector that comes and goes."""

_exporting: ContextVar[bool] = ContextVar("kneo_serv_exporting", default=False)


class Exporting:
    """A tracer provider with its exporter and the thread that sends batches."""

    def __init__(self, exporters: Sequence["SpanExporter"]) -> None:
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        # Its own hook at exit waits for half a minute when the collector is away.
        self.provider: TracerProvider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        self._exporters = exporters
        for exporter in exporters:
            self.provider.add_span_processor(BatchSpanProcessor(exporter))
        self._asked = threading.Event()
        # Made now, since no thread can be started any more when the process ends.
        self._closer = threading.Thread(target=self._shut_down, name="kneo-telemetry-close", daemon=True)
        self._closer.start()
        atexit.register(self.close, _LAST_WORDS_SECONDS)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """What OTEL_TRACES_EXPORTER and OTEL_EXPORTER_OTLP_* ask for; OTLP over HTTP to this machine without them.

        Raises:
            SettingsError: there is no such exporter or protocol.
            ImportError: the library is not installed.
        """
        named = (environ.get(EXPORTER, "").strip() or "otlp").split(",")
        exporters = [_exporter(name.strip(), environ) for name in named if name.strip() != "none"]
        return cls([_quiet(exporter) for exporter in exporters])

    def close(self, timeout: float) -> None:
        """Sends what is left, for up to `timeout` seconds; what is not sent by then is lost. Blocks. Idempotent."""
        if self._asked.is_set():
            return
        self._asked.set()
        atexit.unregister(self.close)
        # A collector that does not answer holds the library's own shutdown for as long as it likes.
        self._closer.join(timeout)
        if self._closer.is_alive():
            for exporter in self._exporters:
                exporter.shutdown()
            log.warning("the last spans could not be sent within %g seconds", timeout)

    def _shut_down(self) -> None:
        self._asked.wait()
        self.provider.shutdown()


def _resource() -> "Resource":
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource

    stated = OTELResourceDetector().detect().attributes
    ours = {"service.name": SERVICE_NAME, "service.version": __version__}
    # The variables say what the operator calls it, and win over what we would.
    return Resource.create({name: value for name, value in ours.items() if name not in stated})


def _exporter(name: str, environ: Mapping[str, str]) -> "SpanExporter":
    match name:
        case "otlp":
            return _otlp(environ)
        case "console":
            import sys

            from opentelemetry.sdk.trace.export import ConsoleSpanExporter

            return ConsoleSpanExporter(out=sys.stderr)
        case _:
            raise SettingsError(EXPORTER, f"{name!r} is not allowed; it must be otlp, console or none.")


def _otlp(environ: Mapping[str, str]) -> "SpanExporter":
    variable = next((name for name in PROTOCOLS if environ.get(name)), PROTOCOLS[-1])
    match environ.get(variable, "").strip() or "http/protobuf":
        case "http/protobuf":
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            return OTLPSpanExporter()
        case "grpc":
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as OTLPGrpcExporter

            return OTLPGrpcExporter()
        case protocol:
            raise SettingsError(variable, f"{protocol!r} is not allowed; it must be http/protobuf or grpc.")


def _quiet(exporter: "SpanExporter", *, monotonic: Callable[[], float] = time.monotonic) -> "SpanExporter":
    """The exporter, telling of its collector once when it goes away and once when it is back."""
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    for name in _LOGGERS:
        logger = logging.getLogger(name)
        if _silenced not in logger.filters:
            logger.addFilter(_silenced)

    class Quiet(SpanExporter):
        def __init__(self) -> None:
            self._told = False
            self._told_at: float | None = None

        def export(self, spans: Sequence["ReadableSpan"]) -> "SpanExportResult":
            token = _exporting.set(True)
            fault = ""
            try:
                result = exporter.export(spans)
            except Exception as error:  # noqa: BLE001 - what an exporter raises must not end the thread that sends
                result, fault = SpanExportResult.FAILURE, f" ({type(error).__name__})"
            finally:
                _exporting.reset(token)
            self._tell(result is not SpanExportResult.SUCCESS, fault)
            return result

        def _tell(self, away: bool, fault: str) -> None:
            now = monotonic()
            if away == self._told or (self._told_at is not None and now - self._told_at < _SILENCE_SECONDS):
                return
            self._told, self._told_at = away, now
            if away:
                log.warning("spans cannot be sent%s; they are dropped until their collector can be reached", fault)
            else:
                log.warning("spans are sent again")

        def shutdown(self) -> None:
            token = _exporting.set(True)
            try:
                exporter.shutdown()
            finally:
                _exporting.reset(token)

        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            return exporter.force_flush(timeout_millis)

    return Quiet()


def _silenced(record: logging.LogRecord) -> bool:
    """Lets through what others' exporters log; ours are told of by us."""
    return not _exporting.get()


_LOGGERS: Sequence[str] = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.exporter.otlp.proto.grpc.exporter",
    "opentelemetry.sdk.trace.export",
)
