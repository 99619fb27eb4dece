"""The human-in-the-loop walkthrough of the founding document, sections 1 to 4, on the command line.

Every command is a process of its own, so each test also shows that what a person is asked survives a restart.
"""

import re
import stat
from pathlib import Path

import pytest

from tests.acceptance.shell import Paused, Shell

SPEC = "examples/human_approval_workflow.yaml"
INPUT = "draft the launch announcement"
DRAFT = f"Draft report for: {INPUT}"

ASKING = """
version: v1
agent: {{name: idle, model: {{provider: dummy, name: dummy}}}}
workflow:
  type: sequential
  steps:
    - {{id: draft, kind: function, ref: draft}}
    - {{id: ask, kind: human, ref: person}}
    - {{id: publish, kind: function, ref: publish}}
components:
  functions:
    draft: {{implementation: examples.counted_functions.draft}}
    publish: {{implementation: examples.counted_functions.publish}}
  humans:
    person:
      description: What do you say?
      request_type: {request_type}
      options: [red, blue]
"""
COUNTED = '''
"""Functions that leave a mark each time they run."""

from pathlib import Path


def mark(name: str) -> None:
    with Path("marks").open("a") as file:
        print(name, file=file)


def draft(text: str) -> str:
    mark("draft")
    return f"draft of {text}"


def publish(text: str) -> str:
    mark("publish")
    return f"published {text}"
'''


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def waiting(shell: Shell) -> list[str]:
    return [task["id"] for task in shell.kneo("human", "list", "--json").json["tasks"]]


def ask(shell: Shell, request_type: str) -> Paused:
    shell.write("examples/counted_functions.py", COUNTED)
    shell.write("ask.yaml", ASKING.format(request_type=request_type))
    return shell.pause("ask.yaml", "it")


def marks(shell: Shell) -> list[str]:
    return (shell.folder / "marks").read_text().split()


def test_2_the_answer_of_a_run_that_waits_has_the_shape_of_the_walkthrough(shell: Shell) -> None:
    answer = shell.kneo("run", SPEC, "--input", INPUT, "--target", "workflow", "--json").json
    assert re.fullmatch(r"run_\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d_\S{22}", answer["run_id"])
    assert answer["status"] == "paused"
    assert answer["output_text"] is None
    assert answer["human_intervention_required"] is True
    request = answer["metadata"]["pending_human_request"]
    assert request["prompt"] == "Please approve or edit the draft report."
    assert answer["metadata"]["request"]["id"] == request["request_id"]
    assert shell.kneo("runs", "get", answer["run_id"], "--json").json["status"] == "blocked"


def test_3_pending_tasks_can_be_listed_and_read(shell: Shell) -> None:
    task = shell.pause(SPEC, INPUT)
    assert waiting(shell) == [task.continuation_id]
    assert task.continuation_id in shell.kneo("human", "list").out

    shown = shell.kneo("human", "get", task.continuation_id, "--json").json
    assert shown["continuation_id"] == task.continuation_id
    request = shown["request"]
    assert request["id"] == task.request_id
    assert request["type"] == "approval"
    assert request["context"]["input_text"] == DRAFT
    assert request["assignee"] == "reviewer@example.com"
    assert (request["timeout_seconds"], request["on_timeout"]) == (86400, "escalate")
    assert DRAFT in shell.kneo("human", "get", task.continuation_id).out


def test_the_state_of_a_waiting_run_is_readable_by_its_owner_only(shell: Shell) -> None:
    task = shell.pause(SPEC, INPUT)
    state = shell.folder / ".kneo"
    waiting_file = state / "continuations" / f"{task.continuation_id}.json"
    assert waiting_file.is_file()
    assert (state / "kneo_runs.sqlite").is_file()
    assert mode(state) == mode(state / "continuations") == 0o700
    assert {mode(path) for path in state.rglob("*") if path.is_file()} == {0o600}

    shell.resume(task, "--approve")
    assert not waiting_file.exists()
    assert waiting(shell) == []


def test_4_an_edit_goes_on_in_the_place_of_the_draft(shell: Shell) -> None:
    task = shell.pause(SPEC, INPUT)
    assert shell.resume(task, "--edit", "The launch is in May.").json["output_text"] == (
        "Published: The launch is in May."
    )


def test_4_a_rejection_is_not_published(shell: Shell) -> None:
    task = shell.pause(SPEC, INPUT)
    answer = shell.resume(task, "--reject").json
    assert answer["status"] == "completed"
    assert answer["output_text"].startswith("Not published. Rejected by human reviewer")


def test_an_answer_to_another_question_is_refused_and_the_task_stays(shell: Shell) -> None:
    task = shell.pause(SPEC, INPUT)
    wrong = Paused(task.run_id, task.continuation_id, "req_00000000-0000-7000-8000-000000000000")
    assert shell.resume(wrong, "--approve", code=1).error["code"] == "request_id_mismatch"
    assert waiting(shell) == [task.continuation_id]
    assert shell.resume(task, "--approve").json["status"] == "completed"


def test_a_second_answer_is_refused_and_changes_nothing(shell: Shell) -> None:
    task = shell.pause(SPEC, INPUT)
    first = shell.resume(task, "--approve").json
    assert shell.resume(task, "--reject", code=1).error["code"] == "not_found"
    kept = shell.kneo("runs", "get", task.run_id, "--json").json
    assert (kept["status"], kept["output_text"]) == ("completed", first["output_text"])


def test_an_answer_to_nothing_names_what_is_not_known(shell: Shell) -> None:
    nothing = Paused("run_x", "cont_x", "req_x")
    error = shell.resume(nothing, "--approve", code=1).error
    assert (error["code"], error["name"]) == ("not_found", "cont_x")


@pytest.mark.parametrize("decision", [(), ("--approve", "--reject"), ("--approve", "--edit", "x")])
def test_exactly_one_decision_is_taken(shell: Shell, decision: tuple[str, ...]) -> None:
    typed = ("human", "resume", "cont_x", "--request-id", "req_x", *decision)
    answer = shell.start_kneo(*typed)
    with answer:
        _, told = answer.communicate()
    assert answer.returncode in (1, 2)
    assert "exactly one of" in told.lower()


DECISIONS = {
    "--approve": ("--approve",),
    "--reject": ("--reject",),
    "--edit": ("--edit", "better"),
    "--provide": ("--provide", "new"),
    "--select": ("--select", "blue"),
}
PUBLISHED = {
    "--approve": "published draft of it",
    "--reject": "published Rejected by human reviewer: ",
    "--edit": "published better",
    "--provide": "published new",
    "--select": "published blue",
}


@pytest.mark.parametrize(
    ("request_type", "legal"),
    [
        ("approval", ["--approve", "--reject", "--edit"]),
        ("review", ["--approve", "--reject", "--edit", "--provide"]),
        ("correction", ["--edit", "--approve", "--reject"]),
        ("selection", ["--select", "--reject"]),
        ("freeform", ["--provide", "--reject"]),
    ],
)
def test_each_kind_of_question_takes_its_own_decisions_only(shell: Shell, request_type: str, legal: list[str]) -> None:
    for number, flag in enumerate(legal):
        task = ask(shell, request_type)
        if number == 0:
            for other in DECISIONS.keys() - set(legal):
                error = shell.resume(task, *DECISIONS[other], code=1).error
                assert error["code"] == "decision_not_allowed", other
                assert len(error["allowed"]) == len(legal)
        assert shell.resume(task, *DECISIONS[flag]).json["output_text"].strip() == PUBLISHED[flag].strip()
    assert marks(shell).count("publish") == len(legal)


@pytest.mark.parametrize(
    ("request_type", "decision"),
    [("selection", ("--select", "green")), ("approval", ("--edit", "")), ("freeform", ("--provide", ""))],
)
def test_an_option_that_was_not_offered_and_an_empty_text_are_refused(
    shell: Shell, request_type: str, decision: tuple[str, str]
) -> None:
    task = ask(shell, request_type)
    assert shell.resume(task, *decision, code=1).error["code"] == "decision_not_allowed"
    assert marks(shell) == ["draft"]


def test_finished_steps_are_not_done_again_and_the_spec_is_kept_as_it_was(shell: Shell) -> None:
    task = ask(shell, "approval")
    (shell.folder / "ask.yaml").unlink()
    assert shell.resume(task, "--approve").json["output_text"] == "published draft of it"
    assert marks(shell) == ["draft", "publish"]
    visited = shell.kneo("runs", "get", task.run_id, "--json").json["visited_steps"]
    assert visited == ["draft", "ask", "publish"]


def test_the_trace_tells_the_question_and_the_answer(shell: Shell) -> None:
    task = shell.pause(SPEC, INPUT)
    shell.resume(task, "--approve")
    types = [event["type"] for event in shell.trace(task.run_id)]
    expected = ["workflow_started", "human_intervention_requested", "workflow_resumed", "workflow_completed"]
    assert [kind for kind in types if kind in expected] == expected
    checkpoints = shell.kneo("runs", "checkpoints", task.run_id, "--json").json["checkpoints"]
    assert [item["type"] for item in checkpoints] == [
        "run_started",
        "step_completed",
        "human_pause",
        "human_resume",
        "step_completed",
        "step_completed",
        "run_completed",
    ]
