import json

import pytest

from kneo_serv.model.message import Message, Role, ToolCall
from kneo_serv.runtime import conversation
from tests.runtime.conversations import WEB_SEARCH, assistant, tool, user

CALL = ToolCall("call_1", "web_search", {"query": "tea"})


def kinds(*messages: Message) -> list[list[str]]:
    return [[part.part_kind for part in entry.parts] for entry in conversation.history(messages)]


def raw_answer(text: str, thought: str) -> str:
    parts = [
        {"part_kind": "thinking", "content": thought, "id": "reasoning", "provider_name": "openai"},
        {"part_kind": "text", "content": text},
    ]
    return json.dumps([{"kind": "response", "parts": parts, "model_name": "m", "timestamp": "2026-01-01T00:00:00Z"}])


def test_what_comes_between_two_answers_is_one_request() -> None:
    assert kinds(
        Message(Role.SYSTEM, "s"), user("u"), assistant("", CALL), tool("a"), tool("b"), assistant("t"), user("v")
    ) == [
        ["system-prompt", "user-prompt"],
        ["tool-call"],
        ["tool-return", "tool-return"],
        ["text"],
        ["user-prompt"],
    ]


def test_an_answer_is_given_back_as_the_provider_wrote_it() -> None:
    assert kinds(user("u"), assistant("hi", raw=raw_answer("hi", "hm"))) == [["user-prompt"], ["thinking", "text"]]


@pytest.mark.parametrize(
    "message",
    [
        assistant("[REDACTED]", raw=raw_answer("hi", "hm")),
        assistant("hi", CALL, raw=raw_answer("hi", "hm")),
        assistant("hi", raw="{not json"),
        assistant("hi", raw='{"from": "another provider"}'),
        assistant("hi", raw="[]"),
    ],
)
def test_an_answer_that_was_changed_or_is_foreign_is_built_anew(message: Message) -> None:
    (rebuilt,) = kinds(message)

    assert rebuilt == ["text", *(["tool-call"] if message.tool_calls else [])]


def test_a_tool_without_parameters_takes_an_empty_object() -> None:
    (bare,) = conversation.offered([type(WEB_SEARCH)("now", "The time.")])

    assert bare.parameters_json_schema == {"type": "object", "properties": {}}
