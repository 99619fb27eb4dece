"""The door: who is let in, in which order it is asked, and what the audit says of those who are not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, FastAPI, Query
from fastapi.testclient import TestClient

from kneo_serv.platform import PlatformManager
from kneo_serv.service import create_app
from kneo_serv.service.admission import ScopedRoute, needs
from kneo_serv.service.auth import AuthConfig
from kneo_serv.service.dependencies import Caller
from kneo_serv.service.schemas.shapes import Asked, NoQuery
from tests.service.auth.issuer import RSA, Issuer
from tests.service.doors import as_role, keys, platform_in

router = APIRouter(route_class=ScopedRoute)


class Thing(Asked):
    """What is asked for."""

    size: int


@router.get("/things/{thing_id}", openapi_extra=needs("runs:read"))
async def look(thing_id: str, query: Annotated[NoQuery, Query()], caller: Caller) -> dict[str, Any]:
    return {"id": thing_id, "caller": caller.name, "tenant": caller.tenant}


@router.post("/things", openapi_extra=needs("runs:write"))
async def make(thing: Thing, query: Annotated[NoQuery, Query()]) -> dict[str, Any]:
    return {"size": thing.size}


def guarded_app(manager: PlatformManager, auth: AuthConfig, **given: Any) -> FastAPI:
    """An app with two more routes behind the door."""
    app = create_app(manager=manager, auth_config=auth, **given)
    for prefix in ("", "/v1"):
        app.include_router(router, prefix=prefix)
    return app


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[PlatformManager]:
    made = platform_in(tmp_path, workers=False)
    yield made
    made.shutdown()


def audited(manager: PlatformManager) -> list[tuple[str | None, dict[str, Any]]]:
    """What the audit says of refused attempts, the oldest first."""
    found = manager.list_audit_events(event_type="auth.refused", limit=1000)
    return [(event.actor, dict(event.metadata)) for event in reversed(found)]


def test_without_an_accepted_key_the_answer_is_401_whatever_is_asked_for(platform: PlatformManager) -> None:
    with TestClient(guarded_app(platform, keys())) as client:
        told = set()
        for headers in (
            {},
            {"Authorization": "Bearer wrong"},
            {"X-Kneo-Api-Key": "wrong"},
            {"X-API-Key": "viewer-token"},
        ):
            answer = client.post("/v1/things?unknown=1", content=b"{", headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            told.add(answer.text)
        assert len(told) == 1, "nobody learns what was wrong"
        assert client.get("/v1/things/1", headers={"X-Kneo-Api-Key": "viewer-token"}).json()["caller"] == "viewer"
        assert client.get("/v1/things/1", headers={"Authorization": "bEaReR viewer-token"}).status_code == 200


def test_a_bearer_key_wins_over_the_other_header_and_another_scheme_does_not(platform: PlatformManager) -> None:
    other = {"X-Kneo-Api-Key": "viewer-token"}
    with TestClient(guarded_app(platform, keys())) as client:
        assert client.get("/things/1", headers={"Authorization": "Bearer wrong", **other}).status_code == 401
        assert client.get("/things/1", headers={"Authorization": "Basic dTpw", **other}).status_code == 200


def test_without_the_scope_the_answer_is_403_and_tells_nothing_of_the_parameters(platform: PlatformManager) -> None:
    with TestClient(guarded_app(platform, keys())) as client:
        answer = client.post("/v1/things?unknown=1", content=b"{", headers=as_role("viewer"))
        assert answer.status_code == 403
        assert answer.json()["detail"] == {
            "error": "forbidden",
            "message": "Missing required scope: runs:write",
            "required_scope": "runs:write",
        }
        unknown = client.post("/v1/things?unknown=1", content=b"{", headers=as_role("operator"))
        assert unknown.status_code == 422


def test_refused_attempts_are_in_the_audit_with_the_reason_and_never_the_key(platform: PlatformManager) -> None:
    expired = "gone:old-secret:viewer,expires=2020-01-01"
    auth = AuthConfig.from_env({"KNEO_SERV_API_KEYS": f"eve:eves-secret:viewer;{expired}"})
    with TestClient(guarded_app(platform, auth), client=("192.0.2.7", 5000)) as client:
        answers = [
            client.get("/v1/things/with-a-wrong-key", headers={"Authorization": "Bearer wrong-secret"}),
            client.get("/v1/things/expired", headers={"Authorization": "Bearer old-secret"}),
            client.post("/v1/things", json={"size": 1}, headers={"Authorization": "Bearer eves-secret"}),
        ]
    assert [answer.status_code for answer in answers] == [401, 401, 403]
    assert answers[0].json() == answers[1].json(), "who holds an expired key is not told that it is one"
    told = audited(platform)
    at, client_ip = "GET /things/{thing_id}", "192.0.2.7"
    assert [
        (actor, facts["reason"], facts["route"], facts["required_scope"], facts["client"]) for actor, facts in told
    ] == [
        (None, "unauthorized", at, "runs:read", client_ip),
        ("gone", "expired", at, "runs:read", client_ip),
        ("eve", "forbidden", "POST /things", "runs:write", client_ip),
    ]
    for secret in ("wrong-secret", "old-secret", "eves-secret", "with-a-wrong-key"):
        assert secret not in str(told)


def test_who_knocks_often_does_not_fill_the_audit(platform: PlatformManager) -> None:
    with TestClient(guarded_app(platform, keys())) as client:
        for _ in range(50):
            assert client.get("/v1/things/1").status_code == 401
    told = audited(platform)
    assert len(told) == 11
    assert told[-1][1]["left_out"] == 40


def test_the_tenant_of_a_key_reaches_the_route(platform: PlatformManager) -> None:
    auth = AuthConfig.from_env({"KNEO_SERV_API_KEYS": "alice:k:viewer,tenant=acme"})
    with TestClient(guarded_app(platform, auth)) as client:
        assert client.get("/things/1", headers={"Authorization": "Bearer k"}).json()["tenant"] == "acme"


def test_tokens_and_keys_open_the_same_door(platform: PlatformManager) -> None:
    with Issuer() as issuer:
        auth = AuthConfig.from_env({"KNEO_SERV_API_KEYS": "bob:bobs-key:viewer", **issuer.environ(TENANT_CLAIM="org")})

        def bearer(**claims: Any) -> dict[str, str]:
            return {"Authorization": f"Bearer {issuer.token(RSA, exp=4_000_000_000, iat=1_700_000_000, **claims)}"}

        with TestClient(guarded_app(platform, auth)) as client:
            answer = client.get("/v1/things/1", headers=bearer(org="acme"))
            assert answer.json() == {"id": "1", "caller": "alice", "tenant": "acme"}
            assert client.get("/v1/things/1", headers={"X-Kneo-Api-Key": "bobs-key"}).json()["caller"] == "bob"
            assert client.get("/v1/things/1", headers=bearer(org="acme", roles=["other"])).status_code == 403
            assert client.get("/v1/things/1", headers=bearer()).status_code == 403, "it has no tenant"
            assert client.get("/v1/things/1", headers=bearer(org="acme", aud="other")).status_code == 401


def test_while_the_issuer_is_away_tokens_get_503_and_keys_go_on(platform: PlatformManager) -> None:
    with Issuer() as issuer:
        issuer.status = 500
        auth = AuthConfig.from_env({"KNEO_SERV_API_KEYS": "bob:bobs-key:viewer", **issuer.environ()})
        with TestClient(guarded_app(platform, auth)) as client:
            answer = client.get("/v1/things/1", headers={"Authorization": f"Bearer {issuer.token()}"})
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            assert answer.json()["detail"]["error"] == "identity_unavailable"
            assert client.get("/v1/things/1", headers={"Authorization": "Bearer bobs-key"}).status_code == 200


def test_where_nobody_is_asked_any_key_will_do(platform: PlatformManager) -> None:
    with TestClient(guarded_app(platform, AuthConfig.disabled())) as client:
        assert client.get("/things/1").json() == {"id": "1", "caller": "anonymous", "tenant": None}
        assert client.get("/things/1", headers={"Authorization": "Bearer whatever"}).status_code == 200


def test_admission_reads_keys_from_a_file_that_changes(platform: PlatformManager, tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("alice:first-key:viewer\n")
    path.chmod(0o600)
    auth = AuthConfig.from_env({"KNEO_SERV_API_KEYS_FILE": str(path)})
    with TestClient(guarded_app(platform, auth)) as client:
        assert client.get("/things/1", headers={"X-Kneo-Api-Key": "first-key"}).status_code == 200
        assert client.get("/things/1", headers={"X-Kneo-Api-Key": "other"}).status_code == 401
