"""Every workflow that is shipped runs to its end, whatever the order in which people answer."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.workflows import text_functions
from kneo_serv.model.run import RunResult
from kneo_serv.model.task import HumanResponse
from kneo_serv.platform import PlatformManager
from kneo_serv.service.factory import create_local_platform_manager
from kneo_serv.spec.drawing import draw_dot, draw_mermaid, draw_text
from tests.examples.test_tool_workflows import TOOL_SPECS

FOLDER = Path(__file__).parents[2] / "examples" / "workflows"
SPECS = sorted(path.stem for path in FOLDER.glob("*.yaml"))

type Answer = tuple[str, str | None]

ALONE: list[tuple[str, str, str]] = [
    ("sequential", "  the   launch ", "Published: Final answer: the launch (asked:   the   launch )"),
    ("graph", "the launch", "Published: Draft 3: the launch"),
    ("concurrent", "Buy now!", "Final answer: Buy now! | 2 words | too loud"),
    ("handoff", "My invoice is wrong", "[billing] My invoice is wrong -> solved. Closed."),
    ("group_chat", "I ask for 110.", "Agreed: 80."),
    ("nested", "the launch", "Published: Draft 3: the launch"),
    ("as_agent", "the launch", "Published: Draft 2: the launch"),
    ("parallel", "the launch", "Published: 4 words\n\ncalm"),
    ("map", "tea, coffee,milk", "Draft 1: tea | Draft 1: coffee | Draft 1: milk"),
]

YES: Answer = ("approved", None)
TOGETHER: list[tuple[str, str, dict[str, list[Answer]], str]] = [
    ("sequential_human", "the launch", {"review": [YES]}, "Published: Final answer: the launch"),
    ("sequential_human", "x", {"review": [("edited", "Better.")]}, "Published: Better."),
    ("sequential_human", "x", {"review": [("rejected", "dull")]}, "Not published. Rejected by human reviewer: dull"),
    (
        "graph_human",
        "the launch",
        {"review": [("rejected", "too long"), ("rejected", "too short"), YES]},
        "Published: Draft 3: the launch",
    ),
    (
        "concurrent_human",
        "a new desk",
        {"lawyer": [("provided", "Nothing.")], "buyer": [("provided", "100 EUR.")]},
        "Nothing. | 3 words | 100 EUR.",
    ),
    ("handoff_human", "It beeps", {"expert": [("provided", "Turn it off")]}, "Turn it off. Closed."),
    ("group_chat_human", "110", {"buyer": [("edited", "I say 90."), YES]}, "I offer 80."),
    ("nested_human", " the   launch", {"review": [("rejected", "no"), YES]}, "Published: Draft 3: the launch"),
    ("as_agent_human", "teh launch", {"correct": [("edited", "the launch")]}, "Published: the launch"),
    (
        "parallel_human",
        "the launch",
        {"lawyer": [("provided", "Allowed.")], "edit": [("provided", "Great launch!")]},
        "Allowed. | 4 words | Published: Great launch!",
    ),
]


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[PlatformManager]:
    manager = create_local_platform_manager(state_path=tmp_path / "runs.sqlite")
    yield manager
    manager.shutdown()


def start(manager: PlatformManager, name: str, text: str) -> RunResult:
    return manager.run_from_spec(input_text=text, spec_path=FOLDER / f"{name}.yaml")


def answer_all(
    manager: PlatformManager, result: RunResult, answers: dict[str, list[Answer]], *, last_first: bool
) -> RunResult:
    """Answers people one at a time, the first or the last of those who are asked, until the run has ended."""
    left = {step: list(found) for step, found in answers.items()}
    while result.human_intervention_required:
        task = manager.list_human_tasks()[-1 if last_first else 0]
        request = task["pending_human_request"]
        decision, content = left[request["requested_by"]].pop(0)
        response = HumanResponse(request["id"], decision, content)
        result = manager.resume_human_task(task["continuation_id"], response=response)
    assert not any(left.values())
    return result


def test_every_document_is_run() -> None:
    here = {case[0] for case in ALONE} | {case[0] for case in TOGETHER} | {"map_human"}
    assert sorted(here | set(TOOL_SPECS)) == SPECS


@pytest.mark.parametrize("name", SPECS)
def test_a_document_has_no_findings_and_can_be_drawn(manager: PlatformManager, name: str) -> None:
    path = FOLDER / f"{name}.yaml"
    assert manager.compiler.validate(path).diagnostics == []
    view = manager.compiler.graph(path)
    for drawing in (draw_text(view), draw_mermaid(view), draw_dot(view)):
        assert all(node["id"] in drawing for node in view["nodes"])


@pytest.mark.parametrize("name", SPECS)
def test_a_document_says_in_two_lines_what_it_shows(name: str) -> None:
    lines = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    assert [line.startswith("# ") for line in lines[:3]] == [True, True, False]
    assert f"({name}.yaml)" in (FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "text", "output"), ALONE)
def test_a_workflow_without_people_runs_to_its_end(manager: PlatformManager, name: str, text: str, output: str) -> None:
    result = start(manager, name, text)
    assert (result.status, result.output_text, result.error) == ("completed", output, None)


def test_the_chat_ends_when_they_agree_and_not_when_the_rounds_are_over(manager: PlatformManager) -> None:
    visited = start(manager, "group_chat", "I ask for 110.").metadata["workflow"]["visited_steps"]
    assert visited == ["seller", "buyer"] * 3


@pytest.mark.parametrize("last_first", [False, True])
@pytest.mark.parametrize(("name", "text", "answers", "output"), TOGETHER)
def test_a_workflow_with_people_ends_the_same_whoever_answers_first(
    manager: PlatformManager, name: str, text: str, answers: dict[str, list[Answer]], output: str, last_first: bool
) -> None:
    result = answer_all(manager, start(manager, name, text), answers, last_first=last_first)
    assert (result.status, result.output_text, result.error) == ("completed", output, None)


def test_each_item_of_a_list_is_asked_about_and_the_answers_stand_in_the_order_of_the_list(
    manager: PlatformManager,
) -> None:
    result = start(manager, "map_human", "tea, coffee, milk")
    shown = {task["pending_human_request"]["context"]["input_text"]: task for task in manager.list_human_tasks()}
    assert sorted(shown) == ["Draft 1: coffee", "Draft 1: milk", "Draft 1: tea"]
    for item, words in (("milk", "no milk"), ("tea", "green tea"), ("coffee", "decaf")):
        task = shown[f"Draft 1: {item}"]
        response = HumanResponse(task["pending_human_request"]["id"], "edited", words)
        result = manager.resume_human_task(task["continuation_id"], response=response)
    assert (result.status, result.output_text) == ("completed", "green tea | decaf | no milk")


def test_the_functions_of_the_examples_say_what_they_promise() -> None:
    assert text_functions.improve("no draft yet") == "Draft 1: no draft yet"
    assert text_functions.sum_up('{"a": "one", "b": 2}') == "one | 2"
    assert text_functions.publish("Rejected by human reviewer: no") == "Not published. Rejected by human reviewer: no"
