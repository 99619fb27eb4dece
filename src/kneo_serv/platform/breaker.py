"""Leaving a provider alone that fails: a circuit breaker whose state all processes of a fleet share."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from kneo_serv.errors import InvalidRequestError, ProviderError, ProviderPausedError
from kneo_serv.model.clock import Clock
from kneo_serv.model.message import Turn, TurnRequest
from kneo_serv.model.provider_state import PROVIDER, RATE, ProviderState, Standing, provider_state
from kneo_serv.model.quick import replace
from kneo_serv.observe import redact_text
from kneo_serv.platform.options import BreakerOptions
from kneo_serv.runtime import Runtime
from kneo_serv.store.admission import BURST_SECONDS
from kneo_serv.store.contract import Store

log = logging.getLogger("kneo_serv.platform")

_FRESH_SECONDS = 1.0
"""How old what is known of providers may be; as long it takes a pause to reach all processes."""
_PROBE_SECONDS = 120.0
"""How long the one who asks on trial has a provider to themselves."""
_LOOK_AGAIN_SECONDS = 2.0
_LONGEST_REASON = 500
_LONGEST_NAME = 256
_TRIES = 20


def after_failure(state: ProviderState, now: float, options: BreakerOptions, reason: str) -> ProviderState:
    """The state once a question was given up."""
    match state.standing(now):
        case Standing.PAUSED | Standing.HELD:
            # It was asked before the pause: nothing new is known.
            return state
        case Standing.PROBING:
            pauses = state.pauses + 1
        case Standing.OPEN:
            begins = state.failing_since is None or now - state.failing_since > options.window_seconds
            failures = 1 if begins else state.failures + 1
            if failures < options.failures:
                since = now if begins else state.failing_since
                return replace(state, failures=failures, failing_since=since, reason=reason, changed_at=now)
            pauses = 1
    pause = min(options.pause_seconds * 2.0 ** min(pauses - 1, 30), options.longest_pause_seconds)
    return ProviderState(state.name, pauses=pauses, paused_until=now + pause, reason=reason, changed_at=now)


def after_answer(state: ProviderState, now: float) -> ProviderState:
    """The state once it answered."""
    if state.standing(now) in (Standing.PAUSED, Standing.HELD):
        return state
    return ProviderState(state.name, changed_at=now)


class Providers:
    """What is known of the providers, and what becomes of those who want to ask one. Lives on the platform's loop."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock,
        options: BreakerOptions,
        per_minute: Callable[[str], Awaitable[float | None]],
        tell: Callable[[str, str | None, Mapping[str, Any]], Awaitable[None]],
        short_wait_seconds: float,
    ) -> None:
        """Know where the states are kept.

        Args:
            store: Keeps the states for the whole fleet.
            clock: Tells how old is what is known.
            options: When a provider is paused.
            per_minute: How often a provider may be asked; None means as often as one likes.
            tell: Writes an audit event: its type, who did it, and the facts.
            short_wait_seconds: How long an allowance is waited for under the lease.
        """
        self._store = store
        self._clock = clock
        self._options = options
        self._per_minute = per_minute
        self._tell = tell
        self._short_wait = short_wait_seconds
        self._known: dict[str, ProviderState] = {}
        self._known_at: float | None = None

    def gated(self, runtime: Runtime, provider: str, *, patient: bool = False) -> Runtime:
        """The runtime, asked only while its provider is not paused; a `patient` one waits until then."""
        return _Gated(self, runtime, provider, patient=patient)

    async def all(self) -> list[ProviderState]:
        """What is known of each provider that has failed or was paused, by name."""
        self._known_at = None
        await self._look()
        return [self._known[name] for name in sorted(self._known)]

    async def hold(self, name: str, *, reason: str | None, actor: str | None) -> ProviderState:
        """Has nobody ask the provider until it is resumed. Raises InvalidRequestError for a name that is none."""
        _check_name(name)
        now = await self._store.now()
        told = None if reason is None else redact_text(reason)[:_LONGEST_REASON]
        state = await self._change(name, lambda old: replace(old, held=True, reason=told, actor=actor, changed_at=now))
        await self._tell("provider.held", actor, {"provider": name, "reason": told})
        return state

    async def resume(self, name: str, *, actor: str | None) -> ProviderState:
        """Has the provider asked again. Raises InvalidRequestError for a name that is none."""
        _check_name(name)
        now = await self._store.now()
        state = await self._change(name, lambda _: ProviderState(name, changed_at=now))
        await self._tell("provider.resumed", actor, {"provider": name})
        return state

    async def enter(self, name: str) -> None:
        """Returns when the provider may be asked. Raises ProviderPausedError, which says when to try it again."""
        await self._look()
        state = self._known.get(name)
        if state is not None and (state.held or state.paused_until is not None):
            await self._enter_paused(name)
        rate = await self._per_minute(name)
        if rate is not None:
            await self._take_turn(name, 60.0 / rate)

    async def failed(self, name: str, reason: str) -> float | None:
        """A question was given up; until when the provider is paused, None if it is not."""
        if not self._options.failures:
            return None
        now = await self._store.now()
        reason = reason[:_LONGEST_REASON]
        before = self._known.get(name)
        state = await self._change(name, lambda old: after_failure(old, now, self._options, reason))
        if state.held:
            return now + self._options.held_seconds
        if state.paused_until is not None and state.changed_at == now and state != before:
            seconds = state.paused_until - now
            log.warning("provider %s is paused for %.0f s, and runs that need it wait: %s", name, seconds, reason)
            facts = {"provider": name, "seconds": seconds, "pauses": state.pauses, "reason": reason}
            await self._tell("provider.paused", None, facts)
        return state.paused_until

    async def answered(self, name: str) -> None:
        """The provider answered."""
        before = self._known.get(name)
        if before is None or before.held or (not before.failures and before.paused_until is None):
            return
        now = await self._store.now()
        after = await self._change(name, lambda old: after_answer(old, now))
        if before.paused_until is not None and after.paused_until is None:
            log.info("provider %s answers again", name)
            await self._tell("provider.resumed", None, {"provider": name})

    async def _enter_paused(self, name: str) -> None:
        now = await self._store.now()
        taken = False

        def probe(state: ProviderState) -> ProviderState:
            nonlocal taken
            taken = state.standing(now) is Standing.PROBING and (state.probe_until or 0.0) <= now
            return replace(state, probe_until=now + _PROBE_SECONDS) if taken else state

        state = await self._change(name, probe)
        match state.standing(now):
            case Standing.OPEN:
                return
            case Standing.HELD:
                raise _paused(state, now + self._options.held_seconds)
            case Standing.PAUSED:
                raise _paused(state, state.paused_until or now)
            case Standing.PROBING if not taken:
                raise _paused(state, now + min(self._options.pause_seconds, self._options.held_seconds))
            case Standing.PROBING:
                return

    async def _take_turn(self, name: str, interval: float) -> None:
        """Uses up a part of the provider's allowance; waits for it where that is not long."""
        for _ in range(_TRIES):
            now = await self._store.now()
            text = await self._store.get_document(RATE, name)
            used = max(_number(text), now)
            wait = max(0.0, used - BURST_SECONDS - now)
            if wait > self._short_wait:
                break
            if await self._store.change_document(RATE, name, before=text, after=json.dumps(used + interval)):
                await asyncio.sleep(wait)
                return
        else:
            wait = self._short_wait
        raise ProviderPausedError(
            f"Provider {name!r} was asked as often as its limit allows.", provider=name, until=now + wait
        )

    async def _look(self) -> None:
        now = self._clock.monotonic()
        if self._known_at is not None and now - self._known_at < _FRESH_SECONDS:
            return
        self._known_at = now
        documents = await self._store.list_documents(PROVIDER)
        self._known = {name: _read(name, text) for name, text in documents.items()}

    async def _change(self, name: str, change: Callable[[ProviderState], ProviderState]) -> ProviderState:
        """Changes the state for all processes; gives what it is then."""
        while True:
            text = await self._store.get_document(PROVIDER, name)
            state = _read(name, text)
            after = change(state)
            if after != state:
                well = after == ProviderState(name, changed_at=after.changed_at)
                new = None if well else json.dumps(after.to_dict())
                if not await self._store.change_document(PROVIDER, name, before=text, after=new):
                    continue
                if well:
                    self._known.pop(name, None)
                    return after
            self._known[name] = after
            return after


class _Gated:
    """A runtime behind the gate of its provider."""

    def __init__(self, providers: Providers, runtime: Runtime, provider: str, *, patient: bool) -> None:
        self._providers = providers
        self._runtime = runtime
        self._provider = provider
        self._patient = patient

    async def turn(self, request: TurnRequest) -> Turn:
        """The runtime's own answer; raises what it raises, and ProviderPausedError."""
        while True:
            try:
                await self._providers.enter(self._provider)
                break
            except ProviderPausedError:
                if not self._patient:
                    raise
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        try:
            turn = await self._runtime.turn(request)
        except ProviderError as error:
            if not error.transient:
                # It refused, so it is there.
                await self._providers.answered(self._provider)
                raise
            until = await self._providers.failed(self._provider, error.message)
            if until is None or self._patient:
                raise
            raise ProviderPausedError(error.message, provider=self._provider, until=until) from None
        await self._providers.answered(self._provider)
        return turn

    async def aclose(self) -> None:
        """Closes the runtime."""
        await self._runtime.aclose()


def _check_name(name: str) -> None:
    if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable() or name != name.strip():
        raise InvalidRequestError("The name of a provider has 1 to 256 printable characters, such as openai.")


def _paused(state: ProviderState, until: float) -> ProviderPausedError:
    why = f": {state.reason}" if state.reason else "."
    return ProviderPausedError(f"Provider {state.name!r} is paused{why}", provider=state.name, until=until)


def _read(name: str, text: str | None) -> ProviderState:
    try:
        return provider_state(name, None if text is None else json.loads(text))
    except (ValueError, TypeError, AttributeError):
        return ProviderState(name)


def _number(text: str | None) -> float:
    try:
        return 0.0 if text is None else float(text)
    except ValueError:
        return 0.0
