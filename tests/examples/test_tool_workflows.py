"""The documents about tools: they bring all that they name, and run as they say."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.workflows import text_functions
from kneo_serv.model.plan import ROOT, Plan, StrategyType
from kneo_serv.model.run import RunResult
from kneo_serv.model.task import HumanResponse
from kneo_serv.model.tool import Effect
from kneo_serv.platform import PlatformManager
from kneo_serv.runtime import default_registry
from kneo_serv.service.factory import create_local_platform_manager
from kneo_serv.spec import SpecCompiler
from kneo_serv.tools import ToolRegistry, load_callable

FOLDER = Path(__file__).parents[2] / "examples" / "workflows"
TOOL_SPECS = ("agent_as_tool", "approval_tool")


@pytest.fixture
def compiler() -> SpecCompiler:
    # Without the example tools: the documents bring all that they name.
    return SpecCompiler(runtime_registry=default_registry(environ={}), tool_registry=ToolRegistry())


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[PlatformManager]:
    manager = create_local_platform_manager(state_path=tmp_path / "runs.sqlite")
    yield manager
    manager.shutdown()


def start(manager: PlatformManager, name: str, text: str) -> RunResult:
    return manager.run_from_spec(input_text=text, spec_path=FOLDER / f"{name}.yaml")


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


@pytest.mark.parametrize("name", TOOL_SPECS)
def test_an_input_without_a_search_needs_neither_tool_nor_person(manager: PlatformManager, name: str) -> None:
    result = start(manager, name, "hello")
    assert (result.status, result.output_text) == ("completed", "Final answer: hello")


def test_the_editor_answers_with_what_the_librarian_said(manager: PlatformManager) -> None:
    result = start(manager, "agent_as_tool", "search for tea")
    output = "Final answer based on tool results: Final answer: search for tea"
    assert (result.status, result.output_text, result.error) == ("completed", output, None)


@pytest.mark.parametrize(
    ("decision", "content", "told"),
    [
        ("approved", None, ["2 pages about: search for tea"]),
        ("edited", '{"query": "tea"}', ["tea", "2 pages about: tea"]),
        ("provided", "Nothing.", ["Nothing."]),
        ("rejected", "too dear", ["too dear"]),
    ],
)
def test_the_researcher_is_told_what_a_person_made_of_its_call(
    manager: PlatformManager, decision: str, content: str | None, told: list[str]
) -> None:
    assert start(manager, "approval_tool", "search for tea").human_intervention_required
    (task,) = manager.list_human_tasks()
    request = task["pending_human_request"]
    assert request["metadata"]["tool_name"] == "web_search"
    assert '"query": "search for tea"' in request["context"]["input_text"]
    result = manager.resume_human_task(
        task["continuation_id"], response=HumanResponse(request["id"], decision, content)
    )
    assert (result.status, result.error) == ("completed", None)
    assert result.output_text is not None
    assert result.output_text.startswith("Final answer based on tool results: ")
    assert all(words in result.output_text for words in told)
    assert ("2 pages" in result.output_text) is (decision in ("approved", "edited"))


def test_the_tool_of_the_examples_says_what_it_promises() -> None:
    assert text_functions.search_archive({"query": "tea"}) == "2 pages about: tea"
