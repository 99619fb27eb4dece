import asyncio
import socket
from collections.abc import Mapping, Sequence

import pytest

from kneo_serv.errors import MissingSecretError, ProviderError
from kneo_serv.model.message import Message, Role, ToolCall, Turn, TurnRequest, Usage
from kneo_serv.model.plan import ModelPlan
from kneo_serv.runtime.attempts import Pace
from kneo_serv.runtime.model_runtime import ModelRuntime
from kneo_serv.runtime.retry import RetryPolicy
from kneo_serv.testing.scripted_openai import (
    Answer,
    ScriptedOpenAI,
    completion,
    error,
    silence,
    text,
    tool_call,
    tool_calls,
)
from tests.runtime.conversations import WEB_SEARCH, asked, assistant, openai_model, tool, user

KEY = "sk-very-secret-key"
ENVIRON = {"OPENAI_API_KEY": KEY}
POLICY = RetryPolicy(max_retries=2, backoff_seconds=0.5, timeout_seconds=30.0)
HELLO = asked(user("hello"))


class Waits(list[float]):
    """Notes what would have been waited."""

    async def sleep(self, seconds: float) -> None:
        self.append(seconds)


def ask(
    model: ModelPlan,
    *requests: TurnRequest,
    environ: Mapping[str, str] = ENVIRON,
    policy: RetryPolicy = POLICY,
    waits: Waits | None = None,
) -> list[Turn]:
    pace = Pace(sleep=(waits if waits is not None else Waits()).sleep, chance=lambda: 0.0)

    async def scenario() -> list[Turn]:
        runtime = ModelRuntime(model=model, environ=environ, policy=policy, pace=pace)
        try:
            return [await runtime.turn(request) for request in requests]
        finally:
            await runtime.aclose()
            await runtime.aclose()

    return asyncio.run(scenario())


def failure(model: ModelPlan, *, policy: RetryPolicy = POLICY) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        ask(model, HELLO, policy=policy)
    assert KEY not in f"{caught.value!r} {caught.value} {caught.value.facts()}"
    assert caught.value.__suppress_context__
    return caught.value


def test_a_text_answer_is_a_turn_with_its_usage() -> None:
    with ScriptedOpenAI([text("hi there", input_tokens=12, output_tokens=3)]) as server:
        (turn,) = ask(openai_model(server.base_url), asked(Message(Role.SYSTEM, "be kind"), user("hello")))

        assert (turn.text, turn.tool_calls, turn.model_name) == ("hi there", (), "scripted")
        assert turn.usage == Usage(12, 3, requests=1, unpriced=1)
        assert server.requests == [
            {
                "model": "test-model",
                "stream": False,
                "messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hello"}],
            }
        ]
        assert server.headers[0]["authorization"] == f"Bearer {KEY}"


def test_settings_and_extras_of_the_model_are_sent_along() -> None:
    extra = {"top_p": 0.5, "seed": 3, "reasoning": {"effort": "low"}, "api_key": "own-key"}
    with ScriptedOpenAI([text("hi")]) as server:
        ask(openai_model(extra={**extra, "base_url": server.base_url}, temperature=0.0, max_tokens=20), HELLO)

        body = server.requests[0]
        assert (body["temperature"], body["max_tokens"], body["top_p"], body["seed"]) == (0.0, 20, 0.5, 3)
        assert body["reasoning"] == {"effort": "low"}
        assert body.keys().isdisjoint({"api_key", "base_url"})
        assert server.headers[0]["authorization"] == "Bearer own-key"


def test_the_address_and_the_name_of_the_key_may_come_from_the_environment() -> None:
    with ScriptedOpenAI([text("hi")]) as server:
        environ = {"OPENAI_BASE_URL": server.base_url, "TEAM_KEY": "team-key", **ENVIRON}
        ask(openai_model(extra={"api_key_ref": "TEAM_KEY"}), HELLO, environ=environ)

        assert server.headers[0]["authorization"] == "Bearer team-key"


@pytest.mark.parametrize("given_back", [True, False])
def test_a_tool_call_goes_round_with_its_history(given_back: bool) -> None:
    answers = [tool_call("web_search", {"query": "tea"}, content="Let me look."), text("Tea is a drink.")]
    with ScriptedOpenAI(answers) as server:
        model = openai_model(server.base_url)
        (wish,) = ask(model, asked(user("tea?"), tools=(WEB_SEARCH,)))
        assert wish.tool_calls == (ToolCall("call_1", "web_search", {"query": "tea"}),)
        reply = assistant(wish.text, *wish.tool_calls, raw=wish.raw if given_back else None)
        (turn,) = ask(model, asked(user("tea?"), reply, tool("a hot drink"), tools=(WEB_SEARCH,)))

        assert turn.text == "Tea is a drink."
        first, second = server.requests
        assert first["tools"] == [
            {
                "type": "function",
                "function": {
                    "name": "web_search",
                    "description": "Finds pages.",
                    "parameters": {
                        "type": "object",
                        "properties": {"query": {"type": "string"}},
                        "required": ["query"],
                    },
                },
            }
        ]
        wished = {
            "id": "call_1",
            "type": "function",
            "function": {"name": "web_search", "arguments": '{"query":"tea"}'},
        }
        assert second["messages"] == [
            {"role": "user", "content": "tea?"},
            {"role": "assistant", "content": "Let me look.", "tool_calls": [wished]},
            {"role": "tool", "tool_call_id": "call_1", "content": "a hot drink"},
        ]


def test_several_tool_calls_of_one_turn_keep_their_order_and_ids() -> None:
    answer = tool_calls(("call_a", "web_search", {"query": "a"}), ("call_b", "web_search", {}))
    with ScriptedOpenAI([answer]) as server:
        (turn,) = ask(openai_model(server.base_url), HELLO)

    assert turn.tool_calls == (ToolCall("call_a", "web_search", {"query": "a"}), ToolCall("call_b", "web_search"))


@pytest.mark.parametrize("arguments", ["{broken", "[1]", '"text"', '{"n": NaN}'])
def test_arguments_that_are_no_json_object_are_kept_as_text_and_can_be_answered(arguments: str) -> None:
    with ScriptedOpenAI([tool_call("web_search", arguments), text("sorry")]) as server:
        model = openai_model(server.base_url)
        (wish,) = ask(model, HELLO)
        assert wish.tool_calls == (ToolCall("call_1", "web_search", invalid_arguments=arguments),)
        reply = assistant(wish.text, *wish.tool_calls, raw=wish.raw)
        (turn,) = ask(model, asked(user("hello"), reply, tool("no JSON object")))

    assert turn.text == "sorry"


def test_a_full_provider_is_asked_again_when_it_said_so() -> None:
    waits = Waits()
    with ScriptedOpenAI([error(429, retry_after=7), text("hi")]) as server:
        (turn,) = ask(openai_model(server.base_url), HELLO, waits=waits)

        assert turn.text == "hi"
        assert waits == [7.0]
        assert len(server.requests) == 2


def test_a_failing_server_is_asked_again_with_growing_waits() -> None:
    waits = Waits()
    with ScriptedOpenAI([error(500), error(503), text("hi")]) as server:
        (turn,) = ask(openai_model(server.base_url), HELLO, waits=waits)

    assert turn.text == "hi"
    assert turn.usage.requests == 1
    assert waits == [0.5, 1.0]


def test_a_server_that_keeps_failing_is_a_transient_error() -> None:
    with ScriptedOpenAI([error(500)] * 3) as server:
        problem = failure(openai_model(server.base_url))

        assert problem.transient
        assert problem.message == (
            f"Provider 'openai' (model 'test-model' at {server.base_url}) answered HTTP 500: scripted error. "
            "Gave up after 3 attempts."
        )
        assert len(server.requests) == 3


def test_a_server_that_is_not_there_is_a_transient_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
    problem = failure(openai_model(address))

    assert problem.transient
    assert f"at {address}) could not be reached" in problem.message


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_told_without_the_key(status: int) -> None:
    with ScriptedOpenAI([error(status, message=f"Incorrect API key provided: {KEY}")]) as server:
        problem = failure(openai_model(server.base_url))

        assert not problem.transient
        assert f"refused the API key (HTTP {status}" in problem.message
        assert "Check OPENAI_API_KEY" in problem.message
        assert len(server.requests) == 1


def test_a_refused_request_is_told_in_the_words_of_the_provider() -> None:
    with ScriptedOpenAI([error(400, message=f"no such field; key {KEY}")]) as server:
        problem = failure(openai_model(server.base_url))

    assert not problem.transient
    assert problem.message.endswith("answered HTTP 400: no such field; key ***.")


def test_used_up_credit_is_not_waited_for() -> None:
    answer = Answer({"error": {"message": "You exceeded your quota.", "code": "insufficient_quota"}}, 429)
    with ScriptedOpenAI([answer]) as server:
        problem = failure(openai_model(server.base_url))

    assert not problem.transient
    assert "You exceeded your quota." in problem.message


def test_a_silent_server_is_given_up_when_the_time_of_the_model_is_over() -> None:
    with ScriptedOpenAI([silence()]) as server:
        problem = failure(openai_model(server.base_url, timeout_seconds=0.2))

    assert problem.transient
    assert problem.message == "Provider 'openai' did not answer within 0.2 s."


@pytest.mark.parametrize("variable", ["OPENAI_API_KEY", "TEAM_KEY"])
def test_a_missing_key_names_its_variable(variable: str) -> None:
    with pytest.raises(MissingSecretError, match=f"^{variable} is not set"):
        ask(
            openai_model("http://127.0.0.1:9/v1", api_key_ref=None if variable == "OPENAI_API_KEY" else variable),
            HELLO,
            environ={"OPENAI_API_KEY": " "} if variable == "OPENAI_API_KEY" else ENVIRON,
        )


def test_a_key_that_no_header_can_hold_is_refused_without_quoting_it() -> None:
    with pytest.raises(MissingSecretError, match=r"^OPENAI_API_KEY holds no usable API key") as caught:
        ask(openai_model("http://127.0.0.1:9/v1"), HELLO, environ={"OPENAI_API_KEY": f"{KEY}\nsecond line"})

    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("choice", "turn"),
    [
        ({"message": {"content": "hi"}}, Turn(text="hi")),
        ({"message": {"content": None}, "finish_reason": "stop"}, Turn()),
        ({"message": {"content": [{"type": "text", "text": "hi"}]}, "finish_reason": "stop"}, Turn(text="hi")),
        ({"message": {"content": None, "refusal": "I will not."}, "finish_reason": "stop"}, Turn(text="I will not.")),
        (
            {
                "message": {"tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]},
                "finish_reason": "tool_calls",
            },
            Turn(tool_calls=(ToolCall("call_0", "f", {"a": 1}),)),
        ),
        (
            {
                "message": {"tool_calls": [{"id": "x", "function": {"name": "f"}}] * 2},
                "finish_reason": "tool_calls",
            },
            Turn(tool_calls=(ToolCall("x", "f"), ToolCall("x_1", "f"))),
        ),
    ],
)
def test_servers_may_leave_out_what_openai_always_sends(choice: Mapping[str, object], turn: Turn) -> None:
    with ScriptedOpenAI([completion({"choices": [choice]})]) as server:
        (answer,) = ask(openai_model(server.base_url), HELLO)

    assert (answer.text, answer.tool_calls) == (turn.text, turn.tool_calls)
    assert answer.usage == Usage(requests=1)
    assert answer.model_name == "test-model"


def test_usage_may_be_told_in_part() -> None:
    body = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 4}}
    with ScriptedOpenAI([completion(body)]) as server:
        (turn,) = ask(openai_model(server.base_url), HELLO)

    assert turn.usage == Usage(4, 0, requests=1, unpriced=1)


@pytest.mark.parametrize("body", [{}, {"choices": []}, {"choices": None}, {"error": {"message": "overloaded"}}])
def test_an_answer_without_an_answer_is_an_error(body: Mapping[str, object]) -> None:
    with ScriptedOpenAI([completion(body)]) as server:
        problem = failure(openai_model(server.base_url))

    assert problem.message.endswith("gave an answer that cannot be read.")


def test_an_answer_that_is_no_json_may_pass() -> None:
    with ScriptedOpenAI([completion("<html>gateway busy</html>"), text("hi")]) as server:
        (turn,) = ask(openai_model(server.base_url), HELLO)

    assert turn.text == "hi"


def test_a_server_that_never_sends_json_is_told() -> None:
    with ScriptedOpenAI([completion("<html>")] * 3) as server:
        problem = failure(openai_model(server.base_url))

    assert problem.transient
    assert "gave no usable answer (Failed to decode" in problem.message


def test_one_runtime_answers_many_requests_at_once() -> None:
    def echo(request: Mapping[str, Sequence[Mapping[str, str]]]) -> Answer:
        return text(f"echo {request['messages'][-1]['content']}")

    async def scenario(base_url: str) -> list[Turn]:
        runtime = ModelRuntime(model=openai_model(base_url), environ=ENVIRON, policy=POLICY)
        try:
            return await asyncio.gather(*(runtime.turn(asked(user(str(number)))) for number in range(8)))
        finally:
            await runtime.aclose()

    with ScriptedOpenAI(echo) as server:
        turns = asyncio.run(scenario(server.base_url))

    assert [turn.text for turn in turns] == [f"echo {number}" for number in range(8)]


def test_a_closed_runtime_opens_again_for_the_next_turn() -> None:
    async def scenario(base_url: str) -> list[str]:
        runtime = ModelRuntime(model=openai_model(base_url), environ=ENVIRON, policy=POLICY)
        texts = []
        for _ in range(2):
            texts.append((await runtime.turn(HELLO)).text)
            await runtime.aclose()
        return texts

    with ScriptedOpenAI([text("one"), text("two")]) as server:
        assert asyncio.run(scenario(server.base_url)) == ["one", "two"]
