"""The app as a whole: where it is, what it shares, and how it refuses."""

from fastapi.testclient import TestClient

from kneo_serv.service import create_app
from kneo_serv.service.auth import AuthConfig


def test_every_route_stands_at_the_root_and_under_v1() -> None:
    with TestClient(create_app(auth_config=AuthConfig.disabled())) as client:
        for prefix in ("", "/v1"):
            assert client.get(f"{prefix}/livez").json() == {"ok": True, "metadata": {}}
            assert client.head(f"{prefix}/livez").status_code == 200


def test_what_is_not_there_is_told_in_the_form_of_all_errors() -> None:
    with TestClient(create_app(auth_config=AuthConfig.disabled())) as client:
        assert client.get("/v1/nothing").json()["detail"]["error"] == "not_found"
        answer = client.post("/v1/livez")
        assert answer.json()["detail"]["error"] == "method_not_allowed"
        assert sorted(answer.headers["allow"].split(", ")) == ["GET", "HEAD"]
