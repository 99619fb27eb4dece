import asyncio
import threading
from typing import Any

import pytest

from kneo_serv.model.ids import RunId, StepKey
from kneo_serv.tools import CallContext, ToolDefinition, ToolRegistry, call_scope, current_call


def context(name: str = "tool") -> CallContext:
    return CallContext(RunId("run_1"), StepKey("main/a"), name, f"run_1:main/a:{name}", attempt=1, fence=4)


def test_outside_a_call_there_is_none() -> None:
    with pytest.raises(LookupError, match="only inside a tool handler"):
        current_call()


def test_a_scope_ends_with_its_block() -> None:
    with call_scope(context("outer")):
        with call_scope(context("inner")):
            assert current_call().name == "inner"
        with call_scope(None):
            assert current_call().name == "outer"
    with pytest.raises(LookupError):
        current_call()


def test_sync_and_async_handlers_know_their_own_call_also_side_by_side() -> None:
    barrier = threading.Barrier(2, timeout=5)

    def sync(args: dict[str, Any]) -> str:
        barrier.wait()
        return current_call().idempotency_key

    async def asynchronous(args: dict[str, Any]) -> str:
        await asyncio.sleep(0)
        return current_call().idempotency_key

    registry = ToolRegistry()
    registry.register(ToolDefinition("sync", ""), sync)
    registry.register(ToolDefinition("async", ""), asynchronous)

    async def main() -> list[str]:
        calls = [("sync", "a"), ("sync", "b"), ("async", "c"), ("async", "d")]
        results = await asyncio.gather(*(registry.acall(tool, {}, context=context(name)) for tool, name in calls))
        with pytest.raises(LookupError):
            current_call()
        return [result.output for result in results]

    assert asyncio.run(main()) == [f"run_1:main/a:{name}" for name in "abcd"]
