"""The inventory of credentials, over HTTP and in Python."""

import pytest
from fastapi.testclient import TestClient

from kneo_serv.errors import MissingSecretError
from kneo_serv.service.credentials import SecretResolver
from kneo_serv.spec.project_config import SecretsBlock
from tests.service.doors import as_role, refusal

PATH = "/v1/security/credentials"
KEY = "sk-live-never-told-0123456789"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "ANTHROPIC_API_KEY",
        "GOOGLE_API_KEY",
        "GEMINI_API_KEY",
        "KNEO_SERV_ADMIN_API_KEY",
        "MY_PROVIDER_API_KEY",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("BILLING_TOKEN", KEY)


def test_the_inventory_tells_where_credentials_are_and_never_what_they_are(client: TestClient) -> None:
    answer = client.get(PATH)
    assert KEY not in answer.text
    inventory = answer.json()["inventory"]
    assert list(inventory["providers"]) == ["openai", "openai-agents", "anthropic", "google", "google-adk"]
    assert inventory["providers"]["openai"] == {
        "name": "provider:openai",
        "env_var": "OPENAI_API_KEY",
        "present": True,
        "status": "present",
        "value": "[REDACTED]",
        "expires_at": None,
        "last_checked": None,
    }
    missing = inventory["providers"]["google-adk"]
    assert (missing["env_var"], missing["status"], missing["value"]) == ("GOOGLE_API_KEY", "missing", None)
    assert inventory["extra"] == {}
    assert list(inventory["service_tokens"]) == ["KNEO_SERV_API_KEY", "KNEO_SERV_API_KEYS", "KNEO_SERV_ADMIN_API_KEY"]
    assert inventory["service_tokens"]["KNEO_SERV_API_KEY"]["name"] == "service:KNEO_SERV_API_KEY"


def test_what_is_asked_for_is_what_is_told(client: TestClient) -> None:
    asked = {"providers": ["openai", "my-provider"], "extras": "BILLING_TOKEN", "include_service_tokens": "false"}
    inventory = client.get(PATH, params=asked).json()["inventory"]
    assert [entry["env_var"] for entry in inventory["providers"].values()] == ["OPENAI_API_KEY", "MY_PROVIDER_API_KEY"]
    assert inventory["extra"]["BILLING_TOKEN"]["name"] == "extra:BILLING_TOKEN"
    assert inventory["extra"]["BILLING_TOKEN"]["present"] is True
    assert inventory["service_tokens"] == {}


def test_who_looked_and_how_much_there_was_is_audited(guarded: TestClient) -> None:
    asked = {"extras": ["BILLING_TOKEN", "NOTHING_HERE"], "include_service_tokens": "false"}
    assert guarded.get(PATH, params=asked, headers=as_role("operator")).status_code == 200
    refusal(guarded.get(PATH, headers=as_role("viewer")), 403)
    wanted = {"event_type": "credential.inventory_accessed"}
    (event,) = guarded.get("/v1/audit-events", params=wanted, headers=as_role("viewer")).json()["events"]
    assert event["actor"] == "operator"
    assert event["metadata"] == {
        "providers_requested": None,
        "extras_requested": ["BILLING_TOKEN", "NOTHING_HERE"],
        "include_service_references": False,
        "provider_count": 5,
        "extra_count": 2,
        "service_reference_count": 0,
        "providers_present": 2,
        "extras_present": 1,
        "service_references_present": 0,
    }


def test_the_bounds_of_the_question_are_told(client: TestClient) -> None:
    faults = client.get(PATH, params={"extras": ["x"] * 101}).json()["detail"]
    assert faults[0]["loc"] == ["query", "extras"]
    assert client.get(PATH, params={"providers": "x" * 4097}).status_code == 422
    assert refusal(client.get(PATH, params={"provider": "openai"}), 422)["unknown"] == ["provider"]


def test_a_resolver_finds_what_the_config_maps() -> None:
    config = SecretsBlock(provider_env={"openai": "TEAM_KEY"}, extra_env={"billing": "BILLING_TOKEN"})
    resolver = SecretResolver(config, environ={"TEAM_KEY": KEY, "GEMINI_API_KEY": "g"})
    assert resolver.provider_secret("openai", required=True).require() == KEY
    assert resolver.provider_env_var("google") == "GEMINI_API_KEY"
    assert resolver.provider_env_var("my-own") == "MY_OWN_API_KEY"
    assert resolver.extra_secret("billing").env_var == "BILLING_TOKEN"
    assert resolver.extra_secret("billing").redacted()["value"] is None
    assert KEY not in f"{resolver!r} {resolver.provider_secret('openai')!r} {resolver.inventory()}"
    with pytest.raises(MissingSecretError, match="BILLING_TOKEN"):
        resolver.extra_secret("billing", required=True)
