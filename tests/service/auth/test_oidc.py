"""Which tokens are accepted, as the environment says it."""

import pytest

from kneo_serv.errors import SettingsError
from kneo_serv.service.auth import OIDCConfig
from kneo_serv.service.auth.oidc import claim_at

GIVEN = {
    "KNEO_SERV_OIDC_ISSUER": "https://login.example.com/",
    "KNEO_SERV_OIDC_AUDIENCE": "kneo, kneo-test",
    "KNEO_SERV_OIDC_ROLE_MAP": "CN=ops,DC=example=operator; eyes=viewer,runs:write",
}


def test_three_variables_are_enough() -> None:
    config = OIDCConfig.from_env(GIVEN)
    assert config is not None
    assert config.audiences == ("kneo", "kneo-test")
    assert set(config.role_map) == {"CN=ops,DC=example", "eyes"}
    assert (config.role_claim, config.name_claim, config.tenant_claim) == ("roles", "sub", None)
    assert config.algorithms == ("RS256", "ES256", "EdDSA")
    assert OIDCConfig.from_env({}) is None


@pytest.mark.parametrize("name", sorted(GIVEN))
def test_each_of_them_is_needed(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}: it is missing"):
        OIDCConfig.from_env({key: value for key, value in GIVEN.items() if key != name})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ISSUER", "http://login.example.com"),
        ("ISSUER", "ftp://login.example.com"),
        ("ISSUER", "https://user:pass@login.example.com"),
        ("ISSUER", "login"),
        ("JWKS_URL", "file:///etc/passwd"),
        ("ROLE_MAP", "ops"),
        ("ROLE_MAP", "ops=emperor"),
        ("ROLE_MAP", "ops=operator,tenant=acme"),
        ("ROLE_MAP", "{"),
        ("ROLE_MAP", '{"ops": 7}'),
        ("LEEWAY_SECONDS", "-1"),
        ("KEYS_TIMEOUT_SECONDS", "0"),
        ("ALGORITHMS", "RS256 HS256"),
        ("AUDIENCES", "kneo"),
    ],
)
def test_a_value_that_cannot_be_used_refuses_to_start_and_names_the_variable(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^KNEO_SERV_OIDC_{name}: "):
        OIDCConfig.from_env({**GIVEN, f"KNEO_SERV_OIDC_{name}": value})


def test_a_path_leads_through_names_that_hold_dots() -> None:
    claims = {"a": {"b": {"c": 1}}, "a.b": {"d": 2}, "https://x.example/y": {"z": 3}}
    assert [claim_at(claims, path) for path in ("a.b.c", "a.b.d", "https://x.example/y.z", "a.b.e", "a.b.c.d")] == [
        1,
        2,
        3,
        None,
        None,
    ]
