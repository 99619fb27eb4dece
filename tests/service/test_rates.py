"""How often each caller may ask."""

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from kneo_serv.errors import SettingsError
from kneo_serv.service.auth import AuthPrincipal
from kneo_serv.service.rates import Allowance, RateLimit, RateLimits, Rates


class Hands:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def caller(name: str, *roles: str, **more: Any) -> AuthPrincipal:
    return AuthPrincipal(name, frozenset(roles), **more)


def take(rates: Rates, principal: AuthPrincipal) -> Allowance:
    allowance = rates.take(principal)
    assert allowance is not None
    return allowance


def test_nobody_is_limited_unless_it_is_asked_for() -> None:
    limits = RateLimits.from_env({})
    assert Rates(limits).take(caller("alice", "viewer")) is None


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("100/m", RateLimit(100, 60, 100)),
        (" 5 / s burst 20 ", RateLimit(5, 1, 20)),
        ("1000/H", RateLimit(1000, 3600, 1000)),
        ("1/d", RateLimit(1, 86_400, 1)),
        ("off", None),
    ],
)
def test_limits_are_written_as_requests_in_a_unit_of_time(text: str, limit: RateLimit | None) -> None:
    assert RateLimits.from_env({"KNEO_SERV_RATE_LIMIT": text}).limit == limit


@pytest.mark.parametrize("text", ["100", "0/m", "-1/s", "5/week", "5/s burst", "5/s burst 0", "1e3/s", "٣/s"])
def test_a_limit_that_cannot_be_read_refuses_to_start(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^KNEO_SERV_RATE_LIMIT: "):
        RateLimits.from_env({"KNEO_SERV_RATE_LIMIT": text})
    with pytest.raises(SettingsError, match=r"^KNEO_SERV_RATE_LIMIT_ROLES: "):
        RateLimits.from_env({"KNEO_SERV_RATE_LIMIT_ROLES": f"viewer={text}"})
    with pytest.raises(SettingsError, match=r"^KNEO_SERV_RATE_LIMIT_ROLES: "):
        RateLimits.from_env({"KNEO_SERV_RATE_LIMIT_ROLES": f"{text[:3]}=1/s"})


def test_a_caller_gets_its_burst_then_one_for_each_part_of_the_time() -> None:
    clock = Hands()
    rates = Rates(RateLimits(RateLimit(2, 10, 3)), clock=clock)
    alice = caller("alice")
    assert [take(rates, alice).remaining for _ in range(3)] == [2, 1, 0]
    refused = take(rates, alice)
    assert refused.retry_after == 5
    assert refused.headers == {
        "Retry-After": "5",
        "X-RateLimit-Limit": "3",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": "15",
    }
    clock.now += 4.9
    assert take(rates, alice).retry_after == 1
    clock.now += 0.1
    assert take(rates, alice).retry_after is None, "it is true when it says after how long"
    clock.now += 1_000
    assert take(rates, alice).remaining == 2, "a long silence is worth no more than the burst"


def test_callers_do_not_use_up_each_others_requests() -> None:
    rates = Rates(RateLimits(RateLimit(1, 60, 1)), clock=Hands())
    for one in (caller("alice"), caller("alice", tenant="acme"), caller("alice", issuer="https://x.example")):
        assert take(rates, one).retry_after is None
        assert take(rates, one).retry_after == 60


def test_the_limit_of_a_role_counts_instead_and_the_most_generous_of_several() -> None:
    limits = RateLimits.from_env(
        {"KNEO_SERV_RATE_LIMIT": "10/m", "KNEO_SERV_RATE_LIMIT_ROLES": "viewer=1/m; service = 5/s burst 7 ;admin=off;"}
    )
    assert limits.of(caller("a", "reviewer")) == RateLimit(10, 60, 10)
    assert limits.of(caller("a", "viewer")) == RateLimit(1, 60, 1)
    assert limits.of(caller("a", "viewer", "service")) == RateLimit(5, 1, 7)
    assert limits.of(caller("a", "viewer", "admin")) is None


def test_what_is_kept_about_callers_is_bounded() -> None:
    rates = Rates(RateLimits(RateLimit(1, 60, 1)), clock=Hands(), most_buckets=10)
    for number in range(1_000):
        take(rates, caller(f"caller-{number}"))
    assert len(rates) == 10


def test_the_door_answers_429_and_says_when_to_try_again(tmp_path: Path) -> None:
    from tests.service.doors import as_role, door, keys, platform_in
    from tests.service.test_admission import guarded_app

    manager = platform_in(tmp_path, workers=False)
    try:
        app = guarded_app(manager, keys(), rate_limits=RateLimits(RateLimit(2, 60, 2)))
        with TestClient(app) as client:
            first = client.get("/v1/things/1", headers=as_role("viewer"))
            assert (first.status_code, first.headers["x-ratelimit-remaining"]) == (200, "1")
            client.get("/things/1", headers=as_role("viewer"))
            refused = client.get("/v1/things/1?unknown=1", headers=as_role("viewer"))
            assert refused.status_code == 429
            assert refused.json()["detail"]["error"] == "rate_limited"
            assert refused.headers["retry-after"] == "30"
            assert refused.headers["x-ratelimit-limit"] == "2"
            assert client.get("/v1/things/1", headers=as_role("operator")).status_code == 200
            assert client.get("/v1/things/1").status_code == 401
            assert client.post("/v1/things", headers=as_role("viewer")).status_code == 403
            assert client.get("/livez", headers=as_role("viewer")).status_code == 200
        with door(manager, keys()) as open_door:
            assert "x-ratelimit-limit" not in open_door.get("/livez").headers
    finally:
        manager.shutdown()
