"""The documents about tools: what they are, before anything is run."""

from pathlib import Path

import pytest

from examples.workflows import text_functions
from kneo_serv.model.plan import ROOT, Plan, StrategyType
from kneo_serv.model.tool import Effect
from kneo_serv.runtime import default_registry
from kneo_serv.spec import SpecCompiler
from kneo_serv.tools import ToolRegistry, load_callable

FOLDER = Path(__file__).parents[2] / "examples" / "workflows"
TOOL_SPECS = ("agent_as_tool", "approval_tool")


@pytest.fixture
def compiler() -> SpecCompiler:
    # Without the example tools: the documents bring all that they name.
    return SpecCompiler(runtime_registry=default_registry(environ={}), tool_registry=ToolRegistry())


def plan_of(compiler: SpecCompiler, name: str) -> Plan:
    return compiler.compile(FOLDER / f"{name}.yaml").plan


@pytest.mark.parametrize("name", TOOL_SPECS)
def test_a_document_brings_all_that_it_names(compiler: SpecCompiler, name: str) -> None:
    assert compiler.validate(FOLDER / f"{name}.yaml").diagnostics == []
    agent = plan_of(compiler, name).agents[ROOT]
    assert (agent.tools, agent.strategy.type) == (("web_search",), StrategyType.REACT)


def test_the_search_of_the_researcher_needs_a_person_each_time(compiler: SpecCompiler) -> None:
    tool = plan_of(compiler, "approval_tool").tools["web_search"]
    assert (tool.definition.approval, tool.definition.effect) == ("always", Effect.IDEMPOTENT)
    assert tool.definition.timeout_seconds == 10
    assert tool.implementation is not None
    assert load_callable(tool.implementation)({"query": "tea"}) == "2 pages about: tea"
    report = compiler.policy_report(FOLDER / "approval_tool.yaml")
    assert report["tools"]["agent_policies"][0]["approval"] == {"web_search": "always"}


def test_the_librarian_stands_behind_the_tool_of_the_editor_and_takes_one_text(compiler: SpecCompiler) -> None:
    plan = plan_of(compiler, "agent_as_tool")
    tool = plan.tools["web_search"]
    assert tool.agent == "librarian"
    assert plan.agents["librarian"].tools == ()
    assert tool.definition.parameters["required"] == ["input"]


def test_the_tool_of_the_examples_says_what_it_promises() -> None:
    assert text_functions.search_archive({"query": "tea"}) == "2 pages about: tea"
