"""The quickstart of the founding document, sections 1 to 5, as a newcomer types it."""

import re
from dataclasses import replace
from typing import Any

import pytest

from kneo_serv.testing.scripted_openai import ScriptedOpenAI, text, tool_call
from tests.acceptance.shell import Shell, pending

RESEARCH = "examples/research_agent.yaml"
QUESTION = "Summarize Nvidia's AI strategy in three bullet points"
BULLETS = "- chips\n- software\n- [partners]"


def with_model(shell: Shell, model: ScriptedOpenAI) -> Shell:
    return replace(shell, variables={"OPENAI_API_KEY": "sk-acceptance-test", "OPENAI_BASE_URL": model.base_url})


def roles(request: dict[str, Any]) -> list[str]:
    return [message["role"] for message in request["messages"]]


def test_1_the_command_is_there_and_names_its_groups(shell: Shell) -> None:
    shown = shell.kneo("--help").out
    for word in ("run", "runs", "spec", "human", "config"):
        assert re.search(rf"^\W*{word}\b", shown, re.MULTILINE), word
    assert shell.kneo("--version").out.startswith("kneo-serv 2.")


@pytest.mark.parametrize("verb", ["validate", "compile", "lint"])
@pytest.mark.parametrize(
    "name", ["research_agent", "human_approval_workflow", "smoke_human_workflow", "invoice_approval"]
)
def test_2_the_specs_that_are_shipped_are_without_fault(shell: Shell, verb: str, name: str) -> None:
    assert shell.kneo("spec", verb, f"examples/{name}.yaml").err.count("✗") == 0


def test_2_a_fault_is_told_with_its_path_in_the_spec_and_its_line(shell: Shell) -> None:
    file = shell.folder / RESEARCH
    file.write_text(file.read_text().replace("include: [web_search, ", "include: [web_serch, "))
    answer = shell.kneo("spec", "validate", RESEARCH, "--json", code=1).json
    assert answer["valid"] is False
    found = {item["code"]: item for item in answer["diagnostics"]}
    assert found["E_UNKNOWN_TOOL"]["path"].startswith("agent.tools")
    line = next(number for number, row in enumerate(file.read_text().split("\n"), 1) if "web_serch" in row)
    assert found["E_UNKNOWN_TOOL"]["line"] == line
    told = shell.kneo("spec", "validate", RESEARCH, code=1)
    assert "E_UNKNOWN_TOOL" in told.out + told.err
    assert "web_search" in told.out + told.err


def test_3_the_research_agent_answers_on_stdout_and_leaves_its_state_behind(shell: Shell) -> None:
    with ScriptedOpenAI([tool_call("web_search", {"query": "Nvidia AI strategy"}), text(BULLETS)]) as model:
        answer = with_model(shell, model).kneo("run", RESEARCH, "--input", QUESTION, "--target", "workflow")
    assert BULLETS in answer.out
    first, second = model.requests
    assert roles(first) == ["system", "user"]
    assert "careful researcher" in first["messages"][0]["content"]
    assert first["messages"][1]["content"] == f"[compressed] {QUESTION}"
    assert first["model"] == "gpt-4o-mini"
    assert {tool["function"]["name"] for tool in first["tools"]} == {"web_search", "webpage_reader", "summarize"}
    assert roles(second) == ["system", "user", "assistant", "tool"]
    assert second["messages"][-1]["content"] == "Search result for: Nvidia AI strategy"
    assert (shell.folder / ".kneo" / "kneo_runs.sqlite").is_file()


def test_3_the_run_can_be_inspected_afterwards(shell: Shell) -> None:
    with ScriptedOpenAI([tool_call("web_search", {"query": "Nvidia AI strategy"}), text(BULLETS)]) as model:
        typed = ("run", RESEARCH, "--input", QUESTION, "--target", "workflow", "--json")
        answer = with_model(shell, model).kneo(*typed).json
    assert answer["status"] == "completed"
    assert answer["output_text"] == BULLETS
    assert answer["human_intervention_required"] is False
    run_id = answer["run_id"]
    assert re.fullmatch(r"run_\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d_\S{22}", run_id)

    kept = shell.kneo("runs", "get", run_id, "--json").json
    assert (kept["run_id"], kept["status"], kept["visited_steps"]) == (run_id, "completed", ["compress", "research"])
    types = [event["type"] for event in shell.trace(run_id)]
    assert types[0] == "workflow_started"
    assert types[-1] == "workflow_completed"
    assert types.index("tool_call_started") < types.index("tool_call_completed")
    assert types.count("step_completed") == 2
    checkpoints = shell.kneo("runs", "checkpoints", run_id, "--json").json["checkpoints"]
    assert [item["type"] for item in checkpoints] == [
        "run_started",
        "step_completed",
        "step_completed",
        "run_completed",
    ]
    for verb in ("get", "trace", "checkpoints"):
        assert shell.kneo("runs", verb, run_id).out.strip()


def test_3_options_may_stand_before_the_spec_too(shell: Shell) -> None:
    answer = shell.kneo("run", "--input", "hello", "--json", "examples/smoke_human_workflow.yaml").json
    assert answer["status"] == "paused"


def test_3_without_a_key_the_run_fails_and_names_the_variable_instead_of_inventing_an_answer(shell: Shell) -> None:
    answer = shell.kneo("run", RESEARCH, "--input", QUESTION, "--target", "workflow", code=3)
    assert "OPENAI_API_KEY" in answer.out + answer.err
    assert "Final answer" not in answer.out


def test_4_a_workflow_pauses_for_a_person_and_is_resumed_with_an_approval(shell: Shell) -> None:
    spec = "examples/human_approval_workflow.yaml"
    typed = ("run", spec, "--input", "draft the launch announcement", "--target", "workflow", "--json")
    answer = shell.kneo(*typed).json
    assert (answer["status"], answer["output_text"]) == ("paused", None)
    assert answer["human_intervention_required"] is True
    assert answer["continuation_id"].startswith("cont_")
    assert pending(answer)["request_id"].startswith("req_")
    assert pending(answer)["prompt"] == "Please approve or edit the draft report."

    resumed = shell.kneo(
        "human", "resume", answer["continuation_id"], "--request-id", pending(answer)["request_id"], "--approve"
    )
    assert "Published: Draft report for: draft the launch announcement" in resumed.out


def test_4_without_json_both_ids_that_resuming_needs_are_shown(shell: Shell) -> None:
    answer = shell.kneo("run", "examples/human_approval_workflow.yaml", "--input", "x")
    shown = answer.out + answer.err
    continuation = re.search(r"cont_[\w-]+", shown)
    request = re.search(r"req_[\w-]+", shown)
    assert continuation is not None
    assert request is not None
    shell.kneo("human", "resume", continuation[0], "--request-id", request[0], "--approve")


def test_5_the_dummy_path_needs_no_key(shell: Shell) -> None:
    spec = "examples/smoke_human_workflow.yaml"
    task = shell.pause(spec, "smoke")
    resumed = shell.resume(task, "--approve").json
    assert resumed["run_id"] == task.run_id
    assert resumed["status"] == "completed"
    assert resumed["output_text"] == "Published: Final answer: smoke"
