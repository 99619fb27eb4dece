import uuid

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from kneo_serv.service import create_app
from kneo_serv.service.auth import AuthConfig
from kneo_serv.service.limits import RequestLimits
from kneo_serv.service.request_ids import current_request_id
from tests.service.doors import keys


@pytest.fixture
def app() -> FastAPI:
    made = create_app(auth_config=keys(), request_limits=RequestLimits(max_body_bytes=100))

    @made.get("/fault")
    async def fault() -> None:
        raise ZeroDivisionError("a secret that nobody may see")

    @made.get("/name")
    async def name() -> str | None:
        return current_request_id()

    return made


@pytest.mark.parametrize("given", ["abc-123", "!~", "x" * 128])
def test_a_callers_own_id_comes_back(app: FastAPI, given: str) -> None:
    with TestClient(app) as client:
        assert client.get("/livez", headers={"X-Request-ID": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "two words", "tab\there", "\xe4"])
def test_an_id_that_cannot_be_used_gives_way_to_one_of_our_own(app: FastAPI, given: str) -> None:
    with TestClient(app) as client:
        answer = client.get("/livez", headers=[(b"X-Request-ID", given.encode("latin-1"))])
        assert str(uuid.UUID(answer.headers["x-request-id"])) == answer.headers["x-request-id"]


def test_every_answer_has_one_whatever_went_wrong(app: FastAPI) -> None:
    with TestClient(app, raise_server_exceptions=False) as client:
        answers = {
            404: client.get("/v1/nothing"),
            405: client.post("/livez"),
            413: client.post("/livez", content=b"x" * 101),
            500: client.get("/fault"),
            503: client.get("/readyz"),
            307: client.get("/livez/", follow_redirects=False),
        }
        for status, answer in answers.items():
            assert answer.status_code == status
            assert str(uuid.UUID(answer.headers["x-request-id"])) == answer.headers["x-request-id"]
        assert answers[500].json()["detail"]["error"] == "internal_error"
        assert "secret" not in answers[500].text


def test_who_works_for_a_request_knows_its_id_and_nobody_else_does(app: FastAPI) -> None:
    with TestClient(app) as client:
        assert client.get("/name", headers={"X-Request-ID": "mine"}).json() == "mine"
    assert current_request_id() is None


def test_two_requests_never_get_the_same_id() -> None:
    with TestClient(create_app(auth_config=AuthConfig.disabled())) as client:
        assert len({client.get("/livez").headers["x-request-id"] for _ in range(20)}) == 20
