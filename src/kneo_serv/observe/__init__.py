"""Telling: redaction, logs, spans and metrics."""

from kneo_serv.observe.redaction import REDACTED, may_hold_secret, preview, redact_data, redact_error, redact_text
from kneo_serv.observe.telemetry import Attributes, Place, Span, Telemetry, TelemetryOptions
from kneo_serv.observe.trace_context import current_trace, trace_context, trace_scope

__all__ = [
    "REDACTED",
    "Attributes",
    "Place",
    "Span",
    "Telemetry",
    "TelemetryOptions",
    "current_trace",
    "may_hold_secret",
    "preview",
    "redact_data",
    "redact_error",
    "redact_text",
    "trace_context",
    "trace_scope",
]
