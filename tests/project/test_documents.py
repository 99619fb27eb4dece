"""What docs/streaming.md, docs/own_code.md and docs/cli.md show works as written."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kneo_serv.settings import SETTINGS
from kneo_serv.testing.scripted_openai import ScriptedOpenAI, text
from tests.acceptance.server import serving
from tests.acceptance.shell import Shell
from tests.project.test_readme import ROOT, _environment, _kneo

STREAMING = (ROOT / "docs" / "streaming.md").read_text()
CLI = (ROOT / "docs" / "cli.md").read_text()
OWN_CODE = (ROOT / "docs" / "own_code.md").read_text()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", document, re.DOTALL)


def python(folder: Path, script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env=_environment(folder), capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_python_of_the_page_about_streaming_tells_events_and_text(folder: Path) -> None:
    told = python(folder, "\n".join(blocks(STREAMING, "python")))
    assert "4 model_turn_started" in told
    assert "'Final answer: hello'" in told
    assert "Recorded(seq=1," in told
    assert "1 workflow_started blocked" in told


def test_the_function_of_the_page_about_own_code_registers_its_tool(folder: Path) -> None:
    (function,) = blocks(OWN_CODE, "python")
    call = "registry = ToolRegistry()\nregister(registry)\n"
    shown = "print(registry.call('lookup_user', {'user_id': 'u-002'}).result)"
    assert python(folder, function + call + shown) == "bob@example.com\n"


@pytest.mark.parametrize("config", [False, True])
def test_the_commands_of_the_page_about_own_code_work_with_and_without_the_project(folder: Path, config: bool) -> None:
    if config:
        (file,) = blocks(OWN_CODE, "yaml")
        (folder / ".kneo").mkdir()
        (folder / ".kneo" / "config.yaml").write_text(file)
    commands = [line for block in blocks(OWN_CODE, "bash") for line in block.splitlines()]
    assert len(commands) == 3
    with ScriptedOpenAI(lambda request: text("bob@example.com")) as model:
        environment = _environment(folder, OPENAI_API_KEY="sk-own-code", OPENAI_BASE_URL=model.base_url)
        for command in commands:
            written = command.partition(" --tools" if "--tools" in command else " --factory")[0] if config else command
            answer, beside = _kneo(folder, written, environment)
            assert ("is valid" in beside) if "validate" in command else (answer == "bob@example.com\n")


def test_the_page_about_own_code_names_its_variables() -> None:
    for setting in SETTINGS:
        if setting.name in ("tools", "factory"):
            assert setting.variable in OWN_CODE


def test_the_commands_of_the_page_about_services_work_in_their_order(folder: Path) -> None:
    commands = [line for block in blocks(CLI, "bash") for line in block.splitlines()]
    assert len(commands) == 7
    with serving(Shell(folder)) as server:
        for command in commands:
            _kneo(folder, command.replace("http://127.0.0.1:8000", server.url), _environment(folder))
    assert not (folder / ".kneo_serv" / "profiles.json").read_text().count("operator-token")


def test_the_page_about_services_names_every_variable_of_the_client() -> None:
    for setting in SETTINGS:
        if setting.name.startswith("client_"):
            assert f"| `{setting.variable}` | {setting.default:g} |" in CLI
