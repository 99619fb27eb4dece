"""Telling: redaction, logs, spans and metrics."""

from kneo_serv.observe.redaction import REDACTED, preview, redact_data, redact_error, redact_text

__all__ = ["REDACTED", "preview", "redact_data", "redact_error", "redact_text"]
