"""Agents that hand over to each other by a tool call, against a scripted model."""

from pathlib import Path
from typing import Any

from kneo_serv.platform import PlatformManager
from kneo_serv.runtime.defaults import default_registry
from kneo_serv.spec import SpecCompiler
from kneo_serv.store.sqlite import SQLiteStore
from kneo_serv.testing.scripted_openai import ScriptedOpenAI, text, tool_call
from kneo_serv.tools import ToolRegistry


def _agent(name: str) -> dict[str, Any]:
    return {"name": name, "description": f"Knows about {name}.", "model": {"provider": "openai", "name": "scripted"}}


DESK = {
    "version": "v1",
    "agent": {"name": "nobody"},
    "components": {"agents": {"reception": _agent("reception"), "billing": _agent("billing"), "law": _agent("law")}},
    "workflow": {
        "type": "handoff",
        "name": "desk",
        "selector": "agent",
        "participants": [{"id": name, "kind": "agent", "ref": name} for name in ("reception", "billing", "law")],
    },
}


def _manager(folder: Path, model: ScriptedOpenAI) -> PlatformManager:
    environ = {"OPENAI_API_KEY": "sk-scripted", "OPENAI_BASE_URL": model.base_url}
    compiler = SpecCompiler(runtime_registry=default_registry(environ=environ), tool_registry=ToolRegistry())
    return PlatformManager(compiler=compiler, run_state_store=SQLiteStore(folder / "runs.sqlite"))


def test_the_participant_that_an_agent_names_goes_on_and_nobody_else(tmp_path: Path) -> None:
    with ScriptedOpenAI([tool_call("transfer_to_law", {"message": "A contract."}), text("It is void.")]) as model:
        manager = _manager(tmp_path, model)
        result = manager.run_from_spec(input_text="May they do that?", spec=DESK)
        manager.shutdown()
    assert (result.status, result.output_text) == ("completed", "It is void.")
    assert result.metadata["workflow"]["visited_steps"] == ["reception", "law"]
    offered = [{tool["function"]["name"] for tool in body.get("tools", [])} for body in model.requests]
    assert offered == [{"transfer_to_billing", "transfer_to_law"}, {"transfer_to_reception", "transfer_to_billing"}]
    assert "A contract." in str(model.requests[1]["messages"][-1])


def test_an_agent_that_hands_over_to_nobody_has_the_last_word(tmp_path: Path) -> None:
    with ScriptedOpenAI([text("I can answer that.")]) as model:
        manager = _manager(tmp_path, model)
        result = manager.run_from_spec(input_text="What time is it?", spec=DESK)
        manager.shutdown()
    assert (result.output_text, result.metadata["workflow"]["visited_steps"]) == ("I can answer that.", ["reception"])


def test_a_transfer_to_a_stranger_is_told_to_the_model(tmp_path: Path) -> None:
    with ScriptedOpenAI([tool_call("transfer_to_sales", {}), text("Then I answer myself.")]) as model:
        manager = _manager(tmp_path, model)
        result = manager.run_from_spec(input_text="Sell me something", spec=DESK)
        manager.shutdown()
    assert (result.status, result.output_text) == ("completed", "Then I answer myself.")
    assert "no participant 'sales'" in str(model.requests[1]["messages"][-1])
