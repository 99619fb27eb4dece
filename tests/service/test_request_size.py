import json
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import BaseModel

from kneo_serv.service import create_app
from kneo_serv.service.auth import AuthConfig
from kneo_serv.service.limits import RequestLimits
from kneo_serv.settings import Settings
from tests.service.doors import refusal
from tests.service.wire import NEVER, exchange

JSON = {"Content-Type": "application/json"}


class Said(BaseModel):
    text: str = ""
    more: Any = None


def app_with(*, max_bytes: int = 1_048_576, seconds: float = 30.0) -> FastAPI:
    app = create_app(
        auth_config=AuthConfig.disabled(),
        request_limits=RequestLimits(max_body_bytes=max_bytes),
        settings=Settings(request_body_seconds=seconds),
    )

    @app.post("/echo")
    async def echo(said: Said) -> Said:
        return said

    return app


def test_a_body_that_says_it_is_too_large_is_refused_unread() -> None:
    answer = exchange(app_with(max_bytes=10), "POST", "/echo", pieces=[b"x" * 11], headers={"Content-Length": "11"})
    assert answer.status == 413
    assert json.loads(answer.body)["detail"]["error"] == "payload_too_large"
    assert json.loads(answer.body)["detail"]["max_body_bytes"] == 10
    assert answer.headers["connection"] == "close"


def test_a_body_in_pieces_is_counted_and_never_taken_in_whole() -> None:
    pieces = [b"x" * 1000] * 100
    answer = exchange(
        app_with(max_bytes=2500), "POST", "/echo", pieces=pieces, headers={"Transfer-Encoding": "chunked"}
    )
    assert answer.status == 413
    assert json.loads(answer.body)["detail"]["max_body_bytes"] == 2500


def test_a_body_of_the_allowed_size_arrives_whole() -> None:
    body = json.dumps({"text": "x" * 80}).encode()
    with TestClient(app_with(max_bytes=len(body))) as client:
        assert client.post("/echo", content=body, headers=JSON).json()["text"] == "x" * 80
        assert client.post("/echo", content=iter([body[:50], body[50:]]), headers=JSON).json()["text"] == "x" * 80
        refusal(client.post("/echo", content=body + b" ", headers=JSON), 413)
        refusal(client.post("/echo", content=iter([body, b" "]), headers=JSON), 413)


def test_the_size_is_looked_at_before_the_path_and_before_the_caller() -> None:
    with TestClient(app_with(max_bytes=10)) as client:
        refusal(client.post("/v1/nothing", content=b"x" * 11), 413)


def test_a_body_that_does_not_come_is_waited_for_only_so_long() -> None:
    answer = exchange(app_with(seconds=0.05), "POST", "/echo", pieces=[b"{", NEVER], headers={"Content-Length": "9"})
    assert answer.status == 408
    assert json.loads(answer.body)["detail"]["error"] == "request_timeout"
    assert answer.headers["connection"] == "close"


HOSTILE: dict[str, bytes] = {
    "no json": b"{",
    "nothing": b"",
    "a word": b"word",
    "bad utf-8": b'{"text": "\xff\xfe"}',
    "half a character": b'{"text": "\xc3"}',
    "raw nul": b'{"text": "a\x00b"}',
    "nul": b'{"text": "a\\u0000b"}',
    "utf-16": '{"text": "a"}'.encode("utf-16"),
    "lone surrogate": b'{"text": "\\ud800"}',
    "lone surrogate as key": b'{"more": {"\\udc00": 1}}',
    "deep arrays": b'{"more": ' + b"[" * 101 + b"]" * 101 + b"}",
    "very deep arrays": b"[" * 500_000,
    "deep objects": b'{"a":' * 5000 + b"1" + b"}" * 5000,
    "not a number": b'{"more": NaN}',
    "infinity": b'{"more": [-Infinity]}',
    "a number of many digits": b'{"more": ' + b"9" * 10_000 + b"}",
    "quotes without end": b'{"text": "' + b'\\"' * 500_000,
    "quotes and brackets": b"[" * 200 + b'"' + b'\\"' * 400_000,
    "many keys": b"{" + b",".join(b'"k%d": 1' % n for n in range(1000)) + b', "text": 1}',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_json_is_the_callers_fault(name: str) -> None:
    with TestClient(app_with(), raise_server_exceptions=False) as client:
        answer = client.post("/echo", content=HOSTILE[name], headers=JSON)
        assert answer.status_code in (400, 422), answer.text
        assert len(answer.content) < 2000
        assert "/" not in answer.text


FINE: dict[str, bytes] = {
    "escaped backslash before u0000": b'{"text": "\\\\u0000"}',
    "a pair of surrogates": b'{"text": "\\ud83d\\ude00"}',
    "NaN in a text": b'{"text": "NaN and Infinity"}',
    "brackets in a text": b'{"text": "' + b"[" * 1000 + b'"}',
    "brackets behind an escaped quote": b'{"text": "\\"' + b"[" * 1000 + b'"}',
    "many, but not deep": b'{"more": [' + b",".join([b"[]"] * 1000) + b"]}",
    "as deep as may be": b'{"more": ' + b"[" * 99 + b"]" * 99 + b"}",
}


@pytest.mark.parametrize("name", FINE)
def test_what_only_looks_suspicious_is_taken(name: str) -> None:
    with TestClient(app_with()) as client:
        answer = client.post("/echo", content=FINE[name], headers=JSON)
        assert answer.status_code == 200, answer.text
        assert answer.json() == {"text": "", "more": None, **json.loads(FINE[name])}


def test_requests_without_a_body_are_waited_for_by_nobody() -> None:
    assert exchange(app_with(), "GET", "/livez", pieces=[NEVER]).status == 200
