"""One line in the log for each request, a measure of it, and an answer where everything else has failed."""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kneo_serv.observe import redact_error, redact_text, trace_context
from kneo_serv.service.errors import INTERNAL, envelope, note_fault
from kneo_serv.service.route_table import RouteTable, path_of

log = logging.getLogger("kneo_serv.service")

GONE = 499
"""In logs and metrics: the caller has hung up before the answer."""
_LONGEST = 500
_IDS = ("run_id", "continuation_id")

type Measure = Callable[[str, str, int, float], None]
"""Is told method, template of the route, status, and seconds up to the beginning of the answer."""


class RequestLog:
    """Writes the line and tells the measure; an error that nobody has caught becomes an answer 500 here."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        routes: RouteTable,
        lines: bool,
        measure: Measure | None = None,
        monotonic: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._app = app
        self._routes = routes
        self._lines = lines
        self._measure = measure
        self._monotonic = monotonic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        began = self._monotonic()
        status, first = 0, None

        async def noted(message: Message) -> None:
            nonlocal status, first
            if message["type"] == "http.response.start":
                status, first = message["status"], self._monotonic()
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # the last line of defence: a caller gets an answer, and its log says why
            log.error("internal error: %s", type(error).__name__, exc_info=error)
            note_fault(scope, "internal_error", type(error).__name__)
            if status:
                raise
            await envelope(500, "internal_error", INTERNAL)(scope, receive, noted)
        finally:
            over = self._monotonic()
            template, found = self._routes.find(path_of(scope), scope["method"])
            if self._measure is not None:
                self._measure(scope["method"], template, status or GONE, (first or over) - began)
            if self._lines and log.isEnabledFor(logging.INFO):
                ids = {name: state.get(name) or found.get(name) for name in _IDS}
                # A stream lasts as long as somebody listens: that says nothing of how quickly it was answered.
                streamed = first if state.get("streamed") else None
                lasted = None if streamed is None else over - streamed
                _write(scope, status or GONE, (streamed or over) - began, ids, lasted)


def _write(scope: Scope, status: int, seconds: float, ids: dict[str, Any], lasted: float | None) -> None:
    headers = dict(reversed(scope["headers"]))
    trace = trace_context({"traceparent": headers.get(b"traceparent", b"").decode("latin-1")})
    client = scope.get("client")
    line: dict[str, Any] = {
        "event": "http_request",
        "request_id": scope["state"].get("request_id"),
        "method": scope["method"],
        "path": _clean(scope["path"]),
        "status_code": status,
        "duration_ms": round(seconds * 1000, 3),
        "client_ip": client[0] if client else None,
        "user_agent": _clean(headers[b"user-agent"].decode("latin-1")) if b"user-agent" in headers else None,
        **{name: None if value is None else _clean(value) for name, value in ids.items()},
        "trace_id": trace["traceparent"].split("-")[1] if trace else None,
    }
    if lasted is not None:
        line["stream_seconds"] = round(lasted, 3)
    if fault := scope["state"].get("fault"):
        line["error"], line["message"] = fault[0], redact_error(fault[1])[:_LONGEST]
    log.info(json.dumps(line, ensure_ascii=False), extra={"fields": line})


def _clean(text: str) -> str:
    return redact_text(text[:_LONGEST])
