import asyncio
from dataclasses import replace
from typing import Any

import pytest

from kneo_serv.model.message import Message, Role, ToolCall, Turn, TurnRequest, Usage
from kneo_serv.model.tool import ToolDefinition
from kneo_serv.runtime import DummyRuntime
from tests.runtime.conversations import WEB_SEARCH, asked, assistant, tool, user

CALL = ToolCall("web_search_1", "web_search", {"query": "Search for tea"})


def answer(request: TurnRequest) -> Turn:
    return asyncio.run(DummyRuntime(model_name="m").turn(request))


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (asked(user("hello")), "Final answer: hello"),
        (asked(user("one"), assistant("Final answer: one"), user("two")), "Final answer: two"),
        (asked(Message(Role.SYSTEM, "be kind"), user("hi")), "Final answer: hi"),
        (asked(user("please search for tea")), "Final answer: please search for tea"),
        (asked(user("hello"), tools=(WEB_SEARCH,)), "Final answer: hello"),
        (asked(), "Final answer: "),
        (asked(user("search"), assistant("", CALL), tool("A")), "Final answer based on tool results: A"),
        (asked(user("search"), assistant("", CALL), tool("A"), tool("B")), "Final answer based on tool results: A B"),
        (asked(user("search"), assistant("", CALL), tool("A"), assistant("done"), user("hi")), "Final answer: hi"),
    ],
)
def test_the_dummy_answers_by_its_rules(request_: TurnRequest, text: str) -> None:
    assert answer(request_) == Turn(text=text, model_name="m")


def test_the_dummy_asks_for_a_search_when_it_is_offered_tools() -> None:
    turn = answer(asked(user("Search for tea"), tools=(WEB_SEARCH,)))

    assert turn.text == "I need to search."
    assert turn.tool_calls == (CALL,)


@pytest.mark.parametrize(
    ("parameters", "argument"),
    [
        ({}, "query"),
        ({"properties": {"query": {}, "top": {}}, "required": ["top"]}, "query"),
        ({"properties": {"input": {}}, "required": ["input"]}, "input"),
        ({"properties": {"input": {}}}, "query"),
    ],
)
def test_the_dummy_puts_its_question_where_the_tool_takes_it(parameters: dict[str, Any], argument: str) -> None:
    offered = (ToolDefinition("other", "d", {"required": ["x"]}), ToolDefinition("web_search", "d", parameters))
    (call,) = answer(asked(user("search"), tools=offered)).tool_calls
    assert call.arguments == {argument: "search"}


def test_the_dummy_searches_again_for_a_new_question() -> None:
    turn = answer(
        asked(user("search a"), assistant("", CALL), tool("A"), assistant("a"), user("search b"), tools=(WEB_SEARCH,))
    )

    assert turn.tool_calls == (ToolCall("web_search_1", "web_search", {"query": "search b"}),)


def test_the_dummy_reports_no_usage() -> None:
    assert answer(asked(user("hello"))).usage == Usage()


@pytest.mark.parametrize("question", ["hello  there\n", "", "search for tea"])
def test_a_listener_hears_the_dummy_word_by_word(question: str) -> None:
    heard: list[str] = []
    silent = asked(user(question), tools=(WEB_SEARCH,))

    assert answer(replace(silent, on_text=heard.append)) == answer(silent)
    assert "".join(heard) == answer(silent).text
    assert len(heard) > 1
    assert "" not in heard
