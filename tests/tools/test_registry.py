import asyncio
import json
import subprocess
import sys
import threading
from typing import Any

import pytest

from kneo_serv.errors import InvalidRequestError, LoopMisuseError, NotFoundError, StepTimeoutError
from kneo_serv.tools import HandlerPool, ToolDefinition, ToolRegistry, register_example_tools


def registry_with(handler: Any, name: str = "tool") -> ToolRegistry:
    registry = ToolRegistry()
    registry.register(ToolDefinition(name, "A tool."), handler)
    return registry


async def greet(args: dict[str, Any]) -> str:
    await asyncio.sleep(0)
    return f"Hello {args['name']}"


@pytest.mark.parametrize(
    ("answer", "output"),
    [
        ("text", "text"),
        (7, "7"),
        (None, "None"),
        ({"a": "ü"}, '{"a": "ü"}'),
        ([1, None], "[1, null]"),
        ({(1,): 2}, "{(1,): 2}"),
    ],
)
def test_every_answer_becomes_text(answer: Any, output: str) -> None:
    result = registry_with(lambda args: answer).call("tool", {})
    assert (result.name, result.output, result.result) == ("tool", output, output)


def test_an_async_handler_runs_to_its_end() -> None:
    assert registry_with(greet).call("tool", {"name": "Ada"}).output == "Hello Ada"
    assert registry_with(lambda args: greet(args)).call("tool", {"name": "Ada"}).output == "Hello Ada"


@pytest.mark.parametrize("handler", [greet, lambda args: greet(args)])
def test_a_blocking_call_of_an_async_handler_inside_a_loop_says_what_to_write(handler: Any) -> None:
    async def main() -> None:
        registry = registry_with(handler)
        with pytest.raises(LoopMisuseError, match=r"await registry.acall\('tool', ...\)"):
            registry.call("tool", {"name": "Ada"})
        assert (await registry.acall("tool", {"name": "Ada"})).output == "Hello Ada"

    asyncio.run(main())


def test_acall_keeps_sync_handlers_off_the_loop() -> None:
    registry = registry_with(lambda args: threading.current_thread() is threading.main_thread())
    assert asyncio.run(registry.acall("tool", {})).output == "False"
    with pytest.raises(StepTimeoutError, match="Tool 'tool' took longer"):
        asyncio.run(registry_with(lambda args: threading.Event().wait()).acall("tool", {}, timeout=0.01))
    assert asyncio.run(registry.acall("tool", {}, pool=HandlerPool(size=1))).output == "False"


def test_the_last_registration_of_a_name_wins() -> None:
    registry = registry_with(lambda args: "old")
    registry.register(ToolDefinition("tool", "New."), lambda args: "new")
    assert registry.call("tool", {}).output == "new"
    assert registry.definitions["tool"].description == "New."


def test_an_unknown_tool_is_a_key_error() -> None:
    for name in ("definition", "handler"):
        with pytest.raises(NotFoundError, match="Unknown tool: nope"):
            getattr(ToolRegistry(), name)("nope")
    with pytest.raises(KeyError):
        ToolRegistry().call("nope", {})


def test_a_tool_without_a_handler_or_with_a_broken_schema_is_not_registered() -> None:
    registry = ToolRegistry()
    with pytest.raises(ValueError, match="Tool 'tool' has no implementation"):
        registry.register(ToolDefinition("tool", "A tool."), None)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match="no valid JSON Schema"):
        registry.register(ToolDefinition("tool", "A tool.", {"type": 7}), lambda args: "")
    assert not registry.definitions
    assert not registry.handlers


def test_the_example_tools_answer_the_same_every_time() -> None:
    registry = ToolRegistry()
    register_example_tools(registry)
    answers = {name: registry.call(name, {"text": "T", "query": "Q"}).output for name in sorted(registry.handlers)}
    assert answers == {
        "compress_history": "[compressed] T",
        "publish_report": "Published: T",
        "summarize": "Summary: T",
        "web_search": "Search result for: Q",
    }
    for definition in registry.definitions.values():
        ToolRegistry().register(definition, lambda args: "")
        assert definition.capabilities == ()
    assert {name: str(each.effect) for name, each in registry.definitions.items()} == {
        "compress_history": "idempotent",
        "publish_report": "keyed",
        "summarize": "idempotent",
        "web_search": "idempotent",
    }


def test_a_registry_with_the_example_tools_loads_no_heavy_library() -> None:
    script = (
        "import json, sys; from kneo_serv.tools import *; register_example_tools(ToolRegistry());"
        "print(json.dumps([name for name in sys.modules if name.split('.')[0] in ('jsonschema', 'pydantic', 'mcp')]))"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert json.loads(told) == []
