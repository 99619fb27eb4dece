"""Telling: redaction, logs, spans and metrics."""
