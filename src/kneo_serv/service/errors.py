"""Errors as HTTP answers: one table of status codes, one envelope."""

import logging
from collections.abc import Mapping
from typing import Any

from fastapi.responses import JSONResponse
from starlette.types import Scope

from kneo_serv.errors import KneoError
from kneo_serv.observe import redact_error
from kneo_serv.spec import SpecCompilationError

log = logging.getLogger("kneo_serv.service")

STATUS: Mapping[str, int] = {
    "invalid_request": 400,
    "invalid_idempotency_key": 400,
    "spec_unreadable": 400,
    "spec_invalid": 400,
    "token_budget_exceeded": 400,
    "budget_exceeded": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "environment_policy_blocked": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "request_timeout": 408,
    "idempotency_key_in_progress": 409,
    "idempotency_key_conflict": 409,
    "resource_locked": 409,
    "run_state_conflict": 409,
    "human_task_expired": 409,
    "request_id_mismatch": 409,
    "session_busy": 409,
    "fork_consent_required": 409,
    "schedule_exists": 409,
    "payload_too_large": 413,
    "unknown_query_parameters": 422,
    "invalid_timestamp": 422,
    "invalid_event_id": 422,
    "spec_path_confined": 422,
    "guardrail_violation": 422,
    "decision_not_allowed": 422,
    "rate_limited": 429,
    "queue_full": 503,
    "too_many_streams": 503,
    "store_unavailable": 503,
    "store_schema": 503,
    "not_ready": 503,
    "identity_unavailable": 503,
    "platform_closed": 503,
}
"""By code of the error; what is not listed is our own fault, and says nothing."""

RETRY_AFTER: Mapping[str, int] = {
    "idempotency_key_in_progress": 1,
    "queue_full": 5,
    "too_many_streams": 5,
    "store_unavailable": 5,
    "identity_unavailable": 5,
}
"""Seconds after which it may be tried again."""

_SAID_AS = {
    "store_schema": "store_unavailable",
    "platform_closed": "store_unavailable",
    "spec_unreadable": "spec_invalid",
}
"""Codes that are told by another one's name."""

INTERNAL = "The service could not do this. The request id names the line in its log that says why."


class RequestRefused(KneoError):
    """The service refuses a request before, or instead of, asking the platform."""

    def __init__(self, code: str, message: str, *, headers: Mapping[str, str] | None = None, **facts: Any) -> None:
        super().__init__(message)
        self._code = code
        self._headers = dict(headers or {})
        self._facts = facts

    @property
    def wire_code(self) -> str:
        """The code of the answer."""
        return self._code

    @property
    def headers(self) -> Mapping[str, str]:
        """What the answer carries beside its body."""
        return self._headers

    def facts(self) -> dict[str, Any]:
        """The keys beside code and message."""
        return dict(self._facts)


def code_of(error: KneoError) -> str:
    """The code that the answer about this error has."""
    code = error.wire_code if isinstance(error, RequestRefused) else error.code
    if STATUS.get(code, 500) == 500:
        return "internal_error"
    return _SAID_AS.get(code, code)


def answer_to(error: KneoError) -> JSONResponse:
    """The answer that tells of an error; what is our own fault tells nothing."""
    wire = code_of(error)
    if wire == "internal_error":
        log.error("internal error: %s", type(error).__name__, exc_info=error)
        return envelope(500, wire, INTERNAL)
    facts = error.facts()
    if isinstance(error, SpecCompilationError):
        facts = {"diagnostics": error.report.to_dict_list()}
    headers = dict(error.headers) if isinstance(error, RequestRefused) else {}
    if wire in RETRY_AFTER:
        headers.setdefault("Retry-After", str(RETRY_AFTER[wire]))
    return envelope(STATUS[wire], wire, redact_error(error.message), headers=headers, **facts)


def envelope(
    status: int, code: str, message: str, /, *, headers: Mapping[str, str] | None = None, **facts: Any
) -> JSONResponse:
    """An answer in the form that all errors have."""
    body = {"detail": {"error": code, "message": message, **facts}}
    return JSONResponse(body, status, headers=dict(headers or {}))


def note_fault(scope: Scope, code: str, message: str) -> None:
    """Has the line about this request in the log say what was wrong with it."""
    scope.setdefault("state", {})["fault"] = (code, message)
