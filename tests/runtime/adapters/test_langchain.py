import re
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.output_parsers import JsonOutputParser, StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder, PromptTemplate
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda, RunnablePassthrough
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import interrupt
from pydantic import SecretStr

from kneo_serv.model.message import Usage
from kneo_serv.testing.scripted_openai import ScriptedOpenAI, error, text, tool_call
from tests.runtime.adapters.foreign import CANARY, LONG, PLAIN, answer, cancelled, failure, roles


def model(base_url: str) -> ChatOpenAI:
    return ChatOpenAI(model="m", api_key=SecretStr(CANARY), base_url=base_url, max_retries=0, stream_usage=True)


def loud(question: str) -> str:
    return question.upper()


CHAIN_PROMPT = ChatPromptTemplate.from_messages(
    [("system", "You sell drinks."), MessagesPlaceholder("history", optional=True), ("user", "{input}")]
)


def chain(base_url: str) -> Runnable[Any, str]:
    return CHAIN_PROMPT | model(base_url) | StrOutputParser()


@tool
def pantry(item: str) -> str:
    """Looks for something in the pantry."""
    return f"no {item} left"


def graph(base_url: str, **options: Any) -> Runnable[Any, Any]:
    asked = model(base_url).bind_tools([pantry])
    steps = StateGraph(MessagesState)
    steps.add_node("model", lambda state: {"messages": [asked.invoke(state["messages"])]})
    steps.add_node("tools", ToolNode([pantry]))
    steps.add_edge(START, "model")
    steps.add_conditional_edges("model", tools_condition)
    steps.add_edge("tools", "model")
    return steps.compile(**options)


def test_a_chat_model_gets_the_conversation_and_its_usage_is_told() -> None:
    with ScriptedOpenAI([text("brown", input_tokens=12, output_tokens=3)]) as server:
        turn = answer(model, server, LONG)

        assert (turn.text, turn.tool_calls, turn.model_name) == ("brown", (), "scripted")
        assert turn.usage == Usage(12, 3, requests=1, unpriced=1)
        assert roles(server.requests[0]) == [
            ("system", "be kind"),
            ("user", "milk?"),
            ("assistant", "Let me look."),
            ("tool", "one bottle"),
            ("assistant", "There is one."),
            ("user", "tea?"),
        ]
        assert server.requests[0]["messages"][2]["tool_calls"][0]["function"]["name"] == "pantry"
        assert server.headers[0]["authorization"] == f"Bearer {CANARY}"


def test_the_variables_of_a_prompt_are_filled_by_their_names() -> None:
    with ScriptedOpenAI([text("brown")]) as server:
        turn = answer(chain, server, LONG)

        assert (turn.text, turn.usage) == ("brown", Usage(10, 5, requests=1, unpriced=1))
        said = roles(server.requests[0])
        assert said[0] == ("system", "You sell drinks.")
        assert said[1] == ("system", "be kind")
        assert said[-2:] == [("assistant", "There is one."), ("user", "tea?")]


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        (PromptTemplate.from_template("Answer: {question}"), "Answer: tea?"),
        ({"q": RunnablePassthrough()} | PromptTemplate.from_template("Say {q}"), "Say tea?"),
        (RunnableLambda(loud), "TEA?"),
    ],
)
def test_a_chain_that_takes_one_text_gets_the_last_word_of_the_user(prompt: Runnable[Any, Any], said: str) -> None:
    with ScriptedOpenAI([text("brown")]) as server:
        answer(lambda base_url: prompt | model(base_url), server)

        assert roles(server.requests[0]) == [("user", said)]


def test_a_variable_that_nobody_fills_is_named() -> None:
    prompt = ChatPromptTemplate.from_messages([("system", "Speak {language}."), ("user", "{input}")])
    problem = failure(lambda base_url: prompt | model(base_url))

    assert problem.message.startswith("Adapter 'shop.agent' needs the input 'language', which nobody fills")


def test_a_bound_variable_is_left_alone() -> None:
    prompt = ChatPromptTemplate.from_messages([("system", "Speak {language}."), ("user", "{input}")])
    with ScriptedOpenAI([text("braun")]) as server:
        answer(lambda base_url: prompt.partial(language="German") | model(base_url), server)

        assert roles(server.requests[0]) == [("system", "Speak German."), ("user", "tea?")]


class Blocking(Runnable[Any, str]):
    """Knows only the blocking way."""

    def invoke(self, input: list[BaseMessage], config: RunnableConfig | None = None, **_: Any) -> str:  # noqa: A002
        return f"{len(input)} messages, {(config or {}).get('run_name')}"


def test_a_runnable_that_only_blocks_runs_in_a_thread() -> None:
    with ScriptedOpenAI() as server:
        assert answer(lambda _: Blocking(), server).text == "2 messages, helper"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"input": "tea?", "output": "brown"}, "brown"),
        ({"question": "tea?", "answer": "brown"}, "brown"),
        ({"colour": "brown", "hot": True}, '{"colour":"brown","hot":true}'),
        (["brown", "green"], '["brown","green"]'),
        (AIMessage([{"type": "text", "text": "brown"}]), "brown"),
        (None, ""),
    ],
)
def test_what_a_runnable_gives_back_becomes_text(value: Any, said: str) -> None:
    with ScriptedOpenAI() as server:
        assert answer(lambda _: RunnableLambda(lambda _: value), server).text == said


def test_structured_output_is_json_where_the_agent_has_a_schema() -> None:
    value = {"answer": "brown"}
    request = replace(PLAIN, output_schema={"type": "object"})
    with ScriptedOpenAI() as server:
        assert answer(lambda _: RunnableLambda(lambda _: value), server, request).text == '{"answer":"brown"}'


def test_a_graph_calls_its_own_tools_and_all_its_requests_are_counted() -> None:
    with ScriptedOpenAI([tool_call("pantry", {"item": "tea"}), text("None is left.")]) as server:
        turn = answer(graph, server)

        assert turn.text == "None is left."
        assert turn.usage == Usage(20, 10, requests=2, unpriced=2)
        assert roles(server.requests[1])[-1] == ("tool", "no tea left")


def test_a_graph_that_keeps_states_begins_anew_with_each_turn() -> None:
    compiled: list[Runnable[Any, Any]] = []

    def kept(base_url: str) -> Runnable[Any, Any]:
        compiled.append(graph(base_url, checkpointer=InMemorySaver()))
        return compiled[0]

    with ScriptedOpenAI([text("one"), text("two")]) as server:
        answer(kept, server, replace(PLAIN, idempotency_key="first"))
        answer(lambda _: compiled[0], server, replace(PLAIN, idempotency_key="second"))

        assert roles(server.requests[1]) == [("system", "be kind"), ("user", "tea?")]


@pytest.mark.parametrize("heard", [None, []])
def test_a_graph_that_waits_for_somebody_is_told(heard: list[str] | None) -> None:
    def waiting(_: str) -> Runnable[Any, Any]:
        steps = StateGraph(MessagesState)
        steps.add_node("ask", lambda state: {"messages": [interrupt("May I?")]})
        steps.add_edge(START, "ask")
        steps.add_edge("ask", END)
        return steps.compile(checkpointer=InMemorySaver())

    problem = failure(waiting, request=replace(PLAIN, on_text=None if heard is None else heard.append))

    assert "waits for a person's word on an interrupt of its graph" in problem.message


@pytest.mark.parametrize("make", [model, chain])
def test_text_is_heard_while_it_comes(make: Any) -> None:
    heard: list[str] = []
    with ScriptedOpenAI([text("Tea is a drink.")]) as server:
        turn = answer(make, server, replace(PLAIN, on_text=heard.append))

    assert turn.text == "Tea is a drink."
    assert turn.usage == Usage(10, 5, requests=1, unpriced=1)
    assert heard == ["Tea", " is", " a", " drink."]


def test_the_models_inside_a_graph_are_heard_and_in_the_end_the_answer_alone() -> None:
    heard: list[str] = []
    answers = [tool_call("pantry", {"item": "tea"}, content="Let me look."), text("None is left.")]
    with ScriptedOpenAI(answers) as server:
        turn = answer(graph, server, replace(PLAIN, on_text=heard.append))

    assert turn.text == "None is left."
    assert turn.usage == Usage(20, 10, requests=2, unpriced=2)
    assert heard == ["Let", " me", " look.", "None", " is", " left.", "", "None is left."]


def test_a_graph_inside_a_chain_is_heard_and_answers_whole() -> None:
    heard: list[str] = []
    answers = [tool_call("pantry", {"item": "tea"}), text("None is left.")]
    with ScriptedOpenAI(answers) as server:
        turn = answer(
            lambda base_url: RunnableLambda(lambda said: {"messages": said}) | graph(base_url),
            server,
            replace(PLAIN, on_text=heard.append),
        )

    assert turn.text == "None is left."
    assert heard == ["None", " is", " left."]


def test_structured_output_that_comes_piece_by_piece_is_whole_in_the_end() -> None:
    heard: list[str] = []
    with ScriptedOpenAI([text('{"colour": "brown"}')]) as server:
        turn = answer(
            lambda base_url: model(base_url) | JsonOutputParser(), server, replace(PLAIN, on_text=heard.append)
        )

    assert turn.text == '{"colour":"brown"}'
    assert heard == ['{"colour":', ' "brown"}', "", '{"colour":"brown"}']


def test_a_failing_server_is_told_by_its_status() -> None:
    problem = failure(model, error(500, message=f"key {CANARY}"))

    assert re.fullmatch(r"Adapter 'shop.agent' failed: \w+Error \(HTTP 500\)\.", problem.message)
    assert problem.transient


@pytest.mark.parametrize("make", [model, chain, graph])
@pytest.mark.parametrize("streams", [False, True])
def test_a_refused_key_is_told_without_the_key(make: Any, streams: bool) -> None:
    heard: list[str] = []
    request = replace(PLAIN, on_text=heard.append if streams else None)
    problem = failure(make, error(401, message=f"Incorrect API key provided: {CANARY}"), request=request)

    assert re.fullmatch(r"Adapter 'shop.agent' failed: \w*AuthenticationError \(HTTP 401\)\.", problem.message)
    assert not problem.transient


def test_a_server_that_is_not_there_is_a_failure_that_may_pass() -> None:
    problem = failure(lambda _: model("http://127.0.0.1:1/v1"))

    assert problem.message.endswith("ConnectionError (the connection failed).")
    assert problem.transient


def test_an_error_in_a_step_of_a_chain_is_told() -> None:
    def broken(_: Any) -> str:
        raise ValueError("no tea left")

    problem = failure(lambda _: RunnableLambda(broken))

    assert problem.message == "Adapter 'shop.agent' failed: ValueError: no tea left"


@pytest.mark.parametrize("make", [model, chain])
def test_a_cancelled_turn_ends_at_once(make: Any) -> None:
    cancelled(make)


def test_a_cancelled_graph_ends_at_once() -> None:
    def waiting(base_url: str) -> Runnable[Any, Any]:
        asked = partial(model(base_url).ainvoke)
        steps = StateGraph(MessagesState)

        async def ask(state: MessagesState) -> dict[str, Any]:
            return {"messages": [await asked(state["messages"])]}

        steps.add_node("model", ask)
        steps.add_edge(START, "model")
        return steps.compile()

    cancelled(waiting)
