"""Idempotency keys of HTTP requests: how a key is read, and what tells one request from another."""

import hashlib
import json
from typing import Annotated, Any

from fastapi import Header

from kneo_serv.model.idempotency import IdempotencyKey
from kneo_serv.service.auth import AuthPrincipal
from kneo_serv.service.errors import RequestRefused

MAX_CHARS = 256

RUNS_CREATE = "runs:create"
SPECS_RUN = "specs:run"
RUNS_CONTINUE = "runs:continue"
RUNS_FORK = "runs:fork"
HUMAN_RESUME = "human:resume"
SCHEDULES_TRIGGER = "schedules:trigger"

KeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Whoever sends the same request with the same key again gets the same answer, and nothing is done "
        "twice. At most 256 characters; a key means something only to the caller who sent it, and for one operation.",
    ),
]
"""Parameter of a route whose requests may have a key."""


def key_of(
    scope: str, given: str | None, caller: AuthPrincipal, asked: Any, *, asynchronous: bool = False
) -> IdempotencyKey | None:
    """The key of a request, None without one. `asked` is the parsed request as JSON values, defaults filled in.

    Raises:
        RequestRefused: the key is too long.
    """
    name = (given or "").strip()
    if not name:
        return None
    if len(name) > MAX_CHARS:
        raise RequestRefused(
            "invalid_idempotency_key",
            f"An Idempotency-Key has at most {MAX_CHARS} characters, not {len(name)}; take a UUID.",
        )
    return IdempotencyKey(scope, principal_of(caller), name, digest(asked), asynchronous)


def principal_of(caller: AuthPrincipal) -> str:
    """The name under which a caller's keys are kept: keys of different callers never meet."""
    return caller.identity


def digest(asked: Any) -> str:
    """A digest of JSON values, the same for the same values in whatever order."""
    text = json.dumps(asked, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def in_progress(scope: str) -> RequestRefused:
    """The refusal of a request that is still at work since it was sent before."""
    return RequestRefused(
        "idempotency_key_in_progress",
        "The same request with this Idempotency-Key is still at work; ask again a moment later.",
        scope=scope,
    )
