from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from kneo_serv.errors import InvalidRequestError
from kneo_serv.platform.cron import Cron

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str, zone: str = "Europe/Berlin", *, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def following(cron: Cron, moment: float, count: int) -> list[str]:
    found = []
    for _ in range(count):
        after = cron.after(moment)
        assert after is not None
        assert after > moment
        moment = after
        found.append(datetime.fromtimestamp(moment, BERLIN).isoformat()[5:])
    return found


def test_moments_are_those_of_the_time_zone() -> None:
    assert following(Cron("30 7 * * MON-FRI", "Europe/Berlin"), at("2026-05-08 12:00"), 2) == [
        "05-11T07:30:00+02:00",
        "05-12T07:30:00+02:00",
    ]
    assert Cron("0 0 * * *").after(0) == 86_400
    assert Cron("0 0 * * *", "Asia/Kolkata").after(0) == 86_400 - 5.5 * 3600


def test_a_moment_that_falls_into_the_gap_of_spring_comes_right_after_it() -> None:
    daily = Cron("30 2 * * *", "Europe/Berlin")
    assert following(daily, at("2026-03-28 12:00"), 2) == ["03-29T03:00:00+02:00", "03-30T02:30:00+02:00"]
    often = Cron("*/30 * * * *", "Europe/Berlin")
    assert following(often, at("2026-03-29 01:20"), 3) == [
        "03-29T01:30:00+01:00",
        "03-29T03:00:00+02:00",
        "03-29T03:30:00+02:00",
    ]


@pytest.mark.parametrize("fold", [0, 1])
def test_a_fixed_time_in_the_repeated_hour_of_autumn_comes_once(fold: int) -> None:
    daily = Cron("30 2 * * *", "Europe/Berlin")
    assert following(daily, at("2026-10-24 12:00"), 2) == ["10-25T02:30:00+02:00", "10-26T02:30:00+01:00"]
    # Also for one who asks within that hour, when it comes the second time.
    assert following(daily, at("2026-10-25 02:45", fold=fold), 1) == ["10-26T02:30:00+01:00"]
    assert following(daily, at("2026-10-25 02:15", fold=1), 1) == ["10-26T02:30:00+01:00"]


def test_what_is_repeated_through_the_hour_goes_on_in_the_repeated_one() -> None:
    often = Cron("*/30 * * * *", "Europe/Berlin")
    assert following(often, at("2026-10-25 01:50"), 5) == [
        "10-25T02:00:00+02:00",
        "10-25T02:30:00+02:00",
        "10-25T02:00:00+01:00",
        "10-25T02:30:00+01:00",
        "10-25T03:00:00+01:00",
    ]


@pytest.mark.parametrize("expression", ["*/15 * * * *", "30 2 * * *", "0 */5 * * *", "@hourly", "0 0 L * *"])
@pytest.mark.parametrize("day", ["2026-03-27", "2026-10-23"])
def test_looking_back_finds_the_moments_that_looking_forward_found(expression: str, day: str) -> None:
    cron = Cron(expression, "Europe/Berlin")
    since = moment = at(f"{day} 23:59")
    forward = []
    until = since + 3 * 86_400
    while (found := cron.after(moment)) is not None and found <= until:
        forward.append(found)
        moment = found
    assert cron.latest(until, since=since, at_most=1000) == forward
    assert cron.latest(until, since=since, at_most=3) == forward[-3:]
    for one in forward:
        assert cron.latest(one, since=one) == [one]
        assert cron.latest(one - 0.001, since=one) == []


@pytest.mark.parametrize("word", ["@daily", "@DAILY", "@midnight", " 0 0 * * * "])
def test_words_stand_for_expressions(word: str) -> None:
    assert Cron(word).after(1.0) == 86_400


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("", "five fields"),
        ("* * * *", "five fields"),
        ("0 * * * * *", "five fields"),
        ("@reboot", "@daily"),
        ("61 * * * *", "minute"),
        ("0 0 30 2 *", "day-of-month"),
        ("* * */20 * 1L", "no moment that ever comes"),
        ("a b c d e", "minute"),
        ("*" * 10_000, "five fields"),
    ],
)
def test_what_cannot_be_kept_is_refused_with_its_mend(expression: str, said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said) as refused:
        Cron(expression)
    assert len(refused.value.message) < 1000


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd", "Europe", "x" * 300, "a\0b"])
def test_an_unknown_time_zone_is_refused(zone: str) -> None:
    with pytest.raises(InvalidRequestError, match="time zone"):
        Cron("@daily", zone)
