from collections.abc import Mapping

import pytest

from kneo_serv.errors import SettingsError
from kneo_serv.runtime import RetryPolicy

PREFIX = "KNEO_SERV_PROVIDER"


def test_a_policy_counts_the_first_attempt() -> None:
    assert RetryPolicy().attempts == 1
    assert RetryPolicy(max_retries=2).attempts == 3


def test_the_wait_doubles_up_to_a_minute() -> None:
    policy = RetryPolicy(max_retries=9, backoff_seconds=1.0)

    assert [policy.wait_seconds(retry) for retry in (1, 2, 3, 7, 1000)] == [1.0, 2.0, 4.0, 60.0, 60.0]


def test_jitter_adds_at_most_a_quarter() -> None:
    assert RetryPolicy(backoff_seconds=4.0).wait_seconds(1, jitter=1.0) == 5.0


def test_the_time_limit_covers_all_attempts_unless_timeouts_are_retried() -> None:
    assert RetryPolicy(max_retries=2, timeout_seconds=10.0).total_seconds == 10.0
    assert RetryPolicy(max_retries=2, timeout_seconds=10.0, retry_on_timeout=True).total_seconds == 30.0
    assert RetryPolicy(max_retries=2).total_seconds is None


def test_a_policy_is_read_from_the_environment() -> None:
    environ = {
        f"{PREFIX}_RETRIES": "3",
        f"{PREFIX}_RETRY_BACKOFF_SECONDS": "0.25",
        f"{PREFIX}_TIMEOUT_SECONDS": " 30 ",
        f"{PREFIX}_RETRY_ON_TIMEOUT": "True",
    }

    assert RetryPolicy.from_env(PREFIX, environ=environ) == RetryPolicy(3, 0.25, 30.0, True)


@pytest.mark.parametrize("environ", [{}, {f"{PREFIX}_RETRIES": "", f"{PREFIX}_TIMEOUT_SECONDS": " "}])
def test_what_is_not_set_has_its_default(environ: Mapping[str, str]) -> None:
    assert RetryPolicy.from_env(PREFIX, default_retries=2, environ=environ) == RetryPolicy(max_retries=2)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RETRIES", "-1"),
        ("RETRIES", "two"),
        ("RETRIES", "1.5"),
        ("RETRY_BACKOFF_SECONDS", "-0.1"),
        ("RETRY_BACKOFF_SECONDS", "nan"),
        ("TIMEOUT_SECONDS", "0"),
        ("TIMEOUT_SECONDS", "inf"),
        ("TIMEOUT_SECONDS", "soon"),
        ("RETRY_ON_TIMEOUT", "yes"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"{PREFIX}_{name}: '{value}' must be") as caught:
        RetryPolicy.from_env(PREFIX, environ={f"{PREFIX}_{name}": value})

    assert caught.value.variable == f"{PREFIX}_{name}"
