"""Answers to human tasks: given once, however often they are sent, and told as the run stood at its next rest."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from kneo_serv.errors import NotFoundError
from kneo_serv.model.idempotency import IdempotencyKey
from kneo_serv.model.ids import ContinuationId
from kneo_serv.model.run import Phase, RunResult
from kneo_serv.model.task import HumanResponse
from kneo_serv.observe import redact_text
from kneo_serv.platform.answers import result_at
from kneo_serv.platform.platform import Platform
from kneo_serv.service.auth import AuthPrincipal
from kneo_serv.service.errors import RequestRefused

SCOPE = "human:resume"
_MAX_KEY = 256
_REFUSALS = ("guardrail_violation", "token_budget_exceeded")
"""Types of errors of runs that are refusals: they are answered with a status code of their own."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """What became of an answer. `rests` is off where the caller's patience ended first."""

    result: RunResult
    rests: bool


def resume_key(given: str | None, caller: AuthPrincipal, continuation_id: str, body: Any) -> IdempotencyKey | None:
    """The key of an answer, None without one. Raises RequestRefused for one above 256 characters."""
    name = (given or "").strip()
    if not name:
        return None
    if len(name) > _MAX_KEY:
        raise RequestRefused("invalid_idempotency_key", f"An Idempotency-Key has at most {_MAX_KEY} characters.")
    asked = {"continuation_id": continuation_id, "request": body}
    text = json.dumps(asked, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return IdempotencyKey(SCOPE, caller.identity, name, digest)


async def resume(
    platform: Platform,
    continuation_id: ContinuationId,
    response: HumanResponse,
    *,
    caller: AuthPrincipal,
    key: IdempotencyKey | None,
    patience: float | None,
) -> Resumed:
    """Gives the answer and waits until the run rests, for `patience` seconds at most.

    Who sends the same answer with the same key again gets what the first one got, whatever has happened since.

    Raises:
        RequestRefused: the same request was sent before and is still at work (`idempotency_key_in_progress`).
        KneoError: as `Platform.answer`.
    """
    store = platform.store
    replayed = key is not None and await store.get_key(key.scope, key.principal, key.key) is not None
    if not replayed and caller.tenant is not None:
        task = await store.get_task(continuation_id)
        if task is not None and task.tenant != caller.tenant:
            raise NotFoundError("human task", continuation_id)
    run_id = await platform.answer(continuation_id, response, actor=caller.name, key=key)
    record = await platform.run_to_rest(run_id, patience=patience)
    bound = None if key is None else await store.get_key(key.scope, key.principal, key.key)
    if bound is not None and (rest := await platform.first_rest(run_id, bound.from_seq)) is not None:
        return Resumed(result_at(rest), rests=True)
    rests = record.phase in (Phase.WAITING_HUMAN, Phase.ENDED, Phase.PARKED)
    if replayed and not rests:
        raise RequestRefused(
            "idempotency_key_in_progress",
            "The same request with this Idempotency-Key is still at work; ask again a moment later.",
            scope=SCOPE,
        )
    return Resumed(await platform.result(run_id), rests)


def answer_of(resumed: Resumed, continuation_id: str) -> dict[str, Any]:
    """The result as answers show it, without secrets. Raises RequestRefused for a run that ended with a refusal."""
    result = resumed.result
    error = None
    if result.error is not None:
        error = {"type": result.error.type, "message": redact_text(result.error.message)}
        if result.error.type in _REFUSALS:
            facts: dict[str, Any] = {"run_id": result.run_id}
            if result.error.type == "guardrail_violation":
                facts["violation_type"] = result.error.type
            raise RequestRefused(result.error.type, result.error.message, **facts)
    return {
        "run_id": result.run_id,
        "status": result.status,
        "output_text": None if result.output_text is None else redact_text(result.output_text),
        "human_intervention_required": result.human_intervention_required,
        "continuation_id": result.continuation_id,
        "error": error,
        "metadata": {**result.metadata, "resumed_from_continuation_id": continuation_id},
    }
