"""What holds for all processes on one store: how much is taken in and executed, and whom models are asked of."""

import json
from typing import Any

from kneo_serv.errors import KneoError, QueueFullError
from kneo_serv.model.clock import Clock
from kneo_serv.model.limits import ANY, FLEET, LIMITS, Limits, limits_from
from kneo_serv.model.provider_state import ProviderState
from kneo_serv.platform.auditing import audit_event
from kneo_serv.platform.breaker import Providers
from kneo_serv.platform.chance import RandomIds
from kneo_serv.platform.options import PlatformOptions
from kneo_serv.platform.views.provider import provider_view
from kneo_serv.store.contract import Store

_FRESH_SECONDS = 1.0
"""How old the limits may be that this process goes by where it takes runs in and asks providers."""


class Fleet:
    """The limits of a fleet, and the states of its providers. Lives on the platform's loop."""

    def __init__(self, store: Store, *, clock: Clock, ids: RandomIds, options: PlatformOptions) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids
        self._options = options
        self._limits = Limits()
        self._read_at: float | None = None
        self.providers = Providers(
            store,
            clock=clock,
            options=options.breaker,
            per_minute=self._per_minute,
            tell=self._tell,
            short_wait_seconds=options.short_wait_seconds,
        )

    async def limits(self) -> Limits:
        """The limits that hold now; none where a document cannot be read."""
        text = await self._store.get_document(LIMITS, FLEET)
        try:
            self._limits = Limits() if text is None else limits_from(json.loads(text))
        except (ValueError, KneoError):
            # A newer version may have written it, and claims go by none either.
            self._limits = Limits()
        self._read_at = self._clock.monotonic()
        return self._limits

    async def set_limits(self, limits: Limits, *, actor: str | None) -> Limits:
        """Has these limits hold from now on, in all processes; the ones that held before."""
        before = await self.limits()
        new = limits.to_dict()
        await self._store.put_document(LIMITS, FLEET, json.dumps(new) if any(new.values()) else None)
        self._read_at = None
        await self._tell("limits.changed", actor, {"previous": before.to_dict(), "current": new})
        return before

    async def provider_views(self) -> list[dict[str, Any]]:
        """The providers that failed lately, are paused, or are bounded by name, as they are told."""
        limits, now = await self.limits(), await self._store.now()
        states = {state.name: state for state in await self.providers.all()}
        names = sorted({*states, *(name for name in limits.providers if name != ANY)})
        return [provider_view(states.get(name) or ProviderState(name), now, limits) for name in names]

    async def admit(self, queue: str, tenant: str | None) -> None:
        """Returns when another run may wait for a worker. Raises QueueFullError."""
        limits = await self._recent()
        most = self._options.max_queue_depth
        if most:
            await self._check(most, "", queue=None, tenant=None)
        bound = limits.bound("queues", queue).waiting
        if bound is not None:
            await self._check(bound, f" in queue {queue!r}", queue=queue, tenant=None)
        bound = limits.bound("tenants", tenant).waiting if tenant else None
        if bound is not None:
            await self._check(bound, " of this tenant", queue=None, tenant=tenant)

    async def _check(self, limit: int, where: str, *, queue: str | None, tenant: str | None) -> None:
        depth = await self._store.waiting(queue=queue, tenant=tenant, at_most=limit + 1) if limit else 0
        if depth >= limit:
            raise QueueFullError(depth=depth, limit=limit, where=where)

    async def _recent(self) -> Limits:
        old = self._read_at is None or self._clock.monotonic() - self._read_at >= _FRESH_SECONDS
        return await self.limits() if old else self._limits

    async def _per_minute(self, provider: str) -> float | None:
        return (await self._recent()).bound("providers", provider).requests_per_minute

    async def _tell(self, event_type: str, actor: str | None, facts: Any) -> None:
        now = await self._store.now()
        await self._store.add_audit([audit_event(self._ids, event_type, now, None, None, actor, dict(facts))])
