"""Spans of OpenTelemetry, as much of them as the platform needs. The library is imported when they are switched on."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Self

from kneo_serv import __version__
from kneo_serv.errors import MissingExtraError
from kneo_serv.observe import conventions as names
from kneo_serv.observe.trace_context import trace_context, trace_scope

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span as OtelSpan
    from opentelemetry.trace import SpanContext, SpanKind, TracerProvider

    from kneo_serv.observe.otlp import Exporting

log = logging.getLogger("kneo_serv.observe")

type Attributes = Mapping[str, str | bool | int | float | None]
"""Of a span or an event. What is None is left out."""


@dataclass(frozen=True, slots=True)
class TelemetryOptions:
    """Whether spans are made, and what they may tell."""

    enabled: bool = False
    record_arguments: bool = False
    """Whether spans hold what goes in: arguments of tools, prompts, inputs of steps."""
    record_results: bool = False
    """Whether spans hold what comes out: results of tools, answers of models, outputs of steps, texts of errors."""
    tracer_provider: "TracerProvider | None" = field(default=None, compare=False, repr=False)
    """Where the spans go, for this platform alone; it switches them on, and stays its owner's to shut down."""

    @property
    def wanted(self) -> bool:
        """Whether there are to be spans."""
        return self.enabled or self.tracer_provider is not None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a span begins: below another one, or below nothing."""

    context: "Context"


class Span:
    """One stretch of work. Times are seconds since the epoch."""

    __slots__ = ("_fault", "_span", "inside")

    def __init__(self, span: "OtelSpan", inside: Place, fault: Callable[[], None]) -> None:
        self._span = span
        self._fault = fault
        self.inside = inside
        """The place of spans below this one."""

    def set(self, attributes: Attributes) -> None:
        """Adds attributes, or changes them."""
        if self._span.is_recording():
            self._span.set_attributes(_known(attributes))

    def tell(self, name: str, at: float, attributes: Attributes) -> None:
        """Notes that something happened in the course of it."""
        if self._span.is_recording():
            self._span.add_event(name, _known(attributes), _nanoseconds(at))

    def fail(self, error_type: str, message: str | None = None) -> None:
        """Marks it as gone wrong."""
        from opentelemetry.trace import Status, StatusCode

        self._span.set_attribute(names.ERROR_TYPE, error_type)
        self._span.set_status(Status(StatusCode.ERROR, message))

    def end(self, at: float) -> None:
        """It is over, and goes to the exporter."""
        try:
            self._span.end(_nanoseconds(at))
        except Exception:  # noqa: BLE001 - a processor of somebody else, whose fault is told
            self._fault()


class Telemetry:
    """Makes spans and passes their context on."""

    def __init__(
        self, provider: "TracerProvider", options: TelemetryOptions, exporting: "Exporting | None" = None
    ) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self.options = options
        self._provider = provider
        self._exporting = exporting
        self._tracer = provider.get_tracer(names.SCOPE, __version__, schema_url=names.SCHEMA_URL)
        # Named here rather than taken from OTEL_PROPAGATORS: baggage of a caller is not ours to hand to providers.
        self._propagator = TraceContextTextMapPropagator()
        self._faulty = False

    @classmethod
    def open(cls, options: TelemetryOptions) -> Self:
        """Spans for the provider of the options, or of the application, or for the collector that `OTEL_*` names.

        Raises:
            MissingExtraError: OpenTelemetry is not installed.
            SettingsError: a variable `OTEL_*` asks for what there is not.
        """
        from kneo_serv.observe.foreign_spans import without_foreign_texts
        from kneo_serv.observe.otlp import Exporting

        if options.tracer_provider is not None:
            without_foreign_texts(options.tracer_provider)
        try:
            from opentelemetry import trace

            provider = trace.get_tracer_provider()
            without_foreign_texts(provider)
            if options.tracer_provider is not None:
                return cls(options.tracer_provider, options)
            if not isinstance(provider, trace.ProxyTracerProvider):
                return cls(provider, options)
            exporting = Exporting.from_environment()
        except ImportError:
            raise MissingExtraError(
                "KNEO_SERV_OTEL_ENABLED asks for OpenTelemetry, which is not installed. "
                "Install it with: pip install 'kneo-serv[telemetry]'"
            ) from None
        return cls(exporting.provider, options, exporting)

    def start(
        self,
        name: str,
        *,
        at: float,
        inside: Place,
        attributes: Attributes,
        kind: str = "INTERNAL",
        linked: Mapping[str, str] | None = None,
    ) -> Span:
        """Begins a span below `inside`. `kind` is a name of OpenTelemetry's SpanKind; `linked` is a trace context."""
        from opentelemetry.trace import Link, NonRecordingSpan, get_current_span, set_span_in_context

        link = self._span_context(linked or {})
        span: OtelSpan
        try:
            span = self._tracer.start_span(
                name,
                inside.context,
                _kind(kind),
                _known(attributes),
                [Link(link)] if link is not None else None,
                _nanoseconds(at),
            )
        except Exception:  # noqa: BLE001 - a sampler or processor of somebody else, whose fault is told
            self._fault()
            span = NonRecordingSpan(get_current_span(inside.context).get_span_context())
        # An empty context beneath, so that nothing else of the caller's comes along.
        return Span(span, Place(set_span_in_context(span, _empty())), self._fault)

    def current(self) -> dict[str, str]:
        """The trace context of the code that calls us; empty when it is in no span."""
        return self.carried(None)

    def carried(self, inside: Place | None) -> dict[str, str]:
        """`traceparent` and `tracestate` of a place; None means that of the calling code."""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, None if inside is None else inside.context)
        return carrier

    def below(self, trace: Mapping[str, str]) -> Place | None:
        """The place below a span of somebody else; None when `trace` names none."""
        given = trace_context(trace)
        return Place(self._propagator.extract(given, _empty())) if given else None

    def nowhere(self) -> Place:
        """The place below nothing: a span in it begins a trace of its own, under an id of chance."""
        return Place(_empty())

    def below_name(self, name: str) -> Place:
        """A place whose trace follows from a name, so that every process that knows the name is in the same one.

        Whether it is recorded is what the sampler says of that trace.
        """
        from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

        trace_id = int.from_bytes(blake2b(name.encode(), digest_size=16).digest())
        span_id = int.from_bytes(blake2b(name.encode(), digest_size=8).digest())
        sampler: Any = getattr(self._provider, "sampler", None)
        try:
            sampled = sampler is None or sampler.should_sample(_empty(), trace_id, name).decision.is_sampled()
        except Exception:  # noqa: BLE001 - a sampler of somebody else, whose fault is told
            self._fault()
            sampled = False
        flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
        parent = SpanContext(trace_id, span_id, is_remote=True, trace_flags=flags)
        return Place(set_span_in_context(NonRecordingSpan(parent), _empty()))

    @contextmanager
    def active(self, span: Span) -> Iterator[None]:
        """Makes the span the current one, for code that looks and for tasks that are made inside the `with` block."""
        from opentelemetry import context

        token = context.attach(span.inside.context)
        try:
            with trace_scope(self.carried(span.inside)):
                yield
        finally:
            context.detach(token)

    def close(self, timeout: float) -> None:
        """Sends what is still to be sent, for up to `timeout` seconds, where the exporter is ours. Blocks."""
        if self._exporting is not None:
            self._exporting.close(timeout)

    def _fault(self) -> None:
        """Tells the exception that is being handled, once: it may come with every span."""
        if not self._faulty:
            self._faulty = True
            log.exception("spans cannot be made as the tracer provider wants them; runs go on without them")

    def _span_context(self, trace: Mapping[str, str]) -> "SpanContext | None":
        from opentelemetry.trace import get_current_span

        inside = self.below(trace)
        return None if inside is None else get_current_span(inside.context).get_span_context()


def _known(attributes: Attributes) -> dict[str, str | bool | int | float]:
    return {name: value for name, value in attributes.items() if value is not None}


def _nanoseconds(at: float) -> int:
    return int(at * 1e9)


def _empty() -> "Context":
    from opentelemetry.context import Context

    return Context()


def _kind(kind: str) -> "SpanKind":
    from opentelemetry.trace import SpanKind

    return SpanKind[kind]
