"""What of a conversation an agent is told."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from kneo_serv.errors import KneoError
from kneo_serv.model import event as ev
from kneo_serv.model.ids import RunId, StepKey
from kneo_serv.model.message import Message, Role, ToolCall
from kneo_serv.model.plan import AgentPlan, FunctionPlan, Memory, Plan
from kneo_serv.platform.aides import Aides
from kneo_serv.platform.memory import Asking, Conversation, Memories, Remembered
from kneo_serv.tools import HandlerPool, load_callable
from tests.platform import speakers
from tests.platform.speakers import HEARD, Speakers, compiled, opened
from tests.platform.worlds import run

ASKING = Asking(RunId("run"), StepKey("main/a#1"), 1, 1, 5.0)
PROMPT = Message(Role.SYSTEM, "be kind")


def user(text: str) -> Message:
    return Message(Role.USER, text)


def said(text: str) -> Message:
    return Message(Role.ASSISTANT, text)


def history(pairs: int) -> tuple[Message, ...]:
    return tuple(message for number in range(pairs) for message in (user(f"q{number}"), said(f"a{number}")))


def remembered(
    memory: Memory | None, conversation: Conversation, stage: Speakers | None = None, times: int = 1
) -> Remembered:
    plan = Plan(
        "hash",
        {"scribe": AgentPlan("scribe")},
        functions={name: FunctionPlan(f"{speakers.__name__}.{name}") for name in speakers.FUNCTIONS},
    )
    told = stage or Speakers()

    async def story() -> Remembered:
        pool = HandlerPool(size=2)
        aides = Aides(pool=pool, load=load_callable, runtime=lambda plan, name: told.create(plan.agents[name]))
        memories = Memories(aides)
        try:
            for _ in range(times):
                result = await memories.remember(plan, memory, conversation, ASKING)
            return result
        finally:
            pool.close()

    return asyncio.run(story())


def texts(result: Remembered) -> list[str]:
    return [message.content for message in result.messages]


def window(limit: int, **config: Any) -> Memory:
    return Memory("sliding_window", config={"max_messages": limit, **config})


def test_without_a_policy_and_with_full_everything_is_told() -> None:
    conversation = Conversation((PROMPT,), history(2), (user("now"),))
    assert remembered(None, conversation).messages == conversation.messages
    full = remembered(Memory("full"), conversation)
    assert full.messages == conversation.messages
    assert full.metadata == {"memory": {"policy": "full", "before_message_count": 6, "after_message_count": 6}}


def test_a_window_keeps_instructions_and_the_newest() -> None:
    result = remembered(window(4), Conversation((PROMPT,), history(3), (user("now"),)))
    assert texts(result) == ["be kind", "q2", "a2", "now"]


def test_a_window_may_let_go_of_instructions() -> None:
    conversation = Conversation((PROMPT,), history(3), (user("now"),))
    assert texts(remembered(window(2, preserve_system_messages=False), conversation)) == ["a2", "now"]


def test_a_window_never_parts_a_wish_for_tools_from_its_answers() -> None:
    def wish(name: str) -> tuple[Message, ...]:
        calls = tuple(ToolCall(f"{name}{number}", "t") for number in range(2))
        answers = tuple(Message(Role.TOOL, call.id, tool_call_id=call.id) for call in calls)
        return (Message(Role.ASSISTANT, name, tool_calls=calls), *answers)

    conversation = Conversation((), history(1), (user("now"), *wish("x"), *wish("y")))
    for limit, kept in ((1, ["now", "y", "y0", "y1"]), (5, ["now", "y", "y0", "y1"]),
                        (7, ["now", "x", "x0", "x1", "y", "y0", "y1"])):  # fmt: skip
        assert texts(remembered(window(limit), conversation)) == kept


def test_a_summary_stands_for_everything_before_the_input() -> None:
    conversation = Conversation((PROMPT,), history(2), (user("now"),))
    result = remembered(Memory("summary", "shorten"), conversation)
    assert texts(result) == ["be kind", "Summary of the conversation so far:\n4 lines", "now"]
    assert HEARD["shorten"][-1] == "user: q0\nassistant: a0\nuser: q1\nassistant: a1"


def test_an_agent_may_summarise_and_its_tokens_count() -> None:
    stage = Speakers({"scribe": "small talk"}, tokens=3)
    result = remembered(Memory("summary", "scribe"), Conversation((), history(1), (user("now"),)), stage)
    assert texts(result)[0].endswith("small talk")
    assert result.usage.total_tokens == 3


def test_without_a_past_nobody_summarises() -> None:
    stage = Speakers()
    remembered(Memory("summary", "scribe"), Conversation((PROMPT,), (), (user("now"),)), stage)
    assert stage.told == []


def test_what_is_found_stands_before_the_conversation() -> None:
    conversation = Conversation((PROMPT,), history(1), (user("tea"),))
    result = remembered(Memory("retrieval", "look_up", {"top_k": 2}), conversation)
    assert texts(result) == [
        "be kind", "What is known about this:\nfact 0 about tea\nfact 1 about tea", "q0", "a0", "tea"
    ]  # fmt: skip
    assert result.messages[1].role is Role.SYSTEM


def test_a_helper_is_asked_once_for_all_turns_of_a_step() -> None:
    stage = Speakers()
    remembered(Memory("retrieval", "scribe"), Conversation((), (), (user("now"),)), stage, times=3)
    assert len(stage.told) == 1


def test_a_helper_behind_a_workflow_cannot_be_asked() -> None:
    plan = Plan("hash", {"scribe": AgentPlan("scribe", as_agent="w")})
    stage = Speakers()
    aides = Aides(
        pool=HandlerPool(size=1), load=load_callable, runtime=lambda plan, name: stage.create(plan.agents[name])
    )
    with pytest.raises(KneoError, match="backed by a workflow"):
        asyncio.run(aides.ask(plan, "scribe", "now", key="k", timeout=None))


def test_a_memory_works_inside_a_run_and_is_told_of(tmp_path: Path) -> None:
    async def story() -> None:
        stage = Speakers()
        async with opened(tmp_path, stage) as platform:
            agent = {"system_prompt": "be kind", "memory": {"policy": "retrieval", "retriever": {"ref": "look_up"}}}
            record = await run(platform, compiled(agent), "tea", target="agent")
            assert record.output_text == "root heard tea"
            assert len(stage.told_to("root")[0][1][1].splitlines()) == 6
            events = [recorded.event for recorded in await platform.events(record.id)]
            (turn,) = [event for event in events if isinstance(event, ev.ModelTurnCompleted)]
            assert turn.metadata["memory"] == {
                "policy": "retrieval", "before_message_count": 2, "after_message_count": 3
            }  # fmt: skip

    asyncio.run(story())


def test_a_memory_that_cannot_be_asked_fails_the_step(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path, Speakers()) as platform:
            agent = {"memory": {"policy": "retrieval", "retriever": {"ref": "broken"}}}
            record = await run(platform, compiled(agent), "tea", target="agent")
            assert (record.status, record.error_type) == ("failed", "TypeError")

    asyncio.run(story())
