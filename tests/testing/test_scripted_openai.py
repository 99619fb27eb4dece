import json
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from typing import Any

import pytest

from kneo_serv.testing.scripted_openai import Answer, ScriptedOpenAI, completion, error, silence, text, tool_call


def post(url: str, body: Any) -> tuple[int, dict[str, Any], dict[str, str]]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"X-Test": "yes"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer), dict(answer.headers)
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, json.load(refusal), dict(refusal.headers)


def test_answers_are_given_in_order_and_requests_are_recorded() -> None:
    with ScriptedOpenAI([text("one"), tool_call("f", {"a": 1}, call_id="c")]) as server:
        url = f"{server.base_url}/chat/completions"
        _, first, _ = post(url, {"n": 1})
        _, second, _ = post(url, {"n": 2})

        assert first["choices"][0]["message"] == {"role": "assistant", "content": "one"}
        assert second["choices"][0]["finish_reason"] == "tool_calls"
        assert second["choices"][0]["message"]["tool_calls"] == [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
        ]
        assert server.requests == [{"n": 1}, {"n": 2}]
        assert server.headers[0]["x-test"] == "yes"


def test_a_request_beyond_the_script_is_refused() -> None:
    with ScriptedOpenAI([]) as server:
        status, body, _ = post(f"{server.base_url}/chat/completions", {})

    assert (status, body["error"]["message"]) == (400, "The script has only 0 answers.")


def test_errors_carry_the_time_to_wait() -> None:
    with ScriptedOpenAI([error(429, retry_after=2.5), error(500, message="oh")]) as server:
        url = f"{server.base_url}/chat/completions"
        full, _, headers = post(url, {})
        broken, body, _ = post(url, {})

    assert (full, headers["Retry-After"]) == (429, "2.5")
    assert (broken, body["error"]["message"]) == (500, "oh")


def test_a_function_answers_by_the_request_from_many_threads() -> None:
    with ScriptedOpenAI(lambda request: completion({"doubled": request["n"] * 2})) as server:
        url = f"{server.base_url}/chat/completions"
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda n: post(url, {"n": n})[1]["doubled"], range(20)))

        assert answers == [n * 2 for n in range(20)]
        assert len(server.requests) == 20


def test_a_failing_script_shows_its_failure() -> None:
    def fail(request: dict[str, Any]) -> Answer:
        raise AssertionError(f"unexpected {request['n']}")

    with ScriptedOpenAI(fail) as server:
        status, body, _ = post(f"{server.base_url}/chat/completions", {"n": 1})

    assert (status, body["error"]["message"]) == (400, "The script failed: AssertionError: unexpected 1")


@pytest.mark.parametrize(("path", "body", "status"), [("/completions", {}, 404), ("/chat/completions", b"{", 400)])
def test_what_is_no_chat_completion_request_is_refused_and_not_recorded(path: str, body: Any, status: int) -> None:
    with ScriptedOpenAI([text("hi")]) as server:
        assert post(f"{server.base_url}{path}", body)[0] == status
        assert server.requests == []


def test_silence_ends_when_the_server_stops() -> None:
    heard = threading.Event()

    def keep_silent(_: dict[str, Any]) -> Answer:
        heard.set()
        return silence()

    with ThreadPoolExecutor(1) as pool:
        with ScriptedOpenAI(keep_silent) as server:
            waiting = pool.submit(post, f"{server.base_url}/chat/completions", {})
            assert heard.wait(10)
        with pytest.raises((HTTPException, OSError)):
            waiting.result(timeout=10)


def test_a_server_that_does_not_listen_has_no_address() -> None:
    server = ScriptedOpenAI()
    with pytest.raises(RuntimeError, match="does not listen"):
        _ = server.base_url
    with server:
        assert server.base_url.startswith("http://127.0.0.1:")
    with pytest.raises(RuntimeError, match="does not listen"):
        _ = server.base_url
