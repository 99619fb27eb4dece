import pytest

from kneo_serv.errors import InvalidRequestError
from kneo_serv.middleware import (
    FullHistoryTransform,
    MemoryMiddleware,
    RetrievalMemoryTransform,
    SlidingWindowTransform,
    SummaryTransform,
)
from kneo_serv.model.message import Message, Role, ToolCall
from tests.middleware.calls import done, question, saying

SYSTEM = Message(Role.SYSTEM, "be kind")
OLD = (Message(Role.USER, "one"), Message(Role.ASSISTANT, "1"), Message(Role.USER, "two"), Message(Role.ASSISTANT, "2"))
STEP = (
    Message(Role.USER, "three"),
    Message(Role.ASSISTANT, "", tool_calls=(ToolCall("c", "search"),)),
    Message(Role.TOOL, "found", tool_call_id="c"),
)
ALL = (SYSTEM, *OLD, *STEP)


def texts(messages: tuple[Message, ...]) -> list[str]:
    return [message.content for message in messages]


def test_the_full_history_is_all_of_it() -> None:
    assert done(FullHistoryTransform().transform(ALL)) == ALL


def test_a_window_keeps_the_newest_the_question_and_the_system() -> None:
    assert done(SlidingWindowTransform(max_messages=5).transform(ALL)) == (SYSTEM, OLD[-1], *STEP)


def test_a_window_never_parts_a_wish_from_its_answer_or_the_question_from_both() -> None:
    assert done(SlidingWindowTransform(max_messages=1).transform(ALL)) == (SYSTEM, *STEP)
    assert done(SlidingWindowTransform(max_messages=1, preserve_system_messages=False).transform(ALL)) == STEP


def test_a_window_below_one_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="at least 1, not 0"):
        SlidingWindowTransform(max_messages=0)


def test_a_summary_stands_for_what_came_before_the_newest_question() -> None:
    async def summarizer(lines: str) -> str:
        return lines.replace("\n", "; ")

    told = done(SummaryTransform(summarizer=summarizer).transform(ALL))
    assert told[0] is SYSTEM
    assert told[1].content.endswith("user: one; assistant: 1; user: two; assistant: 2")
    assert told[2:] == STEP


def test_where_nothing_came_before_nothing_is_summed_up() -> None:
    def never(lines: str) -> str:
        raise AssertionError(lines)

    assert done(SummaryTransform(summarizer=never).transform((SYSTEM, *STEP))) == (SYSTEM, *STEP)


def test_what_is_known_stands_in_front_of_the_conversation() -> None:
    asked: list[tuple[str, int]] = []

    def retriever(text: str, top_k: int) -> list[str]:
        asked.append((text, top_k))
        return ["a", "b", "c"]

    told = done(RetrievalMemoryTransform(retriever=retriever, top_k=2).transform(ALL))
    assert asked == [("three", 2)]
    assert texts(told)[:2] == ["be kind", "What is known about this:\na\nb"]
    assert told[2:] == (*OLD, *STEP)


def test_nothing_known_and_nothing_asked_change_nothing() -> None:
    found = RetrievalMemoryTransform(retriever=lambda text, top_k: [])
    assert done(found.transform(ALL)) == ALL
    assert done(found.transform((SYSTEM,))) == (SYSTEM,)


def test_the_middleware_sends_what_the_transform_leaves() -> None:
    model, asked = saying("yes")
    done(MemoryMiddleware(SlidingWindowTransform(max_messages=1)).wrap_run(question("one", "two"), model))
    assert texts(asked[0].messages) == ["two"]
