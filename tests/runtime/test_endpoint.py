from collections.abc import Mapping
from typing import Any

import pytest

from kneo_serv.errors import MissingSecretError
from kneo_serv.model.plan import ModelPlan
from kneo_serv.model.secret import Secrets
from kneo_serv.runtime.endpoint import Endpoint
from kneo_serv.runtime.providers import PROVIDERS

KEYS = {name: f"{name}-value" for entry in PROVIDERS.values() for name in entry.key_variables}


def endpoint(provider: str = "openai", *, environ: Mapping[str, str] = KEYS, **fields: Any) -> Endpoint:
    model = ModelPlan(provider, "m", **fields)
    return Endpoint(model, PROVIDERS[provider], Secrets(environ))


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_default_key_goes_to_the_provider_itself_and_to_this_machine(provider: str) -> None:
    expected = f"{PROVIDERS[provider].key_variables[0]}-value"

    assert endpoint(provider).key() == expected
    for here in ("http://127.0.0.1:9/v1", "http://localhost:9", "http://[::1]:9"):
        assert endpoint(provider, base_url=here).key() == expected


@pytest.mark.parametrize("provider", [name for name in PROVIDERS if name != "ollama"])
@pytest.mark.parametrize(
    "base_url",
    [
        "https://gateway.example.com/v1",
        "https://api.openai.com.example.com",
        "https://api-openai.com",
        "http://api.openai.com",
        "http://api.anthropic.com",
        "http://10.0.0.1/v1",
        "https://127.0.0.1.example.com",
    ],
)
def test_an_address_that_a_spec_brings_along_never_gets_the_default_key(provider: str, base_url: str) -> None:
    strange = endpoint(provider, base_url=base_url)

    with pytest.raises(MissingSecretError, match="is not sent to http") as caught:
        strange.key()
    assert "model.api_key_ref" in caught.value.message
    assert "-value" not in f"{caught.value} {strange!r}"
    assert strange.shortage() == caught.value.message


def test_a_strange_address_that_needs_no_key_gets_none() -> None:
    assert endpoint("ollama", base_url="https://models.example.com").key() == ""


def test_the_address_of_the_variable_gets_the_default_key_by_whatever_path() -> None:
    environ = {**KEYS, "OPENAI_BASE_URL": "https://gateway.example.com/v1"}

    assert endpoint(environ=environ).key() == "OPENAI_API_KEY-value"
    assert endpoint(environ=environ, base_url="https://gateway.example.com:443/other").key() == "OPENAI_API_KEY-value"
    for elsewhere in ("http://gateway.example.com/v1", "https://gateway.example.com:8443/v1"):
        with pytest.raises(MissingSecretError):
            endpoint(environ=environ, base_url=elsewhere).key()


def test_the_spec_may_name_another_key_for_another_address() -> None:
    environ = {**KEYS, "GATEWAY_KEY": "named"}
    named = endpoint(environ=environ, base_url="https://gateway.example.com/v1", api_key_ref="GATEWAY_KEY")

    assert (named.key(), named.key_source) == ("named", "GATEWAY_KEY")


def test_a_name_goes_through_the_project_config_to_its_variable() -> None:
    secrets = Secrets({"TEAM_KEY": "team", "gateway": "no"}, extra_env={"gateway": "TEAM_KEY"})
    named = Endpoint(ModelPlan("openai", "m", api_key_ref="gateway"), PROVIDERS["openai"], secrets)

    assert (named.key(), named.key_source) == ("team", "TEAM_KEY")
    empty = Endpoint(ModelPlan("openai", "m", api_key_ref="gateway"), PROVIDERS["openai"], Secrets({}))
    with pytest.raises(MissingSecretError, match=r"^gateway is not set: .* since model.api_key_ref names it"):
        empty.key()


@pytest.mark.parametrize("extra_env", [{}, {"mine": "KNEO_SERV_SPEC_SIGNING_KEY"}])
def test_the_platforms_own_secrets_cannot_be_named(extra_env: Mapping[str, str]) -> None:
    secrets = Secrets({"KNEO_SERV_SPEC_SIGNING_KEY": "canary"}, extra_env=extra_env)
    reference = next(iter(extra_env), "KNEO_SERV_SPEC_SIGNING_KEY")
    problem = Endpoint(
        ModelPlan("openai", "m", extra={"api_key_ref": reference}), PROVIDERS["openai"], secrets
    ).problem()

    assert problem is not None
    assert "must not name KNEO_SERV_SPEC_SIGNING_KEY" in problem
    assert "canary" not in problem


@pytest.mark.parametrize(
    "key", ["sk-proj-canary0123456789abcdefghij", "gsk_canary0123456789abcdefghijklmnopqrstuvwxyz0123456789"]
)
def test_a_key_where_its_name_belongs_is_never_quoted(key: str) -> None:
    mistaken = endpoint(api_key_ref=key)

    told = mistaken.problem() or mistaken.shortage() or ""
    assert "api_key_ref" in told
    assert "canary" not in f"{told} {mistaken.key_source} {mistaken!r}"


def test_either_variable_of_google_will_do() -> None:
    assert endpoint("google", environ={"GEMINI_API_KEY": "g"}).key() == "g"
    assert endpoint("google", environ={"GEMINI_API_KEY": "g"}).key_source == "GEMINI_API_KEY"
    with pytest.raises(MissingSecretError, match=r"^GOOGLE_API_KEY \(or GEMINI_API_KEY\) is not set"):
        endpoint("google", environ={}).key()


def test_mistral_takes_only_the_fields_that_its_library_knows() -> None:
    assert endpoint("mistral", extra={"random_seed": 3, "base_url": "https://x.example"}).problem() is None
    problem = endpoint("mistral", extra={"top_k": 3}).problem()
    assert problem is not None
    assert "must not hold top_k: provider 'mistral' takes frequency_penalty" in problem


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("https://bedrock-runtime.eu-west-1.amazonaws.com", True),
        ("https://bedrock-runtime-fips.us-gov-west-1.amazonaws.com", True),
        ("https://mine.execute-api.eu-west-1.amazonaws.com", False),
        ("https://bedrock-runtime.eu-west-1.amazonaws.com.example.org", False),
    ],
)
def test_only_the_hosts_of_bedrock_itself_are_its_own(url: str, own: bool) -> None:
    assert endpoint("bedrock", base_url=url).is_own is own
    named = endpoint("bedrock", base_url=url, environ={**KEYS, "AWS_REGION": "eu-west-1"})
    assert (named.shortage() is None) is own
