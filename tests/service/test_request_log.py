import json
import logging
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from kneo_serv.service import create_app
from kneo_serv.service.auth import AuthConfig
from kneo_serv.service.log_lines import JsonLines, TextLines
from kneo_serv.settings import Settings

KEYS = [
    *("event", "request_id", "method", "path", "status_code", "duration_ms", "client_ip", "user_agent", "run_id"),
    *("continuation_id", "trace_id"),
]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="kneo_serv.service")
    return caplog


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(app_with(), raise_server_exceptions=False) as made:
        yield made


def app_with(**settings: Any) -> FastAPI:
    app = create_app(auth_config=AuthConfig.disabled(), settings=Settings(**settings))

    @app.post("/made")
    async def made(request: Request) -> None:
        request.state.run_id = "run_made"

    @app.get("/fault")
    async def fault() -> None:
        raise ZeroDivisionError("password=hunter2")

    return app


def lines(log: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    told = [record.getMessage() for record in log.records if hasattr(record, "fields")]
    return [json.loads(text) for text in told]


def test_a_request_is_one_json_object_in_the_log(client: TestClient, log: pytest.LogCaptureFixture) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"X-Request-ID": "mine", "User-Agent": "me/1", "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    client.get("/v1/livez?password=x", headers=headers)
    (line,) = lines(log)
    assert list(line) == KEYS
    assert line["event"] == "http_request"
    assert (line["request_id"], line["method"], line["path"]) == ("mine", "GET", "/v1/livez")
    assert (line["status_code"], line["client_ip"], line["user_agent"]) == (200, "testclient", "me/1")
    assert (line["run_id"], line["continuation_id"], line["trace_id"]) == (None, None, trace)
    assert 0 < line["duration_ms"] < 60_000


def test_a_route_may_name_the_run_that_it_made(client: TestClient, log: pytest.LogCaptureFixture) -> None:
    client.post("/made")
    assert lines(log)[0]["run_id"] == "run_made"


def test_a_refusal_says_why(client: TestClient, log: pytest.LogCaptureFixture) -> None:
    client.get("/v1/nothing")
    assert lines(log)[0]["error"] == "not_found"
    assert lines(log)[0]["message"] == "There is nothing at this path."


def test_secrets_stay_out_of_the_lines(client: TestClient, log: pytest.LogCaptureFixture) -> None:
    client.get("/nothing/api_key=sk-abcdefghijklmnopqrstuvwx", headers={"User-Agent": "me jane@example.com"})
    (line,) = lines(log)
    assert "abcdefghijklmnop" not in json.dumps(line)
    assert "jane" not in line["user_agent"]


def test_an_error_nobody_expected_is_told_with_its_place_and_without_its_secrets(
    client: TestClient, log: pytest.LogCaptureFixture
) -> None:
    assert client.get("/fault").status_code == 500
    (told,) = [record for record in log.records if record.levelno == logging.ERROR]
    shown = JsonLines().format(told)
    assert "ZeroDivisionError" in shown
    assert "in fault" in shown
    assert "hunter2" not in shown
    (line,) = lines(log)
    assert (line["status_code"], line["error"]) == (500, "internal_error")


def test_a_path_cannot_feign_a_line(client: TestClient, log: pytest.LogCaptureFixture) -> None:
    client.get("/x%0a%1b[31mforged")
    (record,) = [record for record in log.records if hasattr(record, "fields")]
    for form in (JsonLines(), TextLines()):
        shown = form.format(record)
        assert "\n" not in shown
        assert "\x1b" not in shown


def test_long_paths_are_cut(client: TestClient, log: pytest.LogCaptureFixture) -> None:
    client.get("/" + "x" * 5000)
    assert len(lines(log)[0]["path"]) == 500


def test_without_request_logs_there_is_no_line(log: pytest.LogCaptureFixture) -> None:
    with TestClient(app_with(request_logs=False)) as client:
        client.get("/livez")
    assert lines(log) == []


def test_a_line_for_eyes_is_short(client: TestClient, log: pytest.LogCaptureFixture) -> None:
    client.get("/v1/nothing", headers={"X-Request-ID": "mine"})
    (record,) = [record for record in log.records if hasattr(record, "fields")]
    shown = TextLines().format(record)
    assert "GET /v1/nothing 404" in shown
    assert "request_id=mine" in shown
    assert "error=not_found" in shown


def test_other_lines_become_json_too() -> None:
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    own = logging.Logger("kneo_serv.somewhere")
    own.addHandler(handler)
    own.warning("token=%s", "abcdefghijklmnop")
    line = json.loads(stream.getvalue())
    assert (line["level"], line["logger"]) == ("WARNING", "kneo_serv.somewhere")
    assert "abcdefgh" not in line["message"]
