import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from kneo_serv.errors import KneoError, MissingSecretError, ProviderError, StepTimeoutError, ToolPolicyViolation
from kneo_serv.model.message import Message, Role, ToolCall, Turn, TurnRequest, Usage
from kneo_serv.model.plan import ModelPlan, RuntimeMode, RuntimePreferences
from kneo_serv.model.secret import Secrets
from kneo_serv.runtime import Runtime, default_registry
from kneo_serv.runtime.attempts import Pace
from kneo_serv.runtime.native import NativeRuntime
from kneo_serv.runtime.retry import RetryPolicy
from kneo_serv.testing.scripted_openai import (
    Answer,
    ScriptedOpenAI,
    broken,
    completion,
    error,
    silence,
    text,
    tool_call,
    tool_calls,
)
from kneo_serv.testing.scripted_server import ScriptedServer, scripted
from tests.runtime.conversations import WEB_SEARCH, agent, asked, assistant, openai_model, tool, user
from tests.runtime.providers.cases import CASES, Case, written

KEY = "sk-very-secret-key"
ENVIRON = {"OPENAI_API_KEY": KEY}
POLICY = RetryPolicy(max_retries=2, backoff_seconds=0.5, timeout_seconds=30.0)
SCHEMA = {"type": "object", "properties": {"drink": {"type": "string"}}, "required": ["drink"]}
TEA = asked(Message(Role.SYSTEM, "be kind"), user("tea?"), tools=(WEB_SEARCH,))
SEARCH = tool_call("web_search", {"query": "tea"})


class Waits(list[float]):
    """Notes what would have been waited."""

    async def sleep(self, seconds: float) -> None:
        self.append(seconds)


class Calls(list[ToolCall]):
    """Notes what the platform was asked to call, and says what it is told to say."""

    def __init__(self, answer: Callable[[ToolCall], str] = lambda call: f"found {call.arguments.get('query')}") -> None:
        self.answer = answer

    async def __call__(self, call: ToolCall) -> str:
        self.append(call)
        return self.answer(call)


def run(server: ScriptedOpenAI, request: TurnRequest, *, waits: Waits | None = None, **fields: Any) -> Turn:
    pace = Pace(sleep=(waits if waits is not None else Waits()).sleep, chance=lambda: 0.0)

    async def scenario() -> Turn:
        model = openai_model(server.base_url, **fields)
        runtime = NativeRuntime(model=model, environ=ENVIRON, policy=POLICY, pace=pace)
        try:
            return await runtime.turn(request)
        finally:
            await runtime.aclose()
            await runtime.aclose()

    return asyncio.run(scenario())


def failure(answers: Sequence[Answer], request: TurnRequest, **fields: Any) -> ProviderError:
    with ScriptedOpenAI(answers) as server, pytest.raises(ProviderError) as caught:
        run(server, request, **fields)
    assert KEY not in f"{caught.value!r} {caught.value} {caught.value.facts()}"
    assert caught.value.__cause__ is None
    return caught.value


def refuse(call: ToolCall) -> str:
    raise ToolPolicyViolation(f"{call.name} is denied", tool_name=call.name)


def late(call: ToolCall) -> str:
    raise StepTimeoutError(f"{call.name} took too long")


def test_the_loop_runs_to_the_final_answer_and_sums_up_what_it_took() -> None:
    calls = Calls()
    with ScriptedOpenAI([SEARCH, text("Tea is a drink.")]) as server:
        turn = run(server, replace(TEA, call_tool=calls))

        assert (turn.text, turn.tool_calls, turn.model_name) == ("Tea is a drink.", (), "scripted")
        assert turn.usage == Usage(20, 10, requests=2, unpriced=2)
        assert calls == [ToolCall("call_1", "web_search", {"query": "tea"})]
        first, second = server.requests
        assert first["messages"] == [{"role": "system", "content": "be kind"}, {"role": "user", "content": "tea?"}]
        assert first["tools"][0]["function"]["parameters"] == WEB_SEARCH.parameters
        assert second["messages"][2:] == [
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "web_search", "arguments": '{"query":"tea"}'},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "found tea"},
        ]


def test_the_conversation_so_far_is_passed_on_with_its_tool_calls() -> None:
    wish = ToolCall("call_0", "web_search", {"query": "milk"})
    said = asked(user("milk?"), assistant("", wish), tool("white", "call_0"), assistant("It is white."), user("tea?"))
    with ScriptedOpenAI([text("brown")]) as server:
        run(server, said)

        assert [message["role"] for message in server.requests[0]["messages"]] == [
            "user",
            "assistant",
            "tool",
            "assistant",
            "user",
        ]


def test_a_conversation_that_ends_in_a_wish_goes_on_with_its_call() -> None:
    calls, wish = Calls(), ToolCall("call_0", "web_search", {"query": "milk"})
    with ScriptedOpenAI([text("white")]) as server:
        turn = run(server, replace(asked(user("milk?"), assistant("", wish), tools=(WEB_SEARCH,)), call_tool=calls))

        assert turn.text == "white"
        assert calls == [wish]
        assert server.requests[0]["messages"][-1]["content"] == "found milk"


def test_what_a_turn_gave_back_can_be_said_again_unchanged() -> None:
    with ScriptedOpenAI([text("brown"), text("green")]) as server:
        turn = run(server, asked(user("tea?")))
        run(server, asked(user("tea?"), assistant(turn.text, raw=turn.raw), user("and?")))

        assert server.requests[1]["messages"][1] == {"role": "assistant", "content": "brown"}


@pytest.mark.parametrize(("answer", "kind"), [(refuse, ToolPolicyViolation), (late, StepTimeoutError)])
def test_what_the_platform_raises_for_a_call_ends_the_loop_unchanged(
    answer: Callable[[ToolCall], str], kind: type[KneoError]
) -> None:
    with ScriptedOpenAI([SEARCH, text("never")]) as server:
        with pytest.raises(kind, match=r"^web_search"):
            run(server, replace(TEA, call_tool=Calls(answer)))

        assert len(server.requests) == 1


def test_an_error_that_the_model_may_hear_of_goes_back_to_it() -> None:
    with ScriptedOpenAI([SEARCH, text("sorry")]) as server:
        turn = run(server, replace(TEA, call_tool=Calls(lambda call: "Error: no connection")))

        assert turn.text == "sorry"
        assert server.requests[1]["messages"][-1]["content"] == "Error: no connection"


def test_a_tool_that_nobody_offered_goes_to_the_guard_as_well() -> None:
    calls = Calls(refuse)
    answers = [tool_call("shell", {"command": "ls"}), text("never")]
    with ScriptedOpenAI(answers) as server, pytest.raises(ToolPolicyViolation, match="shell is denied"):
        run(server, replace(TEA, call_tool=calls))

    assert calls == [ToolCall("call_1", "shell", {"command": "ls"})]


def test_a_tool_that_nobody_offered_may_be_named_until_the_requests_are_used_up() -> None:
    answers = [tool_call("shell", {}, call_id=f"call_{number}") for number in range(4)] + [text("well then")]
    with ScriptedOpenAI(answers) as server:
        turn = run(server, replace(TEA, call_tool=Calls(lambda call: "denied"), max_requests=5))

        assert turn.text == "well then"
        assert "Unknown tool name: 'shell'" in server.requests[1]["messages"][-1]["content"]


def test_a_wish_for_a_tool_that_nobody_can_call_is_a_clear_error() -> None:
    problem = failure([SEARCH], TEA)

    assert problem.message == (
        "Agent 'helper' was asked by its model for the tool 'web_search', and nobody here can call tools for it."
    )


@pytest.mark.parametrize("arguments", ["{broken", "[1]", '{"n": NaN}'])
def test_arguments_that_are_no_json_object_are_left_to_the_platform(arguments: str) -> None:
    calls = Calls(lambda call: "Error: no JSON object")
    with ScriptedOpenAI([tool_call("web_search", arguments), text("sorry")]) as server:
        assert run(server, replace(TEA, call_tool=calls)).text == "sorry"

    assert calls == [ToolCall("call_1", "web_search", invalid_arguments=arguments)]


def test_arguments_that_do_not_fit_the_schema_are_left_to_the_platform() -> None:
    calls = Calls(lambda call: "Error: query is missing")
    with ScriptedOpenAI([tool_call("web_search", {"q": 1}), text("sorry")]) as server:
        run(server, replace(TEA, call_tool=calls))

    assert calls == [ToolCall("call_1", "web_search", {"q": 1})]


BOTH = tool_calls(("call_a", "web_search", {"query": "a"}), ("call_b", "web_search", {"query": "b"}))


@pytest.mark.parametrize("parallel", [True, False])
def test_several_calls_of_one_answer_run_together_only_where_the_agent_may(parallel: bool) -> None:
    at_work: list[str] = []
    most: list[int] = []

    async def call(wish: ToolCall) -> str:
        at_work.append(wish.id)
        await asyncio.sleep(0)
        most.append(len(at_work))
        at_work.remove(wish.id)
        return f"found {wish.arguments['query']}"

    with ScriptedOpenAI([BOTH, text("done")]) as server:
        run(server, replace(TEA, call_tool=call, parallel_tool_calls=parallel))

        assert max(most) == (2 if parallel else 1)
        assert server.requests[0].get("parallel_tool_calls") == (None if parallel else False)
        assert [message["content"] for message in server.requests[1]["messages"][-2:]] == ["found a", "found b"]


def test_a_failure_that_may_pass_repeats_the_request_and_no_tool() -> None:
    calls, waits = Calls(), Waits()
    with ScriptedOpenAI([SEARCH, error(503), error(429, retry_after=7), text("done")]) as server:
        turn = run(server, replace(TEA, call_tool=calls), waits=waits)

        assert turn.text == "done"
        assert turn.usage.requests == 2
        assert len(calls) == 1
        assert waits == [0.5, 7.0]
        assert server.requests[1] == server.requests[2] == server.requests[3]


def test_a_provider_that_keeps_failing_is_a_transient_error() -> None:
    problem = failure([SEARCH] + [error(500)] * 3, replace(TEA, call_tool=Calls()))

    assert problem.transient
    assert problem.message.endswith("answered HTTP 500: scripted error. Gave up after 3 attempts.")


def test_a_refused_key_is_told_without_the_key() -> None:
    problem = failure([error(401, message=f"Incorrect API key provided: {KEY}")], TEA)

    assert "refused the API key (HTTP 401)" in problem.message


def test_a_silent_provider_is_given_up_when_the_time_of_the_model_is_over() -> None:
    problem = failure([silence()], TEA, timeout_seconds=0.2)

    assert problem.transient
    assert problem.message == "Provider 'openai' did not answer within 0.2 s."


def test_a_loop_without_an_end_stops_at_its_bound_and_names_the_setting() -> None:
    calls = Calls()
    problem = failure([SEARCH] * 3, replace(TEA, call_tool=calls, max_requests=2))

    assert problem.message == (
        "Agent 'helper' asked its model 2 times and came to no end. Raise strategy.max_iterations."
    )
    assert not problem.transient
    assert len(calls) == 2


def test_an_answer_that_stays_empty_is_an_error() -> None:
    problem = failure([text("")] * 2, TEA)

    assert problem.message == "Agent 'helper' came to no answer: Exceeded maximum output retries (1)"


def test_a_refusal_counts_as_the_answer_like_in_bridge_mode() -> None:
    choice = {"message": {"content": None, "refusal": "I will not."}, "finish_reason": "stop"}
    with ScriptedOpenAI([completion({"choices": [choice]})]) as server:
        assert run(server, TEA).text == "I will not."


def test_a_filtered_answer_is_told() -> None:
    choice = {"message": {"content": None}, "finish_reason": "content_filter"}
    problem = failure([completion({"choices": [choice]})], TEA)

    assert problem.message.endswith("withheld its answer: its content filter stopped it.")


def test_the_schema_of_the_answer_goes_along_with_each_request() -> None:
    with ScriptedOpenAI([SEARCH, text('{"drink": "tea"}')]) as server:
        turn = run(server, replace(TEA, call_tool=Calls(), output_schema=SCHEMA))

        assert turn.text == '{"drink": "tea"}'
        shapes = [request["response_format"]["json_schema"]["schema"] for request in server.requests]
        assert [shape["properties"] for shape in shapes] == [SCHEMA["properties"]] * 2


def test_an_answer_that_does_not_fit_the_schema_is_left_to_the_platform() -> None:
    with ScriptedOpenAI([text("tea, I think")]) as server:
        assert run(server, replace(TEA, output_schema=SCHEMA)).text == "tea, I think"


def test_headers_of_the_trace_go_along_with_each_request() -> None:
    with ScriptedOpenAI([SEARCH, text("done")]) as server:
        run(server, replace(TEA, call_tool=Calls(), headers={"traceparent": "00-1-2-01"}))

        assert [headers["traceparent"] for headers in server.headers] == ["00-1-2-01"] * 2


def test_the_text_is_heard_while_it_comes_and_a_new_request_makes_the_earlier_one_void() -> None:
    heard: list[str] = []
    answers = [tool_call("web_search", {"query": "tea"}, content="Let me look."), text("Tea it is.")]
    with ScriptedOpenAI(answers) as server:
        turn = run(server, replace(TEA, call_tool=Calls(), on_text=heard.append))

        assert all(request["stream"] for request in server.requests)
    assert turn.text == "Tea it is."
    assert turn.usage == Usage(20, 10, requests=2, unpriced=2)
    assert heard == ["Let", " me", " look.", "", "Tea", " it", " is."]


def test_a_stream_that_breaks_off_is_asked_for_again_and_no_tool_is_called_twice() -> None:
    heard: list[str] = []
    calls = Calls()
    answers = [SEARCH, broken("Tea is it.", after=3), text("Tea it is.")]
    with ScriptedOpenAI(answers) as server:
        turn = run(server, replace(TEA, call_tool=calls, on_text=heard.append))

    assert turn.text == "Tea it is."
    assert len(calls) == 1
    assert heard == ["Tea", " is", "", "Tea", " it", " is."]


@pytest.mark.parametrize("while_asking", [True, False])
def test_a_cancelled_turn_stops_the_loop_where_it_is(while_asking: bool) -> None:
    ended: list[bool] = []

    async def scenario() -> None:
        loop, reached = asyncio.get_running_loop(), asyncio.Event()

        def script(_: Mapping[str, Any]) -> Answer:
            if while_asking:
                loop.call_soon_threadsafe(reached.set)
                return silence()
            return SEARCH

        async def call(_: ToolCall) -> str:
            reached.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(True)
            return "never"

        with ScriptedOpenAI(script) as server:
            runtime = NativeRuntime(model=openai_model(server.base_url), environ=ENVIRON, policy=POLICY)
            turn = asyncio.create_task(runtime.turn(replace(TEA, call_tool=call)))
            await reached.wait()
            turn.cancel()
            with pytest.raises(asyncio.CancelledError):
                await turn
            await runtime.aclose()

    asyncio.run(scenario())
    assert ended == ([] if while_asking else [True])


def test_one_runtime_runs_many_loops_at_once() -> None:
    def script(request: Mapping[str, Any]) -> Answer:
        last = request["messages"][-1]
        if last["role"] == "tool":
            return text(last["content"])
        return tool_call("web_search", {"query": last["content"]})

    async def scenario(server: ScriptedOpenAI) -> list[Turn]:
        runtime = NativeRuntime(model=openai_model(server.base_url), environ=ENVIRON, policy=POLICY)
        requests = [replace(asked(user(str(n)), tools=(WEB_SEARCH,)), call_tool=Calls()) for n in range(8)]
        try:
            return await asyncio.gather(*(runtime.turn(request) for request in requests))
        finally:
            await runtime.aclose()

    with ScriptedOpenAI(script) as server:
        turns = asyncio.run(scenario(server))

    assert [turn.text for turn in turns] == [f"found {number}" for number in range(8)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.provider))
@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
def test_the_loop_runs_over_every_provider(case: Case, streams: bool) -> None:
    heard: list[str] = []
    calls, waits = Calls(), Waits()
    request = replace(TEA, call_tool=calls, output_schema=SCHEMA, max_requests=2)
    request = replace(request, on_text=heard.append) if streams else request

    async def scenario(server: ScriptedServer) -> Turn:
        environ = {case.key_variable: KEY, **case.environ}
        pace = Pace(sleep=waits.sleep, chance=lambda: 0.0)
        runtime = NativeRuntime(model=case.plan(server), environ=environ, policy=POLICY, pace=pace)
        try:
            return await runtime.turn(request)
        finally:
            await runtime.aclose()

    answers = [tool_call("web_search", {"query": "tea"}, content="Hm."), error(500), text('{"drink": "tea"}')]
    with scripted(case.provider, answers) as server:
        turn = asyncio.run(scenario(server))

        assert ["found tea" in written(body) for body in server.requests] == [False, True, True]
        assert all("drink" in written(body) for body in server.requests)
    assert (turn.text, turn.tool_calls) == ('{"drink": "tea"}', ())
    assert (turn.usage.input_tokens, turn.usage.output_tokens, turn.usage.requests) == (20, 10, 2)
    assert [(call.name, call.arguments) for call in calls] == [("web_search", {"query": "tea"})]
    assert waits == [0.5]
    assert "".join(heard).endswith('{"drink": "tea"}' if streams else "")


async def answered(runtime: Runtime) -> Turn:
    try:
        return await runtime.turn(TEA)
    finally:
        await runtime.aclose()


def test_the_provider_of_native_mode_may_be_another_one_than_that_of_the_model() -> None:
    preferences = RuntimePreferences(preferred_mode=RuntimeMode.NATIVE, native_provider="openai-agents")
    with ScriptedOpenAI([text("hi")]) as server:
        plan = agent("dummy", preferences=preferences)
        plan = replace(plan, model=ModelPlan("dummy", "some-model", base_url=server.base_url))
        registry = default_registry(environ={}, secrets=Secrets(ENVIRON))

        assert registry.problem(plan) is None
        assert asyncio.run(answered(registry.create(plan))).text == "hi"


def test_a_missing_key_is_a_problem_beforehand_and_a_clear_error_at_the_turn() -> None:
    plan = agent("openai", preferences=RuntimePreferences(preferred_mode=RuntimeMode.NATIVE))
    registry = default_registry(environ={})
    problem = registry.problem(plan)

    assert problem is not None
    assert "OPENAI_API_KEY is not set" in problem
    with pytest.raises(MissingSecretError, match="OPENAI_API_KEY is not set"):
        asyncio.run(answered(registry.create(plan)))
