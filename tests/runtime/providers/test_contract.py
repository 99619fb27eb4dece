"""What every provider must do, asked through its real library over its own wire format."""

import json
import logging
import traceback
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from kneo_serv.errors import KneoError, ProviderError
from kneo_serv.model.message import Message, Role, ToolCall, Turn, Usage
from kneo_serv.runtime.retry import RetryPolicy
from kneo_serv.testing.answers import Answer, broken, error, silence, text, tool_call, tool_calls
from kneo_serv.testing.scripted_server import scripted
from tests.runtime.conversations import WEB_SEARCH, asked, assistant, tool, user
from tests.runtime.providers.cases import CASES, KEY, Case, found, written

HELLO = asked(user("hello"))
SCHEMA = {
    "type": "object",
    "properties": {"drink": {"type": "string"}},
    "required": ["drink"],
    "additionalProperties": False,
}
TRACE = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "kneo=1"}


@pytest.fixture(params=CASES, ids=lambda case: case.provider)
def case(request: pytest.FixtureRequest) -> Case:
    chosen: Case = request.param
    return chosen


@pytest.fixture(params=[False, True], ids=["whole", "streamed"])
def streamed(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


class Heard(list[str]):
    """A listener, and what it would show: an empty piece makes void what came before."""

    @property
    def shown(self) -> str:
        text = ""
        for piece in self:
            text = text + piece if piece else ""
        return text


def failure(case: Case, *answers: Answer, **options: Any) -> KneoError:
    with scripted(case.provider, answers) as server, pytest.raises(KneoError) as caught:
        case.ask(server, HELLO, **options)
    shown = (
        f"{caught.value!r} {caught.value} {caught.value.facts()} {''.join(traceback.format_exception(caught.value))}"
    )
    assert KEY not in shown
    return caught.value


def test_a_plain_answer_with_its_usage_and_price(case: Case, streamed: bool) -> None:
    heard = Heard()
    request = replace(
        asked(Message(Role.SYSTEM, "Be kind."), user("hello")), on_text=heard.append if streamed else None
    )
    with scripted(case.provider, [text("Hi there, friend.", input_tokens=1000, output_tokens=30)]) as server:
        (turn,) = case.ask(server, request)

        assert (turn.text, turn.tool_calls) == ("Hi there, friend.", ())
        assert (turn.usage.input_tokens, turn.usage.output_tokens, turn.usage.requests) == (1000, 30, 1)
        assert turn.usage.unpriced == 0
        assert (turn.usage.cost_usd > 0) is (case.provider != "ollama")
        (body,) = server.requests
        assert "Be kind." in written(body)
        sent = server.headers[0].values()
        if case.provider == "bedrock":
            assert any(value.startswith("AWS4-HMAC-SHA256 Credential=AKIASCRIPTED/") for value in sent)
        else:
            assert {KEY, f"Bearer {KEY}"} & set(sent)
    if streamed:
        assert heard == ["Hi", " there,", " friend."]


def test_a_stream_ends_in_the_same_turn_as_a_whole_answer(case: Case) -> None:
    answer = tool_calls(
        ("call_a", "web_search", {"query": "tea"}),
        ("call_b", "web_search", {"query": "milk"}),
        content="Let me look that up.",
        input_tokens=40,
        output_tokens=12,
    )
    heard = Heard()
    whole, streaming = (
        asked(user("tea?"), tools=(WEB_SEARCH,)),
        replace(asked(user("tea?"), tools=(WEB_SEARCH,)), on_text=heard.append),
    )
    with scripted(case.provider, [answer, answer]) as server:
        first, second = case.ask(server, whole, streaming)

    assert first.text == "Let me look that up."
    assert [(call.name, call.arguments) for call in first.tool_calls] == [
        ("web_search", {"query": "tea"}),
        ("web_search", {"query": "milk"}),
    ]
    assert replace(second, raw=None) == replace(first, raw=None)
    assert parts(second) == parts(first)
    assert heard.shown == first.text


def parts(turn: Turn) -> list[dict[str, Any]]:
    """What an answer consists of, in the provider's own form, without what differs by the moment."""
    (response,) = json.loads(turn.raw or "")
    return [
        {name: part.get(name) for name in ("part_kind", "content", "tool_name", "tool_call_id")}
        for part in response["parts"]
    ]


@pytest.mark.parametrize("given_back", [True, False], ids=["raw", "rebuilt"])
def test_a_tool_call_goes_round_with_its_result(case: Case, given_back: bool, streamed: bool) -> None:
    heard = Heard()
    listener = heard.append if streamed else None
    answers = [tool_call("web_search", {"query": "tea"}, content="Let me look."), text("Tea is a drink.")]
    with scripted(case.provider, answers) as server:
        (wish,) = case.ask(server, replace(asked(user("tea?"), tools=(WEB_SEARCH,)), on_text=listener))
        (call,) = wish.tool_calls
        assert (call.name, call.arguments, call.invalid_arguments) == ("web_search", {"query": "tea"}, None)
        reply = assistant(wish.text, *wish.tool_calls, raw=wish.raw if given_back else None)
        result = tool("a hot drink", call.id)
        (turn,) = case.ask(server, replace(asked(user("tea?"), reply, result, tools=(WEB_SEARCH,)), on_text=listener))

        assert (turn.text, turn.tool_calls) == ("Tea is a drink.", ())
        first, second = server.requests
        assert "Finds pages." in written(first)
        assert '"required": ["query"]' in written(first)
        assert "a hot drink" in written(second)
        assert "Let me look." in written(second)
        assert call.id in written(second)


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.text_arguments], ids=lambda case: case.provider, indirect=True
)
def test_arguments_that_are_no_json_object_are_kept_as_text_and_can_be_answered(case: Case) -> None:
    with scripted(case.provider, [tool_call("web_search", "{broken"), text("sorry")]) as server:
        (wish,) = case.ask(server, asked(user("tea?"), tools=(WEB_SEARCH,)))
        assert wish.tool_calls == (ToolCall("call_1", "web_search", invalid_arguments="{broken"),)
        reply = assistant(wish.text, *wish.tool_calls, raw=wish.raw)
        (turn,) = case.ask(server, asked(user("tea?"), reply, tool("no JSON object"), tools=(WEB_SEARCH,)))

        assert turn.text == "sorry"


def test_temperature_and_max_tokens_are_sent(case: Case) -> None:
    with scripted(case.provider, [text("hi")]) as server:
        case.ask(server, HELLO, temperature=0.25, max_tokens=77)

        (body,) = server.requests
        assert found(body, case.temperature) == 0.25
        assert found(body, case.max_tokens) == 77


def test_tokens_from_a_cache_are_counted_and_cost_less(case: Case, streamed: bool) -> None:
    request = replace(HELLO, on_text=Heard().append if streamed else None)
    with scripted(
        case.provider, [text("hi", input_tokens=5000), text("hi", input_tokens=5000, cached_tokens=4000)]
    ) as server:
        cold, warm = case.ask(server, request, request)

    assert (cold.usage.input_tokens, cold.usage.cached_tokens) == (5000, 0)
    assert (warm.usage.input_tokens, warm.usage.cached_tokens) == (5000, 4000)
    assert warm.usage.cost_usd <= cold.usage.cost_usd


def test_a_model_without_a_known_price_is_counted_as_unpriced(case: Case) -> None:
    with scripted(case.provider, [text("hi")]) as server:
        (turn,) = case.ask(server, HELLO, name="nobody-sells-this")

    free = case.provider == "ollama"
    assert turn.usage == Usage(10, 5, requests=1, unpriced=0 if free else 1)


def test_a_full_provider_is_asked_again_when_it_said_so(case: Case, streamed: bool) -> None:
    waits: list[float] = []
    request = replace(HELLO, on_text=Heard().append if streamed else None)
    with scripted(case.provider, [error(429, retry_after=7), text("hi")]) as server:
        (turn,) = case.ask(server, request, waits=waits)

        assert turn.text == "hi"
        assert waits == [7.0]
        assert len(server.requests) == 2


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
def test_what_may_pass_is_tried_again_by_us_alone(case: Case, status: int) -> None:
    waits: list[float] = []
    with scripted(case.provider, [error(status), error(status), text("hi")]) as server:
        (turn,) = case.ask(server, HELLO, waits=waits)

        assert turn.text == "hi"
        assert turn.usage.requests == 1
        assert waits == [0.5, 1.0]
        assert len(server.requests) == 3


def test_a_server_that_keeps_failing_is_a_transient_error(case: Case) -> None:
    problem = failure(case, *[error(500, message="the kitchen is on fire")] * 3)

    assert isinstance(problem, ProviderError)
    assert problem.transient
    assert problem.provider == case.provider
    assert "HTTP 500: the kitchen is on fire. Gave up after 3 attempts." in problem.message


def test_a_server_that_is_not_there_is_a_transient_error(case: Case, streamed: bool) -> None:
    waits: list[float] = []
    request = replace(HELLO, on_text=Heard().append if streamed else None)
    with scripted(case.provider) as server:
        plan = case.plan(server)
    with pytest.raises(ProviderError, match="could not be reached") as caught:
        case.ask_plan(plan, request, waits=waits)

    assert caught.value.transient
    assert waits == [0.5, 1.0]


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_names_the_variable_to_look_at(case: Case, status: int) -> None:
    problem = failure(case, error(status, message=f"Incorrect API key provided: {KEY}"))

    assert isinstance(problem, ProviderError)
    assert not problem.transient
    assert f"refused the API key (HTTP {status}" in problem.message
    assert "Check " in problem.message
    assert case.key_variable in problem.message


@pytest.mark.parametrize("status", [400, 404, 422])
def test_a_refused_request_is_told_in_the_words_of_the_provider_without_secrets(case: Case, status: int) -> None:
    problem = failure(case, error(status, message=f"no such field; key {KEY}; password=canary-in-a-body"))

    assert isinstance(problem, ProviderError)
    assert not problem.transient
    assert f"answered HTTP {status}: no such field; key ***" in problem.message
    assert "canary" not in problem.message


def test_a_silent_provider_is_given_up_when_the_time_of_the_model_is_over(case: Case) -> None:
    problem = failure(case, silence(), timeout_seconds=0.3)

    assert isinstance(problem, ProviderError)
    assert problem.transient
    assert "did not answer within 0.3 s" in problem.message or "could not be reached" in problem.message


def test_an_answer_that_breaks_off_is_asked_for_again_and_the_listener_knows(case: Case, streamed: bool) -> None:
    heard = Heard()
    request = replace(HELLO, on_text=heard.append if streamed else None)
    with scripted(case.provider, [broken("One two three four five six.", after=5), text("Seven eight.")]) as server:
        (turn,) = case.ask(server, request)

        assert turn.text == "Seven eight."
        assert len(server.requests) == 2
    if streamed:
        assert heard[0] == "One"
        assert heard.count("") == 1
        assert heard.shown == "Seven eight."


@pytest.mark.parametrize("tools", [(), (WEB_SEARCH,)], ids=["alone", "beside-tools"])
def test_the_model_knows_the_schema_of_its_answer(case: Case, tools: tuple[Any, ...], streamed: bool) -> None:
    heard = Heard()
    request = replace(
        asked(Message(Role.SYSTEM, "Be kind."), user("a drink?"), tools=tools),
        output_schema=SCHEMA,
        on_text=heard.append if streamed else None,
    )
    with scripted(case.provider, [text('{"drink": "tea"}')]) as server:
        (turn,) = case.ask(server, request)

        assert turn.text == '{"drink": "tea"}'
        (body,) = server.requests
        assert "Be kind." in written(body)
        if case.schema is None or (tools and case.provider == "groq"):
            assert "fits the JSON Schema below" in written(body)
            assert "drink" in written(body)
        else:
            schema = found(body, case.schema)
            schema = json.loads(schema) if isinstance(schema, str) else schema
            assert schema["properties"] == SCHEMA["properties"]
            assert "fits the JSON Schema below" not in written(body)
        assert ("web_search" in written(body)) is bool(tools)


def test_a_schema_that_is_no_object_is_told_in_the_instructions(case: Case) -> None:
    request = replace(asked(user("drinks?")), output_schema={"type": "array", "items": {"type": "string"}})
    with scripted(case.provider, [text('["tea"]')]) as server:
        (turn,) = case.ask(server, request)

        assert turn.text == '["tea"]'
        assert "fits the JSON Schema below" in written(server.requests[0])


PARALLEL: Mapping[str, Any] = {
    "anthropic": (("tool_choice", "disable_parallel_tool_use"), True),
    "google": None,
    "bedrock": None,
}


def test_one_tool_at_a_time_is_asked_for_where_the_api_knows_it(case: Case) -> None:
    request = replace(asked(user("tea?"), tools=(WEB_SEARCH,)), parallel_tool_calls=False)
    with scripted(case.provider, [text("hi")]) as server:
        case.ask(server, request)

        expected = PARALLEL.get(case.provider, (("parallel_tool_calls",), False))
        if expected is not None:
            path, value = expected
            assert found(server.requests[0], path) is value


def test_the_trace_context_goes_along_where_the_client_can(case: Case) -> None:
    with scripted(case.provider, [text("hi")]) as server:
        case.ask(server, replace(HELLO, headers=TRACE))

        sent = {name: server.headers[0].get(name) for name in TRACE}
        assert sent == (dict.fromkeys(TRACE) if case.provider == "mistral" else TRACE)


def test_no_log_line_holds_the_key_or_the_prompt(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), scripted(case.provider, [error(500), text("canary-answer")]) as server:
        case.ask(server, asked(user("canary-prompt")), policy=RetryPolicy(max_retries=1))

    assert KEY not in caplog.text
    assert "canary" not in caplog.text
