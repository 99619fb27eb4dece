"""The app as a whole: where it is, what it shares, and how it refuses."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from kneo_serv.errors import PlatformClosedError, SettingsError
from kneo_serv.service import create_app
from kneo_serv.service.auth import AuthConfig
from kneo_serv.service.dependencies import reset_platform_manager, set_platform_manager
from kneo_serv.service.route_table import UNKNOWN, RouteTable
from kneo_serv.service.state import Service
from kneo_serv.settings import Settings
from tests.service.doors import AGENT, as_role, door, keys, platform_in, refusal

OPEN = ["/livez", "/v1/livez", "/healthz", "/v1/healthz", "/metrics", "/openapi.json", "/docs", "/redoc"]


@pytest.fixture(autouse=True)
def nothing_given() -> Iterator[None]:
    yield
    reset_platform_manager()


@pytest.fixture
def bare() -> Iterator[TestClient]:
    """Somebody at the door of an app that has no platform."""
    with TestClient(create_app(auth_config=AuthConfig.disabled())) as made:
        yield made


def test_every_route_stands_at_the_root_and_under_v1(bare: TestClient) -> None:
    for prefix in ("", "/v1"):
        assert bare.get(f"{prefix}/livez").json() == {"ok": True, "metadata": {}}
        assert bare.head(f"{prefix}/livez").status_code == 200


def test_metrics_stand_at_the_root_only(bare: TestClient) -> None:
    assert bare.get("/metrics").status_code == 200
    refusal(bare.get("/v1/metrics"), 404)


@pytest.mark.parametrize("path", OPEN)
def test_what_is_open_needs_no_key_and_answers_to_head(path: str) -> None:
    with TestClient(create_app(auth_config=keys())) as client:
        whole, head = client.get(path), client.head(path)
        assert (whole.status_code, head.status_code) == (200, 200)
        assert head.content == b""
        assert head.headers["content-type"] == whole.headers["content-type"]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH"])
def test_what_is_not_there_is_told_in_the_form_of_all_errors(bare: TestClient, method: str) -> None:
    assert refusal(bare.request(method, "/v1/nothing"), 404)["error"] == "not_found"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_a_wrong_method_is_told_which_ones_there_are_in_a_fixed_order(bare: TestClient, method: str) -> None:
    answer = bare.request(method, "/v1/livez")
    assert refusal(answer, 405)["error"] == "method_not_allowed"
    assert answer.headers["allow"] == "GET, HEAD"


def test_the_methods_of_a_path_are_those_of_all_its_routes() -> None:
    table = RouteTable([("/runs", {"POST"}), ("/runs", {"GET"}), ("/runs/{run_id}", {"GET"})])
    assert table.allowed("/runs") == ("GET", "HEAD", "POST")
    assert table.allowed("/nothing") == ()
    assert table.find("/runs/run_1", "HEAD") == ("/runs/{run_id}", {"run_id": "run_1"})
    assert table.find("/runs", "DELETE")[0] == "/runs"
    assert table.find("/x", "GET") == (UNKNOWN, {})


def test_a_slash_too_much_leads_to_the_path_without(bare: TestClient) -> None:
    answer = bare.get("/v1/livez/", follow_redirects=False)
    assert answer.status_code == 307
    assert answer.headers["location"].endswith("/v1/livez")


def test_two_apps_share_nothing(tmp_path: Path) -> None:
    first, second = platform_in(tmp_path / "a"), platform_in(tmp_path / "b")
    try:
        with door(first) as one, door(second, keys()) as other:
            first.run_from_spec(spec=AGENT, input_text="hello", target="agent")
            assert "kneo_runs_completed_total 1.0" in one.get("/metrics").text
            assert "kneo_runs_completed_total 0.0" in other.get("/metrics").text
            assert first.count_runs() == 1
            assert second.count_runs() == 0
            assert 'route="/livez"' not in other.get("/metrics").text
    finally:
        first.shutdown()
        second.shutdown()


def test_a_manager_that_was_set_is_served_by_apps_without_one_even_by_those_made_before(tmp_path: Path) -> None:
    before = create_app(auth_config=AuthConfig.disabled())
    manager = platform_in(tmp_path)
    try:
        set_platform_manager(manager)
        for app in (before, create_app(auth_config=AuthConfig.disabled())):
            with TestClient(app) as client:
                assert client.get("/readyz").status_code == 200
        manager.run_from_spec(spec=AGENT, input_text="still open", target="agent")
    finally:
        manager.shutdown()


def test_the_default_platform_lives_as_long_as_the_app(tmp_path: Path) -> None:
    made = []

    def make() -> object:
        made.append(platform_in(tmp_path))
        return made[-1]

    app = create_app(make_manager=make, auth_config=AuthConfig.disabled())  # type: ignore[arg-type]
    assert made == []
    for turn in (1, 2):
        with TestClient(app) as client:
            assert client.get("/readyz").status_code == 200
        assert len(made) == turn
        with pytest.raises(PlatformClosedError):
            made[-1].count_runs()


def test_a_bad_variable_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KNEO_SERV_MAX_BODY_BYTES", "lots")
    with pytest.raises(SettingsError, match="KNEO_SERV_MAX_BODY_BYTES"):
        create_app()


def test_metrics_that_are_not_wanted_are_not_there() -> None:
    with TestClient(create_app(auth_config=AuthConfig.disabled(), settings=Settings(metrics_enabled=False))) as client:
        refusal(client.get("/metrics"), 404)


def test_without_a_platform_the_service_says_so(bare: TestClient) -> None:
    with pytest.raises(PlatformClosedError, match="set_platform_manager"):
        _ = Service().platform
    assert refusal(bare.get("/readyz"), 503)["error"] == "not_ready"


def test_keys_of_roles_are_accepted() -> None:
    with TestClient(create_app(auth_config=keys())) as client:
        assert client.get("/livez", headers=as_role("viewer")).status_code == 200
