"""Idempotency keys: by its key a request is recognised that was sent before."""

from dataclasses import dataclass

from kneo_serv.model.ids import ContinuationId, RunId


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """The name that a caller gave to a request.

    It means something only within `scope` (the operation) and to `principal` (who called). `body_hash` is a digest of
    the request, by which the same request is told from another one with the same name. `asynchronous` says whether
    the request was answered before the run came to a rest.
    """

    scope: str
    principal: str
    key: str
    body_hash: str
    asynchronous: bool = False


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What an idempotency key stands for, as it was written in one transaction with the effect of its request.

    The answer is not kept: it follows from the journal, whose event `from_seq` is the last one that the request itself
    wrote. What it was answered with is how the run stood at its first rest from there on.
    """

    key: IdempotencyKey
    run_id: RunId
    from_seq: int
    created_at: float
    continuation_id: ContinuationId | None = None
    """The human task that the request answered, if it was an answer."""
