from datetime import UTC, datetime

import pytest

from kneo_serv.cli.remote.retries import LONGEST_PAUSE, Retries, asked_pause

NOW = datetime(2026, 5, 10, 12, 0, tzinfo=UTC).timestamp()


def test_pauses_double_and_never_last_longer_than_the_bound() -> None:
    retries = Retries(100, 0.25, lambda: 1.0)
    assert [retries.pause(failures, None) for failures in (1, 2, 3, 4)] == [0.25, 0.5, 1.0, 2.0]
    assert retries.pause(100, None) == LONGEST_PAUSE


def test_pauses_differ_from_caller_to_caller() -> None:
    assert Retries(1, 1.0, lambda: 0.0).pause(1, None) == 0.5
    assert Retries(1, 1.0, lambda: 0.5).pause(1, None) == 0.75


def test_a_service_that_asks_for_more_gets_more_within_the_bound() -> None:
    retries = Retries(2, 0.25, lambda: 1.0)
    assert retries.pause(1, 5.0) == 5.0
    assert retries.pause(1, 0.01) == 0.25
    assert retries.pause(1, LONGEST_PAUSE) == LONGEST_PAUSE
    assert retries.pause(1, LONGEST_PAUSE + 1) is None


def test_there_are_as_many_attempts_as_are_wanted_and_one() -> None:
    assert [Retries(2, 1.0, lambda: 1.0).pause(failures, None) is None for failures in (1, 2, 3)] == [
        False,
        False,
        True,
    ]
    assert Retries(0, 1.0, lambda: 1.0).pause(1, None) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3", 3.0), ("0", 0.0), (" 1.5 ", 1.5), ("Sun, 10 May 2026 12:00:07 GMT", 7.0),
        ("Sun, 10 May 2026 11:00:00 GMT", 0.0), ("", None), ("soon", None), ("-3", None), ("1e9", None), ("٣", None),
        ("99999999999999999999", 1e20),
    ],
)  # fmt: skip
def test_the_pause_that_is_asked_for_is_a_number_or_a_date(text: str, seconds: float | None) -> None:
    assert asked_pause({"retry-after": text}, NOW) == seconds
