"""Errors as HTTP answers: one table of status codes, one envelope."""

import logging
from collections.abc import Mapping
from typing import Any

from fastapi.responses import JSONResponse

from kneo_serv.errors import KneoError
from kneo_serv.observe import redact_text
from kneo_serv.spec import SpecCompilationError

log = logging.getLogger("kneo_serv.service")

STATUS: Mapping[str, int] = {
    "invalid_request": 400,
    "invalid_idempotency_key": 400,
    "spec_unreadable": 400,
    "spec_invalid": 400,
    "token_budget_exceeded": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "environment_policy_blocked": 403,
    "not_found": 404,
    "idempotency_key_in_progress": 409,
    "idempotency_key_conflict": 409,
    "resource_locked": 409,
    "run_state_conflict": 409,
    "human_task_expired": 409,
    "request_id_mismatch": 409,
    "session_busy": 409,
    "payload_too_large": 413,
    "unknown_query_parameters": 422,
    "invalid_timestamp": 422,
    "spec_path_confined": 422,
    "guardrail_violation": 422,
    "decision_not_allowed": 422,
    "rate_limited": 429,
    "queue_full": 503,
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
    "store_unavailable": 5,
    "store_schema": 5,
    "platform_closed": 5,
    "identity_unavailable": 5,
}
"""Seconds after which it may be tried again."""

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


def answer_to(error: KneoError) -> JSONResponse:
    """The answer that tells of an error; what is our own fault tells nothing."""
    code = error.wire_code if isinstance(error, RequestRefused) else error.code
    status = STATUS.get(code, 500)
    if status == 500:
        log.error("internal error: %s", type(error).__name__, exc_info=error)
        return envelope(500, "internal_error", INTERNAL)
    facts = error.facts()
    if isinstance(error, SpecCompilationError):
        facts = {"diagnostics": error.report.to_dict_list()}
    headers = dict(error.headers) if isinstance(error, RequestRefused) else {}
    if code in RETRY_AFTER:
        headers.setdefault("Retry-After", str(RETRY_AFTER[code]))
    wire = "store_unavailable" if code in ("store_schema", "platform_closed") else code
    wire = "spec_invalid" if wire == "spec_unreadable" else wire
    return envelope(status, wire, redact_text(error.message), headers=headers, **facts)


def envelope(
    status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None, **facts: Any
) -> JSONResponse:
    """An answer in the form that all errors have."""
    body = {"detail": {"error": code, "message": message, **facts}}
    return JSONResponse(body, status, headers=dict(headers or {}))
