"""The custom-tool tutorial of the founding document, sections 1 to 6: its files run as they are written there."""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from kneo_serv.testing.scripted_openai import text, tool_call
from kneo_serv.testing.scripted_server import ScriptedServer, scripted
from tests.acceptance.shell import Shell
from tests.acceptance.tutorial import FILES, LOCKED_AGENT, MY_TOOLS

ANSWER = "The email for u-002 is bob@example.com."
PREPARE = "from examples.my_factory import build_platform; manager = build_platform(); "


@pytest.fixture(params=["openai", "openai-responses"])
def api(request: pytest.FixtureRequest) -> str:
    """The provider's name: chat completions as the tutorial has it, or the responses API."""
    return str(request.param)


@pytest.fixture
def model(api: str) -> Iterator[ScriptedServer]:
    with scripted(api, [tool_call("lookup_user", {"user_id": "u-002"}), text(ANSWER)]) as server:
        yield server


@pytest.fixture
def reader(shell: Shell, model: ScriptedServer, api: str) -> Shell:
    """The terminal of somebody who wrote the four files and exported a key."""
    for path, content in FILES.items():
        shell.write(path, content.replace("provider: openai", f"provider: {api}"))
    return replace(shell, variables={"OPENAI_API_KEY": "sk-acceptance-test", "OPENAI_BASE_URL": model.base_url})


def run_lookup(reader: Shell) -> str:
    """Section 4: runs the script; the run id that it prints."""
    head, *rest = reader.python("-m", "examples.run_lookup").out.splitlines()
    assert rest == [ANSWER]
    name, _, run_id = head.partition("=")
    assert name == "run_id"
    return run_id


def test_1_and_2_the_function_becomes_a_tool_of_the_platform(reader: Shell) -> None:
    call = "print(manager.compiler.tool_registry.call('lookup_user', {'user_id': 'u-001'}).result)"
    assert reader.python("-c", PREPARE + call).out == "alice@example.com\n"


def test_2_a_tool_without_an_implementation_is_refused(reader: Shell) -> None:
    code = (
        "from kneo_serv.service.factory import create_tool_registry\n"
        "from kneo_serv.tools import ToolDefinition\n"
        "create_tool_registry().register(ToolDefinition(name='X', description='x', parameters={}), None)\n"
    )
    assert "ValueError: Tool 'X' has no implementation" in reader.python("-c", code, code=1).err


def test_3_the_spec_is_valid_where_the_tool_is_registered_and_tells_where_it_is_not(reader: Shell) -> None:
    check = "print(manager.validate_spec(spec_path='examples/lookup_agent.yaml').has_errors)"
    assert reader.python("-c", PREPARE + check).out == "False\n"
    told = reader.kneo("spec", "validate", "examples/lookup_agent.yaml", "--json", code=1).json
    (fault,) = (item for item in told["diagnostics"] if item["severity"] == "error")
    assert (fault["code"], fault["path"]) == ("E_UNKNOWN_TOOL", "agent.tools[0]")
    assert "lookup_user" in fault["message"]


def test_4_the_agent_calls_the_tool_and_answers(reader: Shell, model: ScriptedServer, api: str) -> None:
    assert run_lookup(reader).startswith("run_")
    first, second = model.requests
    (offered,) = first["tools"]
    if api == "openai-responses":
        assert (offered["name"], offered["parameters"]["required"]) == ("lookup_user", ["user_id"])
        assert second["input"][-1]["output"] == "bob@example.com"
        return
    assert offered["function"]["name"] == "lookup_user"
    assert offered["function"]["parameters"]["required"] == ["user_id"]
    assert second["messages"][-1]["role"] == "tool"
    assert second["messages"][-1]["content"] == "bob@example.com"


def test_4_the_script_ends_by_itself_within_two_seconds(reader: Shell) -> None:
    process = reader.start(sys.executable, "-m", "examples.run_lookup")
    with process:
        assert process.stdout is not None
        lines = [process.stdout.readline(), process.stdout.readline()]
        printed = time.monotonic()
        reader.end(process)
        assert time.monotonic() - printed < 2
    assert lines[1] == ANSWER + "\n"


def test_5_the_trace_names_the_tool_and_holds_neither_arguments_nor_results(reader: Shell) -> None:
    run_id = run_lookup(reader)
    calls = [event for event in reader.trace(run_id) if event["type"].startswith("tool_call")]
    assert [(event["type"], event["tool_name"]) for event in calls] == [
        ("tool_call_started", "lookup_user"),
        ("tool_call_completed", "lookup_user"),
    ]
    shown = json.dumps(calls)
    assert "u-002" not in shown
    assert "bob" not in shown
    table = reader.kneo("runs", "trace", run_id).out
    assert "tool_call_completed" in table
    assert "lookup_user" in table


def test_6_a_policy_that_allows_the_tool_lets_it_through(reader: Shell, api: str) -> None:
    reader.write("examples/lookup_agent.yaml", LOCKED_AGENT.replace("provider: openai", f"provider: {api}"))
    types = [event["type"] for event in reader.trace(run_lookup(reader))]
    assert "tool_call_completed" in types
    assert "tool_policy_denied" not in types


@pytest.mark.parametrize(
    "policy",
    [("- lookup_user\n", "- web_search\n"), ("deny: []", "deny: [lookup_user]")],
)
def test_6_a_policy_that_refuses_the_tool_keeps_the_call_from_the_handler(
    reader: Shell, api: str, policy: tuple[str, str]
) -> None:
    locked = LOCKED_AGENT.replace("provider: openai", f"provider: {api}")
    reader.write("examples/lookup_agent.yaml", locked.replace(*policy))
    marker = '    open("handler-was-reached", "w").close()\n    user_id = args.get'
    reader.write("examples/my_tools.py", MY_TOOLS.replace("    user_id = args.get", marker))
    with reader.start(sys.executable, "-m", "examples.run_lookup") as process:
        process.communicate()
    (run,) = reader.kneo("runs", "list", "--json").json["runs"]
    assert run["status"] == "failed"
    denied = [event for event in reader.trace(run["run_id"]) if event["type"] == "tool_policy_denied"]
    assert [event["tool_name"] for event in denied] == ["lookup_user"]
    assert not (reader.folder / "handler-was-reached").exists()


def test_6_the_marker_of_the_refusal_test_is_left_when_the_call_is_allowed(reader: Shell) -> None:
    marker = '    open("handler-was-reached", "w").close()\n    user_id = args.get'
    reader.write("examples/my_tools.py", MY_TOOLS.replace("    user_id = args.get", marker))
    run_lookup(reader)
    assert (reader.folder / "handler-was-reached").exists()
