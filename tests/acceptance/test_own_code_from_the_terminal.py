"""The custom-tool tutorial with the bare command: its tool comes by --tools, --factory, a variable, or the project."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from kneo_serv.testing.scripted_openai import Answer, ScriptedOpenAI, text, tool_call
from tests.acceptance.shell import Paused, Shell, pending
from tests.acceptance.tutorial import ASKING_AGENT, FILES, LOCKED_AGENT, MY_TOOLS, REGISTER

SPEC = "examples/lookup_agent.yaml"
ANSWER = "The email for u-002 is bob@example.com."
ASKED = ("run", SPEC, "--input", "What's the email for u-002?")
TOOLS = ("--tools", "examples.my_tools:register")
FACTORY = ("--factory", "examples.my_factory:build_platform")
LOOKED_UP = [("tool_call_started", "lookup_user"), ("tool_call_completed", "lookup_user")]
CONFIG = """\
project: {name: tutorial}
platform:
  %s
"""


@pytest.fixture
def model() -> Iterator[ScriptedOpenAI]:
    with ScriptedOpenAI(reply) as server:
        yield server


def reply(request: dict[str, Any]) -> Answer:
    """Looks the user up, and tells what was found."""
    if request["messages"][-1]["role"] == "tool":
        return text(ANSWER)
    return tool_call("lookup_user", {"user_id": "u-002"})


@pytest.fixture
def reader(shell: Shell, model: ScriptedOpenAI) -> Shell:
    """The terminal of somebody who wrote the files of the tutorial and exported a key."""
    for path, content in {**FILES, "examples/my_tools.py": MY_TOOLS + REGISTER}.items():
        shell.write(path, content)
    return replace(shell, variables={"OPENAI_API_KEY": "sk-acceptance-test", "OPENAI_BASE_URL": model.base_url})


def calls(reader: Shell, run_id: str) -> list[tuple[str, str]]:
    events = [event for event in reader.trace(run_id) if event["type"].startswith("tool_")]
    return [(event["type"], event["tool_name"]) for event in events]


def paused(answer: dict[str, Any]) -> Paused:
    assert answer["status"] == "paused"
    return Paused(answer["run_id"], answer["continuation_id"], pending(answer)["request_id"])


@pytest.mark.parametrize("code", [TOOLS, FACTORY, ("--tools", "examples.my_tools.register")])
def test_the_tool_is_known_and_called_by_the_command_alone(
    reader: Shell, model: ScriptedOpenAI, code: tuple[str, str]
) -> None:
    for verb in ("validate", "compile", "explain", "graph"):
        reader.kneo("spec", verb, SPEC, *code)
    assert reader.kneo("spec", "validate", SPEC, *code, "--json").json["valid"] is True
    assert model.requests == []
    answer = reader.kneo(*ASKED, *code, "--json").json
    assert (answer["status"], answer["output_text"]) == ("completed", ANSWER)
    assert model.requests[1]["messages"][-1]["content"] == "bob@example.com"
    assert calls(reader, answer["run_id"]) == LOOKED_UP
    assert reader.kneo(*ASKED, *code).out == f"{ANSWER}\n"


def test_without_it_the_command_names_the_tool_that_is_missing(reader: Shell) -> None:
    told = reader.kneo(*ASKED, code=1)
    assert "E_UNKNOWN_TOOL" in told.err
    assert told.out == ""


@pytest.mark.parametrize(
    ("variable", "value"),
    [("KNEO_SERV_TOOLS", "examples.my_tools:register"), ("KNEO_SERV_FACTORY", "examples.my_factory:build_platform")],
)
def test_a_variable_names_it_for_every_command(reader: Shell, variable: str, value: str) -> None:
    told = replace(reader, variables={**reader.variables, variable: value})
    assert told.kneo("spec", "lint", SPEC, "--json", code=1).json["error_count"] == 0
    assert told.kneo(*ASKED).out == f"{ANSWER}\n"


@pytest.mark.parametrize("key", ["tools: [examples.my_tools:register]", "factory: examples.my_factory:build_platform"])
def test_the_project_names_it_for_every_command_from_any_of_its_folders(reader: Shell, key: str) -> None:
    reader.write(".kneo/config.yaml", CONFIG % key)
    inside = replace(reader, folder=reader.folder / "examples")
    assert inside.kneo("spec", "validate", "lookup_agent.yaml", "--json").json["valid"] is True
    told = reader.kneo("run", SPEC, "--input", "What's the email for u-002?", "--json").json
    assert (told["status"], told["output_text"]) == ("completed", ANSWER)
    name, _, path = key.partition(": ")
    assert path.strip("[]") in str(reader.kneo("config", "resolve", "--json").json[name])


def test_an_answer_a_fork_a_retry_and_a_continuation_have_the_tool_too(reader: Shell) -> None:
    reader.write(SPEC, ASKING_AGENT)
    first = paused(reader.kneo(*ASKED, *TOOLS, "--json").json)
    assert reader.resume(first, "--approve", *TOOLS).json["output_text"] == ANSWER
    fork = paused(reader.kneo("runs", "fork", first.run_id, "--at", "1", "--yes", *TOOLS, "--json").json)
    assert reader.resume(fork, "--approve", *FACTORY).json["output_text"] == ANSWER
    for run in (first, fork):
        assert calls(reader, run.run_id) == LOOKED_UP * 2


@pytest.mark.parametrize("verb", ["continue", "retry"])
def test_a_run_that_failed_is_taken_up_with_the_tool(reader: Shell, verb: str) -> None:
    away = replace(reader, variables={**reader.variables, "OPENAI_BASE_URL": "http://127.0.0.1:1/v1"})
    failed = away.kneo(*ASKED, *TOOLS, "--json", code=3).json
    done = reader.kneo("runs", verb, failed["run_id"], *TOOLS, "--json").json
    assert (done["status"], done["output_text"]) == ("completed", ANSWER)
    assert calls(reader, done["run_id"]) == LOOKED_UP


def test_the_policy_holds_for_the_tool_whoever_brought_it(reader: Shell) -> None:
    marker = '    open("handler-was-reached", "w").close()\n    user_id = args.get'
    reader.write("examples/my_tools.py", (MY_TOOLS + REGISTER).replace("    user_id = args.get", marker))
    reader.write(SPEC, LOCKED_AGENT.replace("- lookup_user\n", "- web_search\n"))
    for code in (TOOLS, FACTORY):
        failed = reader.kneo(*ASKED, *code, "--json", code=3).json
        assert ("tool_policy_denied", "lookup_user") in calls(reader, failed["run_id"])
    assert not (reader.folder / "handler-was-reached").exists()
    reader.write(SPEC, LOCKED_AGENT)
    reader.kneo(*ASKED, *TOOLS)
    assert (reader.folder / "handler-was-reached").exists()


def test_what_cannot_be_loaded_is_told_in_one_line_with_its_mend_and_no_traceback(reader: Shell) -> None:
    told = reader.kneo(*ASKED, "--tools", "examples.my_tools:regster", code=1)
    assert told.err == (
        "✗ --tools: Cannot load 'examples.my_tools.regster': module 'examples.my_tools' has no 'regster'. "
        "Did you mean 'register'?\n"
    )
    shown = reader.kneo("spec", "validate", SPEC, "--factory", "examples.my_factori:build", "--json", code=1)
    assert shown.error["code"] == "custom_code_unusable"
    assert (shown.error["named_by"], shown.error["path"]) == ("--factory", "examples.my_factori:build")
    assert "Did you mean 'my_factory'?" in shown.error["message"]
    reader.write("examples/my_tools.py", "USERS = {\n    'u-001': alice,\n}\n")
    told = reader.kneo(*ASKED, *TOOLS, code=1)
    assert "raised NameError: name 'alice' is not defined (my_tools.py, line 2)" in told.err
    assert "Traceback" not in told.err
    assert not (reader.folder / ".kneo").exists()


def test_what_the_own_code_prints_does_not_spoil_the_answer(reader: Shell) -> None:
    reader.write("examples/my_tools.py", "print('loaded')\n" + MY_TOOLS + REGISTER)
    shown = reader.kneo("spec", "validate", SPEC, *TOOLS, "--json")
    assert shown.json["valid"] is True
    assert "loaded" in shown.err
    assert reader.kneo(*ASKED, *TOOLS, "--json").json["status"] == "completed"
