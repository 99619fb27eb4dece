"""Tokens of an identity provider: which are accepted, and what they grant."""

import asyncio
import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from joserfc.jwk import OctKey, RSAKey

from kneo_serv.service.auth import AuthConfig, Authenticator, AuthPrincipal, Refusal
from tests.service.auth.issuer import EC, NOW, OKP, RSA, Issuer


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as made:
        yield made


def verdict(issuer: Issuer, token: str, **more: str) -> AuthPrincipal | Refusal:
    config = AuthConfig.from_env({"KNEO_SERV_API_KEYS": "bob:bobs.dotted.key:viewer", **issuer.environ(**more)})
    return asyncio.run(Authenticator(config, clock=lambda: 0.0, wall=lambda: NOW).authenticate(token))


def refusal(issuer: Issuer, token: str, **more: str) -> Refusal:
    found = verdict(issuer, token, **more)
    assert isinstance(found, Refusal), found
    return found


@pytest.mark.parametrize(
    ("key", "alg", "kid"),
    [(RSA, "RS256", "rsa"), (EC, "ES256", "ec"), (OKP, "EdDSA", "okp"), (RSA, "RS256", None), (EC, "ES256", None)],
)
def test_a_token_that_the_issuer_signed_is_accepted(issuer: Issuer, key: Any, alg: str, kid: str | None) -> None:
    caller = verdict(issuer, issuer.token(key, alg, kid))
    assert isinstance(caller, AuthPrincipal)
    assert (caller.name, caller.tenant) == ("alice", None)
    assert caller.roles == {"operator"}
    assert caller.has_scope("policies:write")
    assert caller.identity == f"{issuer.url}||alice"


def test_keys_and_tokens_are_in_use_at_once_and_a_key_may_look_like_a_token(issuer: Issuer) -> None:
    caller = verdict(issuer, "bobs.dotted.key")
    assert isinstance(caller, AuthPrincipal)
    assert caller.name == "bob"


def test_a_token_of_another_key_or_changed_on_the_way_is_refused(issuer: Issuer) -> None:
    stranger = RSAKey.generate_key(2048)
    assert "has signed" in refusal(issuer, issuer.token(stranger)).detail
    head, _, signature = issuer.token().split(".")
    forged = json.dumps({"iss": issuer.url, "aud": "kneo", "sub": "eve", "exp": NOW + 300, "roles": ["ops"]})
    body = base64.urlsafe_b64encode(forged.encode()).decode().rstrip("=")
    assert "has signed" in refusal(issuer, f"{head}.{body}.{signature}").detail


def test_no_signature_and_a_shared_secret_are_never_accepted(issuer: Issuer) -> None:
    head = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    assert refusal(issuer, f"{head}.{issuer.token().split('.')[1]}.").reason == "unauthorized"
    # The public key of the issuer as the secret: whoever knows it, which is everybody, could sign.
    public = OctKey.import_key(RSA.as_pem(private=False).replace(b"-----", b""))
    assert "header" in refusal(issuer, issuer.token(public, "HS256")).detail


@pytest.mark.parametrize("alg", ["none", "HS256", "HS512", "RS257", ""])
def test_such_algorithms_cannot_even_be_configured(issuer: Issuer, alg: str) -> None:
    from kneo_serv.errors import SettingsError

    with pytest.raises(SettingsError, match="KNEO_SERV_OIDC_ALGORITHMS"):
        issuer.config(ALGORITHMS=f"RS256 {alg}" if alg else ",")


def test_an_algorithm_that_is_not_configured_is_refused(issuer: Issuer) -> None:
    assert "header" in refusal(issuer, issuer.token(), ALGORITHMS="ES256").detail


@pytest.mark.parametrize(
    ("claims", "reason", "detail"),
    [
        ({"iss": "https://elsewhere.example/"}, "unauthorized", "another issuer"),
        ({"iss": None}, "unauthorized", "another issuer"),
        ({"aud": "other"}, "unauthorized", "another audience"),
        ({"aud": ["other", "kneo-2"]}, "unauthorized", "another audience"),
        ({"aud": None}, "unauthorized", "another audience"),
        ({"aud": {"kneo": 1}}, "unauthorized", "another audience"),
        ({"exp": NOW - 31}, "expired", "expired"),
        ({"exp": None}, "unauthorized", "no end"),
        ({"exp": float("nan")}, "unauthorized", "times that are none"),
        ({"exp": float("inf")}, "unauthorized", "times that are none"),
        ({"exp": str(NOW + 300)}, "unauthorized", "times that are none"),
        ({"exp": True}, "unauthorized", "times that are none"),
        ({"nbf": NOW + 31}, "unauthorized", "not valid yet"),
        ({"iat": NOW + 31}, "unauthorized", "not valid yet"),
        ({"sub": None}, "unauthorized", "no usable name"),
        ({"sub": ""}, "unauthorized", "no usable name"),
        ({"sub": "a\nb"}, "unauthorized", "no usable name"),
        ({"sub": 7}, "unauthorized", "no usable name"),
    ],
)
def test_a_token_for_others_or_out_of_its_time_is_refused(
    issuer: Issuer, claims: dict[str, Any], reason: str, detail: str
) -> None:
    found = refusal(issuer, issuer.token(**claims))
    assert found.reason == reason
    assert detail in found.detail


def test_clocks_may_differ_a_little(issuer: Issuer) -> None:
    assert isinstance(verdict(issuer, issuer.token(exp=NOW - 29, nbf=NOW + 29, iat=NOW + 29)), AuthPrincipal)
    assert isinstance(verdict(issuer, issuer.token(exp=NOW), LEEWAY_SECONDS="0"), Refusal)
    assert isinstance(verdict(issuer, issuer.token(exp=10**400, aud=["x", "kneo"])), AuthPrincipal)


@pytest.mark.parametrize(
    "token",
    [
        "..",
        "a.b.c",
        "é.é.é",
        "\udcff.\x00.x",
        "eyJhbGciOiJSUzI1NiJ9..",
        "eyJhbGciOlsiUlMyNTYiXX0.e30.e30",
        "W10.e30.e30",
        f"{base64.urlsafe_b64encode(b'[' * 6000).decode()}.e30.e30",
        f"{'a' * 20_000}.b.c",
        "a.b.c.d",
    ],
)
def test_nonsense_with_dots_is_refused_like_any_other_key(issuer: Issuer, token: str) -> None:
    assert refusal(issuer, token).reason == "unauthorized"


def test_a_header_that_demands_more_than_is_known_is_refused(issuer: Issuer) -> None:
    head = base64.urlsafe_b64encode(b'{"alg":"RS256","kid":"rsa","crit":["exp"],"exp":1}').decode().rstrip("=")
    assert "header" in refusal(issuer, f"{head}.e30.e30").detail


def test_a_token_without_a_mapped_role_is_somebody_who_may_do_nothing(issuer: Issuer) -> None:
    for roles in ([], ["admin"], "operator", {"ops": True}, [7, None], None):
        caller = verdict(issuer, issuer.token(roles=roles))
        assert isinstance(caller, AuthPrincipal)
        assert not caller.scopes, roles


def test_roles_are_found_at_a_path_also_where_names_hold_dots_and_texts_list_words(issuer: Issuer) -> None:
    claims: dict[str, Any] = {
        "realm_access": {"roles": ["eyes"]},
        "https://kneo.example/roles": ["eyes"],
        "scope": "openid eyes",
        "group": "our ops",
    }
    token = issuer.token(**claims)
    for path in ("realm_access.roles", "https://kneo.example/roles", "scope"):
        caller = verdict(issuer, token, ROLE_CLAIM=path)
        assert isinstance(caller, AuthPrincipal)
        assert caller.roles == {"viewer"}, path
    caller = verdict(issuer, token, ROLE_CLAIM="group", ROLE_MAP='{"our ops": ["reviewer", "runs:write"]}')
    assert isinstance(caller, AuthPrincipal)
    assert caller.roles == {"reviewer"}
    assert caller.has_scope("runs:write")


def test_name_and_tenant_come_from_the_claims_that_are_named(issuer: Issuer) -> None:
    more = {"NAME_CLAIM": "preferred_username", "TENANT_CLAIM": "org.id"}
    caller = verdict(issuer, issuer.token(preferred_username="al", org={"id": "acme"}), **more)
    assert isinstance(caller, AuthPrincipal)
    assert (caller.name, caller.tenant) == ("al", "acme")
    assert caller.has_scope("runs:read")


@pytest.mark.parametrize("tenant", [None, "", 7, "a b", ["acme"]])
def test_where_tenants_are_asked_for_a_token_without_one_may_do_nothing(issuer: Issuer, tenant: Any) -> None:
    caller = verdict(issuer, issuer.token(org=tenant), TENANT_CLAIM="org")
    assert isinstance(caller, AuthPrincipal)
    assert not caller.scopes
