"""The keys of an issuer: when it is asked for them, and what happens while it is away."""

import asyncio
import json
import logging
from collections.abc import Iterator

import pytest
from joserfc.jwk import RSAKey

from kneo_serv.service.auth import AuthConfig, Authenticator, AuthPrincipal, IssuerUnavailable, Refusal
from kneo_serv.service.auth.signing_keys import SigningKeys
from tests.service.auth.issuer import NOW, RSA, Issuer
from tests.service.auth.test_key_file import Hands


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as made:
        yield made


def opened(issuer: Issuer, clock: Hands, **more: str) -> Authenticator:
    config = AuthConfig.from_env({"KNEO_SERV_API_KEYS": "bob:b.o.b:viewer", **issuer.environ(**more)})
    return Authenticator(config, clock=clock, wall=lambda: NOW)


async def accepted(door: Authenticator, token: str) -> bool:
    return isinstance(await door.authenticate(token), AuthPrincipal)


def test_the_issuer_is_asked_once_for_many_callers(issuer: Issuer) -> None:
    async def crowd() -> None:
        door, token = opened(issuer, Hands()), issuer.token()
        assert all(await asyncio.gather(*(accepted(door, token) for _ in range(20))))
        assert await accepted(door, token)
        assert issuer.asked == 1

    asyncio.run(crowd())


def test_a_new_key_is_fetched_when_its_first_token_comes_but_not_with_every_nonsense(issuer: Issuer) -> None:
    async def rotation() -> None:
        clock = Hands()
        door = opened(issuer, clock)
        assert await accepted(door, issuer.token())
        issuer.keys["next"] = new = RSAKey.generate_key(2048)
        clock.now += 30
        assert await accepted(door, issuer.token(new, kid="next"))
        assert issuer.asked == 2
        for number in range(20):
            assert not await accepted(door, issuer.token(kid=f"made-up-{number}"))
        assert issuer.asked == 2
        clock.now += 30
        assert not await accepted(door, issuer.token(kid="made-up"))
        assert issuer.asked == 3

    asyncio.run(rotation())


def test_old_keys_serve_at_once_while_new_ones_are_fetched(issuer: Issuer) -> None:
    async def renewal() -> None:
        clock = Hands()
        keys = SigningKeys(issuer.config(), clock=clock)
        assert await keys.find("RS256", "rsa")
        issuer.gate.clear()
        clock.now += 601
        assert await keys.find("RS256", "rsa"), "the answer has not come, and is not waited for"
        assert issuer.asked == 1
        pending = keys._pending
        assert pending is not None
        issuer.gate.set()
        await asyncio.wrap_future(pending)
        assert issuer.asked == 2

    asyncio.run(renewal())


def test_an_outage_leaves_the_old_keys_in_force_for_a_day_and_is_told_once(
    issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    async def outage() -> None:
        clock = Hands()
        keys = SigningKeys(issuer.config(), clock=clock)
        await keys.find("RS256", "rsa")
        issuer.status = 500
        for _ in range(3):
            clock.now += 3_600
            assert await keys.find("RS256", "rsa")
            pending = keys._pending
            assert pending is not None
            await asyncio.wrap_future(pending)
        clock.now += 86_400
        with pytest.raises(IssuerUnavailable):
            await keys.find("RS256", "rsa")
        issuer.status = 200
        clock.now += 5
        assert await keys.find("RS256", "rsa")

    with caplog.at_level(logging.INFO):
        asyncio.run(outage())
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
    assert "status 500" in caplog.text


def test_while_nothing_can_be_checked_tokens_are_unavailable_and_keys_go_on(issuer: Issuer) -> None:
    async def outage() -> None:
        clock = Hands()
        door = opened(issuer, clock)
        issuer.status = 503
        with pytest.raises(IssuerUnavailable):
            await door.authenticate(issuer.token())
        assert await accepted(door, "b.o.b")
        assert isinstance(await door.authenticate("nonsense"), Refusal)

    asyncio.run(outage())


def test_the_loop_goes_on_while_the_issuer_keeps_it_waiting(issuer: Issuer) -> None:
    async def slow() -> None:
        door = opened(issuer, Hands())
        issuer.gate.clear()
        waiting = asyncio.create_task(accepted(door, issuer.token()))
        for _ in range(100):
            await asyncio.sleep(0)
        assert await accepted(door, "bob") is False
        assert not waiting.done()
        issuer.gate.set()
        assert await waiting

    asyncio.run(slow())


def test_an_issuer_that_never_answers_is_waited_for_only_so_long(issuer: Issuer) -> None:
    issuer.gate.clear()
    door = opened(issuer, Hands(), KEYS_TIMEOUT_SECONDS="1")
    with pytest.raises(IssuerUnavailable):
        asyncio.run(asyncio.wait_for(door.authenticate(issuer.token()), 5))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"keys": 7}',
        b'{"keys": []}',
        b'{"keys": [7, {"kty": "RSA"}]}',
        b"[" * 9_000,
        b" " * 300_000,
    ],
)
def test_an_answer_that_is_no_key_set_counts_as_none(issuer: Issuer, body: bytes) -> None:
    issuer.body = body
    with pytest.raises(IssuerUnavailable):
        asyncio.run(SigningKeys(issuer.config(), clock=Hands()).find("RS256", "rsa"))


def test_keys_for_other_uses_and_of_unknown_kinds_are_left_out(issuer: Issuer) -> None:
    public = RSA.as_dict(private=False)
    good = {**public, "kid": "good", "alg": "RS256", "use": "sig"}
    others = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "shared"},
        {"kty": "XYZ", "kid": "future"},
        {"kty": "OKP", "crv": "X25519", "x": "3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08", "kid": "good"},
        {**public, "kid": "good", "n": public["n"][:300]},
        {**public, "kid": "good", "use": "enc"},
        {**public, "kid": "good", "alg": "PS256"},
    ]
    issuer.body = json.dumps({"keys": [*others, good]}).encode()
    keys = SigningKeys(issuer.config(), clock=Hands())
    assert len(asyncio.run(keys.find("RS256", "good"))) == 1
    assert asyncio.run(keys.find("RS256", "shared")) == []
    assert asyncio.run(keys.find("ES256", "good")) == []


@pytest.mark.parametrize(
    "discovery",
    [{"issuer": "https://elsewhere.example"}, {"jwks_uri": "http://10.0.0.1/keys"}, {"jwks_uri": "file:///etc/passwd"}],
)
def test_a_discovery_document_that_leads_elsewhere_is_not_followed(issuer: Issuer, discovery: dict[str, str]) -> None:
    issuer.discovery = discovery
    with pytest.raises(IssuerUnavailable):
        asyncio.run(SigningKeys(issuer.config(), clock=Hands()).find("RS256", "rsa"))
    assert issuer.asked == 0


def test_redirects_are_not_followed(issuer: Issuer) -> None:
    issuer.status = 302
    config = issuer.config(JWKS_URL=f"{issuer.url}/moved")
    with pytest.raises(IssuerUnavailable):
        asyncio.run(SigningKeys(config, clock=Hands()).find("RS256", "rsa"))
    assert issuer.asked == 1
