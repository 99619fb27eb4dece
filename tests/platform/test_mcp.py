"""Agents with tools of MCP servers, run by the platform."""

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kneo_serv.platform import PlatformManager
from kneo_serv.runtime import default_registry
from kneo_serv.spec import SpecCompiler
from kneo_serv.store.sqlite import SQLiteStore
from kneo_serv.testing.scripted_openai import Answer, ScriptedOpenAI, text, tool_call
from kneo_serv.tools import ToolRegistry
from tests.platform.worlds import options
from tests.tools.mcp.servers import PROBE, gone

CANARY = "c4nary-of-the-server"


def spec(model: ScriptedOpenAI, *names: str, **server: Any) -> dict[str, Any]:
    """An agent that may call these tools of the probe."""
    return {
        "version": "v1",
        "agent": {
            "name": "caller",
            "model": {"provider": "openai", "name": "m", "extra": {"base_url": model.base_url, "api_key": "k"}},
            "strategy": {"type": "react", "max_iterations": 5},
            "tools": list(names),
        },
        "tools": {
            name: {"description": f"The tool {name}.", "mcp": {"server": "probe"}, "effect": "idempotent"}
            for name in names
        },
        "mcp_servers": {
            "probe": {"transport": "stdio", "command": sys.executable, "args": ["-P", PROBE, "stdio"], **server}
        },
    }


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[PlatformManager]:
    registry = ToolRegistry()
    made = PlatformManager(
        compiler=SpecCompiler(runtime_registry=default_registry(environ={}), tool_registry=registry),
        run_state_store=SQLiteStore(tmp_path / "runs.sqlite"),
        options=options(patience_seconds=60.0),
    )
    yield made
    made.shutdown()


def tool_events(manager: PlatformManager, run_id: str) -> list[tuple[str, str]]:
    events = manager.get_trace(run_id)
    return [(each["type"], each["tool_name"]) for each in events if each["type"].startswith("tool_call")]


def test_an_agent_calls_the_tool_of_a_server_and_the_trace_shows_it(manager: PlatformManager) -> None:
    with ScriptedOpenAI([tool_call("echo", {"text": "tea"}), text("It said tea.")]) as model:
        result = manager.run_from_spec(target="agent", input_text="Say tea.", spec=spec(model, "echo"))
        assert result.output_text == "It said tea."
        first, second = model.requests
        (offered,) = first["tools"]
        assert offered["function"]["description"] == "The tool echo."
        assert offered["function"]["parameters"]["required"] == ["text"]
        assert second["messages"][-1]["content"] == "tea"
    assert result.run_id is not None
    assert tool_events(manager, result.run_id) == [("tool_call_started", "echo"), ("tool_call_completed", "echo")]


def test_a_server_that_dies_in_mid_call_is_told_to_the_model_and_the_next_call_works(
    manager: PlatformManager, tmp_path: Path
) -> None:
    marker = tmp_path / "began"

    def answers(request: dict[str, Any]) -> Answer:
        said = [each["content"] for each in request["messages"] if each["role"] == "tool"]
        match len(said):
            case 0:
                return tool_call("pid", {})
            case 1:
                threading.Thread(target=kill, args=(int(said[0]),)).start()
                return tool_call("slow", {"marker": str(marker)})
            case 2:
                return tool_call("pid", {})
            case _:
                return text(json.dumps(said))

    def kill(pid: int) -> None:
        while not marker.exists():
            threading.Event().wait(0.01)
        os.kill(pid, signal.SIGKILL)

    with ScriptedOpenAI(answers) as model:
        result = manager.run_from_spec(target="agent", input_text="Go.", spec=spec(model, "pid", "slow"))
    first, lost, second = json.loads(result.output_text or "")
    assert "MCP server 'probe' ended during the call of its tool 'slow': its process was ended by SIGKILL" in lost
    assert int(first) != int(second)
    assert result.run_id is not None
    assert tool_events(manager, result.run_id)[2:4] == [("tool_call_started", "slow"), ("tool_call_failed", "slow")]


def test_a_tool_that_must_not_happen_twice_is_left_to_a_person_when_its_server_dies(manager: PlatformManager) -> None:
    with ScriptedOpenAI([tool_call("die", {}), text("Settled.")]) as model:
        document = spec(model, "die")
        document["tools"]["die"]["effect"] = "once"
        paused = manager.run_from_spec(target="agent", input_text="Go.", spec=document)
        assert paused.run_id is not None
        assert paused.status == "paused"
        assert len(model.requests) == 1
    (failed,) = (each for each in manager.get_trace(paused.run_id) if each["type"] == "tool_call_failed")
    assert failed["tool_name"] == "die"


def test_shutting_down_leaves_no_server_behind_and_runs_share_one(manager: PlatformManager) -> None:
    pids = []
    for _ in range(2):
        with ScriptedOpenAI([tool_call("pid", {}), text("done")]) as model:
            manager.run_from_spec(target="agent", input_text="Go.", spec=spec(model, "pid"))
            pids.append(int(model.requests[-1]["messages"][-1]["content"]))
    assert pids[0] == pids[1]
    assert not gone(pids[0])
    manager.shutdown()
    assert gone(pids[0])


def test_a_server_that_cannot_be_started_fails_the_run_with_its_name_and_no_secret(manager: PlatformManager) -> None:
    with ScriptedOpenAI([text("never asked")]) as model:
        broken = spec(model, "echo", command="no-such-command", env={"TOKEN": CANARY})
        result = manager.run_from_spec(target="agent", input_text="Go.", spec=broken)
        assert model.requests == []
    assert result.run_id is not None
    assert result.status == "failed"
    assert "MCP server 'probe' cannot be used: its command 'no-such-command' was not found" in str(result.error)
    assert CANARY not in json.dumps(manager.get_trace(result.run_id), default=str)
