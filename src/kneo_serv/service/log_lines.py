"""How the log of a service looks: one line for each thing told, as JSON or for eyes, without secrets."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

from kneo_serv.observe import redact_text
from kneo_serv.service.request_ids import current_request_id


class JsonLines(logging.Formatter):
    """One JSON object a line. A line about a request has the keys of that request beside `time`, `level`, `logger`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        line: dict[str, Any] = {"time": _moment(record), "level": record.levelname, "logger": record.name}
        fields = getattr(record, "fields", None)
        if isinstance(fields, dict):
            line |= fields
        else:
            line |= {"message": redact_text(record.getMessage()), "request_id": current_request_id()}
        if record.exc_info:
            line["exception"] = redact_text(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False, default=str)


class TextLines(logging.Formatter):
    """Time, level, logger and what happened; what would steer a terminal or feign a line is written out."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record, with the traceback below it if there is one."""
        fields = getattr(record, "fields", None)
        text = _request(fields) if isinstance(fields, dict) else redact_text(record.getMessage())
        request_id = None if isinstance(fields, dict) else current_request_id()
        line = f"{_moment(record)} {record.levelname:<7} {record.name} {_printable(text)}"
        if request_id:
            line += f" request_id={request_id}"
        if record.exc_info:
            line += f"\n{redact_text(self.formatException(record.exc_info))}"
        return line


def configure_logging(*, level: str, form: str, stream: TextIO | None = None) -> None:
    """Has all loggers of this process write to stderr from `level` on; `form` is json or text."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries tell much that is of use to nobody but their authors.
    root.setLevel(max(logging.WARNING, logging.getLevelName(level)))
    logging.getLogger("kneo_serv").setLevel(level)
    # The address and the end of the server are told by `serve` itself.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


def _moment(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _request(fields: dict[str, Any]) -> str:
    parts = [f"{fields['method']} {fields['path']} {fields['status_code']} {fields['duration_ms']:.1f}ms"]
    shown = ("request_id", "run_id", "continuation_id", "client_ip", "error", "message")
    parts += [f"{name}={fields[name]}" for name in shown if fields.get(name)]
    return " ".join(parts)


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
