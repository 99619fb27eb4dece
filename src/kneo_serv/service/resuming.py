"""Answers to human tasks: given once, however often they are sent, and told as the run stood at its next rest."""

from typing import Any

from kneo_serv.errors import NotFoundError
from kneo_serv.model import event as ev
from kneo_serv.model.idempotency import IdempotencyKey
from kneo_serv.model.ids import ContinuationId, RunId
from kneo_serv.model.run import Phase
from kneo_serv.model.task import HumanResponse
from kneo_serv.platform.platform import Platform
from kneo_serv.service.answers import answer_at, still_running
from kneo_serv.service.auth import AuthPrincipal
from kneo_serv.service.idempotency import in_progress
from kneo_serv.service.starting import await_listener


async def resume(
    platform: Platform,
    continuation_id: ContinuationId,
    response: HumanResponse,
    *,
    caller: AuthPrincipal,
    key: IdempotencyKey | None,
    patience: float | None,
) -> tuple[int, dict[str, Any]]:
    """Gives the answer and waits until the run rests, for `patience` seconds at most; status code and body.

    Who sends the same answer with the same key again gets what the first one got, whatever has happened since.

    Raises:
        NotFoundError: no open task has this id, or it is another tenant's.
        RequestRefused: the same request was sent before and is still at work, or the run ended with a refusal.
        KneoError: as `Platform.answer`.
    """
    store = platform.store
    again = key is not None and await store.get_key(key.scope, key.principal, key.key) is not None
    if not again and caller.tenant is not None:
        task = await store.get_task(continuation_id)
        if task is not None and task.tenant != caller.tenant:
            raise NotFoundError("human task", continuation_id)
    run_id = await platform.answer(continuation_id, response, actor=caller.name, key=key)
    if not again:
        await_listener(platform, run_id, patience)
    from_seq = await _answered_at(platform, run_id, continuation_id)
    # The run may have gone on since: who asks again is not to wait for its next rest.
    rest = await platform.first_rest(run_id, from_seq) if again else None
    if rest is None:
        record, rest = await platform.rest(run_id, from_seq=from_seq, patience=patience)
        if rest is None:
            if again and key is not None and record.phase is not Phase.PARKED:
                raise in_progress(key.scope)
            return _told(still_running(record, after=from_seq), continuation_id)
    _, body = answer_at(rest)
    # A run that waits for people again has come to rest, which is what was asked for.
    return _told((200, body), continuation_id)


async def _answered_at(platform: Platform, run_id: RunId, continuation_id: ContinuationId) -> int:
    """Number of the event that the answer is; the first of all where retention has removed it."""
    for recorded in await platform.events(run_id):
        match recorded.event:
            case ev.HumanAnswered(continuation_id=answered) if answered == continuation_id:
                return recorded.seq
            case _:
                continue
    return 1


def _told(answer: tuple[int, dict[str, Any]], continuation_id: ContinuationId) -> tuple[int, dict[str, Any]]:
    status, body = answer
    return status, {**body, "metadata": {**body["metadata"], "resumed_from_continuation_id": continuation_id}}
