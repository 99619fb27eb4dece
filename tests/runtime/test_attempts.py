import asyncio

import pytest

from kneo_serv.errors import ProviderError
from kneo_serv.runtime.attempts import Pace, Setback, attempted
from kneo_serv.runtime.retry import RetryPolicy


class Scene:
    """A clock that only waiting moves, and an attempt that fails as it is told."""

    def __init__(self, *failures: Exception | None) -> None:
        self.failures = list(failures)
        self.now = 1000.0
        self.waits: list[float] = []
        self.tried = 0

    async def attempt(self) -> str:
        self.tried += 1
        failure = self.failures.pop(0)
        if failure is not None:
            raise failure
        return "answer"

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def play(self, policy: RetryPolicy) -> str:
        pace = Pace(sleep=self.sleep, clock=lambda: self.now, chance=lambda: 0.0)
        return asyncio.run(attempted(self.attempt, policy=policy, provider="openai", pace=pace))


def test_a_setback_is_followed_by_another_attempt() -> None:
    scene = Scene(Setback("full"), Setback("full"), None)

    assert scene.play(RetryPolicy(max_retries=2, backoff_seconds=0.5)) == "answer"
    assert scene.waits == [0.5, 1.0]


def test_a_provider_that_asks_for_more_time_gets_it() -> None:
    scene = Scene(Setback("full", retry_after=7.0), Setback("full", retry_after=0.1), None)

    assert scene.play(RetryPolicy(max_retries=2, backoff_seconds=0.5)) == "answer"
    assert scene.waits == [7.0, 1.0]


def test_used_up_attempts_are_a_transient_error() -> None:
    scene = Scene(Setback("It is full."), Setback("It is full."))

    with pytest.raises(ProviderError, match=r"^It is full\. Gave up after 2 attempts\.$") as caught:
        scene.play(RetryPolicy(max_retries=1))
    assert caught.value.transient
    assert caught.value.provider == "openai"


def test_nobody_waits_longer_than_the_time_limit() -> None:
    scene = Scene(Setback("full", retry_after=20.0), Setback("full", retry_after=20.0), None)

    with pytest.raises(ProviderError, match="The next attempt would be due in 20 s, which is too late"):
        scene.play(RetryPolicy(max_retries=5, timeout_seconds=30.0))
    assert scene.waits == [20.0]


def test_a_provider_that_asks_for_an_hour_is_not_waited_for() -> None:
    scene = Scene(Setback("full", retry_after=3600.0), None)

    with pytest.raises(ProviderError, match="too late") as caught:
        scene.play(RetryPolicy(max_retries=5))
    assert caught.value.transient
    assert scene.waits == []


def test_other_errors_are_not_tried_again() -> None:
    scene = Scene(ProviderError("refused", provider="openai"), None)

    with pytest.raises(ProviderError, match="refused"):
        scene.play(RetryPolicy(max_retries=5))
    assert scene.tried == 1


def test_a_timeout_from_within_is_not_taken_for_our_own_limit() -> None:
    scene = Scene(TimeoutError("theirs"))

    with pytest.raises(TimeoutError, match="theirs"):
        scene.play(RetryPolicy(max_retries=5, timeout_seconds=30.0))


@pytest.mark.parametrize(("again", "tried"), [(False, 1), (True, 3)])
def test_a_silent_provider_is_asked_again_only_on_request(again: bool, tried: int) -> None:
    asked = []

    async def silent() -> str:
        asked.append(1)
        await asyncio.Event().wait()
        return "never"

    policy = RetryPolicy(max_retries=2, timeout_seconds=0.01, retry_on_timeout=again)
    with pytest.raises(ProviderError, match=r"did not answer within 0\.01 s") as caught:
        asyncio.run(attempted(silent, policy=policy, provider="openai", pace=Pace()))
    assert caught.value.transient
    assert len(asked) == tried
