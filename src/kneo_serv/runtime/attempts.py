"""Asking a provider again when that may help."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from kneo_serv.errors import ProviderError
from kneo_serv.runtime.retry import MAX_BACKOFF_SECONDS, RetryPolicy


class Setback(Exception):
    """One attempt failed in a way that may pass."""

    def __init__(self, text: str, *, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.retry_after = retry_after
        """Seconds that the provider asks to be left alone."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Where time and chance come from; tests bring their own."""

    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.random
    """A number between 0 and 1."""


REAL_PACE = Pace()


async def attempted[T](attempt: Callable[[], Awaitable[T]], *, policy: RetryPolicy, provider: str, pace: Pace) -> T:
    """What the first attempt that does not end in a `Setback` returns.

    Between attempts the longer one of our own wait and the provider's `retry_after` is waited. A provider that asks
    for more than 60 s, or for more than the time that is left, is not asked again.

    Raises:
        ProviderError: `transient`, when attempts or time are used up. What `attempt` raises otherwise passes through.
    """
    began = pace.clock()
    for number in range(1, policy.attempts + 1):
        try:
            return await _bounded(attempt, policy, left=_seconds_left(policy, began, pace))
        except Setback as setback:
            text = setback.text if number == 1 else f"{setback.text} Gave up after {number} attempts."
            if number == policy.attempts:
                raise ProviderError(text, provider=provider, transient=True) from None
            wait = max(policy.wait_seconds(number, jitter=pace.chance()), setback.retry_after or 0.0)
            left = _seconds_left(policy, began, pace)
            if (setback.retry_after or 0.0) > MAX_BACKOFF_SECONDS or (left is not None and wait >= left):
                why = f"The next attempt would be due in {wait:.3g} s, which is too late."
                raise ProviderError(f"{text} {why}", provider=provider, transient=True) from None
        except _OutOfTimeError as end:
            again = policy.retry_on_timeout and number < policy.attempts
            if not again:
                text = f"Provider {provider!r} did not answer within {end.seconds:.3g} s."
                raise ProviderError(text, provider=provider, transient=True) from None
            wait = policy.wait_seconds(number, jitter=pace.chance())
        await pace.sleep(wait)
    raise AssertionError("a policy has at least one attempt")  # pragma: no cover


class _OutOfTimeError(Exception):
    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


async def _bounded[T](attempt: Callable[[], Awaitable[T]], policy: RetryPolicy, *, left: float | None) -> T:
    limit = policy.timeout_seconds if policy.retry_on_timeout else left
    try:
        async with asyncio.timeout(limit) as bound:
            return await attempt()
    except TimeoutError:
        if not bound.expired():
            raise
        raise _OutOfTimeError(policy.timeout_seconds or 0.0) from None


def _seconds_left(policy: RetryPolicy, began: float, pace: Pace) -> float | None:
    total = policy.total_seconds
    return None if total is None else max(began + total - pace.clock(), 0.0)
