"""The specs that users copy are without fault, and their overlays say what they promise."""

from pathlib import Path

import pytest

from kneo_serv.runtime import default_registry
from kneo_serv.spec import SpecCompiler
from kneo_serv.tools import ToolRegistry, register_example_tools

EXAMPLES = Path(__file__).parents[2] / "examples"
SPECS = sorted(path.name for path in EXAMPLES.glob("*.yaml") if path.name.count(".") == 1)
MODELS = {"dev": ("gpt-4o-mini", 0.2), "staging": ("gpt-4o", 0.2), "prod": ("gpt-4o", 0.1)}


@pytest.fixture
def compiler() -> SpecCompiler:
    registry = ToolRegistry()
    register_example_tools(registry)
    return SpecCompiler(runtime_registry=default_registry(environ={"OPENAI_API_KEY": "key"}), tool_registry=registry)


def test_the_examples_are_there() -> None:
    assert SPECS == [
        "human_approval_workflow.yaml",
        "invoice_approval.yaml",
        "mcp_agent.yaml",
        "research_agent.yaml",
        "smoke_human_workflow.yaml",
    ]


@pytest.mark.parametrize("name", SPECS)
def test_a_spec_that_is_shipped_has_neither_errors_nor_warnings(compiler: SpecCompiler, name: str) -> None:
    assert [item.to_dict() for item in compiler.validate(str(EXAMPLES / name)).diagnostics] == []


@pytest.mark.parametrize("environment", list(MODELS))
def test_an_overlay_changes_the_model_for_its_environment_and_leaves_the_rest(
    compiler: SpecCompiler, environment: str
) -> None:
    overlay = EXAMPLES / f"research_agent.{environment}.yaml"
    package = compiler.compile(str(EXAMPLES / "research_agent.yaml"), overlays=[str(overlay)])
    agent = package.root_agent
    assert agent.model is not None
    assert (agent.model.name, agent.model.temperature) == MODELS[environment]
    assert agent.model.provider == "openai"
    assert [str(name) for name in agent.tools] == ["web_search", "webpage_reader", "summarize"]
