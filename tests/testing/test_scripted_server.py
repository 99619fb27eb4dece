import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any

import pytest

from kneo_serv.testing.answers import broken, error, text, tool_calls
from kneo_serv.testing.scripted_server import ScriptedServer, scripted

PATHS = {
    "openai": "/chat/completions",
    "openai-responses": "/responses",
    "anthropic": "/v1/messages",
    "google": "/v1beta/models/m:generateContent",
    "groq": "/openai/v1/chat/completions",
    "mistral": "/v1/chat/completions",
    "bedrock": "/model/m/converse",
    "ollama": "/chat/completions",
}
STREAMS = {**PATHS, "google": "/v1beta/models/m:streamGenerateContent?alt=sse", "bedrock": "/model/m/converse-stream"}


def post(server: ScriptedServer, path: str, body: Mapping[str, Any]) -> tuple[int, str]:
    request = urllib.request.Request(server.base_url + path, json.dumps(body).encode())
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read().decode()


@pytest.mark.parametrize("provider", PATHS)
def test_the_same_script_is_spoken_in_every_wire_format(provider: str) -> None:
    script = [tool_calls(("c1", "find", {"q": "tea"}), content="Let me look.", input_tokens=41)] * 2
    with scripted(provider, script) as server:
        whole = post(server, PATHS[provider], {"n": 1})
        streamed = post(server, STREAMS[provider], {"n": 2, "stream": True})

        assert (whole[0], streamed[0]) == (200, 200)
        for word in ("Let me look.", "find", "tea", "41"):
            assert word in whole[1]
        for word in ("Let", " look.", "find", "41"):
            assert word in streamed[1]
        assert [body["n"] for body in server.requests] == [1, 2]
        assert server.paths[1].endswith(STREAMS[provider])


@pytest.mark.parametrize("provider", PATHS)
def test_an_error_is_worded_as_the_provider_words_it(provider: str) -> None:
    with scripted(provider, [error(429, message="slowly")]) as server:
        status, body = post(server, PATHS[provider], {})

    assert status == 429
    assert "slowly" in body


@pytest.mark.parametrize("provider", PATHS)
def test_a_path_that_is_no_question_to_a_model_is_refused(provider: str) -> None:
    with scripted(provider, [text("hi")]) as server:
        status, body = post(server, "/elsewhere", {})

        assert status == 404
        assert "answers only POST /" in body
        assert server.requests == []


@pytest.mark.parametrize("stream", [True, False])
def test_a_broken_answer_ends_before_its_end(stream: bool) -> None:
    with scripted("openai", [broken("one two three")]) as server, pytest.raises((HTTPException, OSError)):
        post(server, PATHS["openai"], {"stream": stream})


def test_a_provider_that_nobody_scripts_is_unknown() -> None:
    with pytest.raises(KeyError):
        scripted("dummy")
