"""Requests with an idempotency key: whatever is sent again is done once."""

from collections.abc import Awaitable, Callable

from kneo_serv.errors import IdempotencyKeyConflictError, KneoError
from kneo_serv.model.idempotency import IdempotencyKey
from kneo_serv.model.ids import RunId
from kneo_serv.store.contract import KeyTaken, Store


async def once[T, U](
    store: Store,
    key: IdempotencyKey | None,
    do: Callable[[], Awaitable[T]],
    again: Callable[[RunId], Awaitable[U]],
) -> T | U:
    """What `do` gives; where the key stands for this request already, what `again` makes of the run of then.

    `do` writes the key in the same transaction as its effect. What it raises is passed on.

    Raises:
        IdempotencyKeyConflictError: the key stands for another request.
    """
    if key is None:
        return await do()
    earlier = await _earlier(store, key)
    if earlier is not None:
        return await again(earlier)
    try:
        return await do()
    except (KneoError, KeyTaken):
        # The same request may have come in twice at once: then the other one was done after the look.
        earlier = await _earlier(store, key)
        if earlier is None:
            raise
    return await again(earlier)


async def as_it_is(run_id: RunId) -> RunId:
    """The run by its id."""
    return run_id


async def _earlier(store: Store, key: IdempotencyKey) -> RunId | None:
    record = await store.get_key(key.scope, key.principal, key.key)
    if record is None:
        return None
    if record.key.body_hash != key.body_hash:
        raise IdempotencyKeyConflictError(key.scope) from None
    return record.run_id
