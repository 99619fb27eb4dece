"""Agents in native and adapter mode, run by a real platform."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from kneo_serv.model import event as ev
from kneo_serv.model.message import Message, Role, ToolCall, Turn
from kneo_serv.model.run import RunStatus
from kneo_serv.platform.platform import Platform
from kneo_serv.runtime import default_registry
from kneo_serv.store.sqlite import SQLiteStore
from kneo_serv.testing.answers import Answer, text, tool_call
from kneo_serv.testing.scripted_server import ScriptedOpenAI
from kneo_serv.tools import ToolRegistry, load_object
from tests.platform.speakers import HEARD, compiled, with_tools
from tests.platform.worlds import options, run

PAY = tool_call("pay", {"amount": 5})


@pytest.fixture(autouse=True)
def _silence() -> None:
    HEARD.clear()


@asynccontextmanager
async def opened(path: Path, server: ScriptedOpenAI) -> AsyncIterator[Platform]:
    environ = {"OPENAI_API_KEY": "key", "OPENAI_BASE_URL": server.base_url}
    platform = Platform(
        store=SQLiteStore(path / "runs.sqlite"),
        tools=ToolRegistry(),
        runtimes=default_registry(environ=environ, load_object=load_object),
        options=options(),
    )
    await platform.open()
    try:
        yield platform
    finally:
        await platform.close(timeout=5)


def native(**more: Any) -> dict[str, Any]:
    preferences = {"preferred_mode": "native", "native_provider": "openai"}
    model = {"provider": "openai", "name": "m"}
    return with_tools("pay", **{"model": model, "runtime_preferences": preferences, **more})


async def outcome(path: Path, agent: dict[str, Any], *answers: Answer) -> tuple[Any, list[Any]]:
    with ScriptedOpenAI(answers) as server:
        async with opened(path, server) as platform:
            record = await run(platform, compiled(agent), target="agent")
            return record, [recorded.event for recorded in await platform.events(record.id)]


def test_the_calls_of_a_native_loop_are_written_down_and_its_usage_is_counted(tmp_path: Path) -> None:
    record, events = asyncio.run(outcome(tmp_path, native(), PAY, text("paid")))

    assert (record.status, record.output_text) == (RunStatus.COMPLETED, "paid")
    assert [heard.split()[0] for heard in HEARD["pay"]] == ["5"]
    kinds = [type(event) for event in events]
    assert kinds.index(ev.ToolCallStarted) < kinds.index(ev.ToolCallCompleted) < kinds.index(ev.ModelTurnCompleted)
    (turn,) = (event for event in events if isinstance(event, ev.ModelTurnCompleted))
    assert turn.usage.requests == 2


def test_a_policy_that_denies_a_tool_ends_a_native_loop_before_the_handler(tmp_path: Path) -> None:
    agent = native(policies={"tool": {"deny": ["pay"]}})
    record, events = asyncio.run(outcome(tmp_path, agent, PAY, text("never")))

    assert record.status is RunStatus.FAILED
    assert any(isinstance(event, ev.ToolPolicyDenied) for event in events)
    assert HEARD["pay"] == []


def test_a_native_loop_ends_at_the_bound_of_the_strategy(tmp_path: Path) -> None:
    agent = native(strategy={"type": "react", "max_iterations": 2})
    record, _ = asyncio.run(outcome(tmp_path, agent, PAY, PAY, PAY))

    assert record.status is RunStatus.FAILED
    assert "asked its model 2 times and came to no end. Raise strategy.max_iterations." in (record.error_message or "")


def test_an_adapter_answers_for_an_agent(tmp_path: Path) -> None:
    agent = {"runtime_preferences": {"preferred_mode": "adapter", "adapter_ref": "tests.platform.speakers.upper"}}
    record, _ = asyncio.run(outcome(tmp_path, agent))

    assert (record.status, record.output_text) == (RunStatus.COMPLETED, record.input_text.upper())


def buyer(messages: Sequence[Message]) -> Turn:
    paid = messages[-1].role is Role.TOOL
    return Turn(messages[-1].content) if paid else Turn(tool_calls=(ToolCall("call_1", "pay", {"amount": 7}),))


def test_a_function_that_wishes_for_a_tool_has_it_called_by_the_platform(tmp_path: Path) -> None:
    preferences = {"preferred_mode": "adapter", "adapter_ref": f"{__name__}.buyer"}
    record, _ = asyncio.run(outcome(tmp_path, with_tools("pay", runtime_preferences=preferences)))

    assert (record.status, record.output_text) == (RunStatus.COMPLETED, "paid 7")
    assert [heard.split()[0] for heard in HEARD["pay"]] == ["7"]
