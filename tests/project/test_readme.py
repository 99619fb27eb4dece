"""What the README shows works as written: its commands are run in a copy of the examples, its Python is executed."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from kneo_serv.testing.scripted_openai import ScriptedOpenAI, text
from tests.acceptance.server import serving
from tests.acceptance.shell import Shell

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS = [
    command
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    for command in block.replace("\\\n", " ").splitlines()
    if command.startswith("kneo ")
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def _environment(home: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KNEO_", "OPENAI_"))}
    path = os.pathsep.join(path for path in sys.path if path)
    return {**kept, "HOME": str(home), "PYTHONPATH": path, **more}


def _kneo(folder: Path, command: str, environment: dict[str, str]) -> tuple[str, str]:
    words = [sys.executable, "-m", "kneo_serv", *shlex.split(command)[1:]]
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout, done.stderr


def test_the_readme_has_the_commands_of_the_quickstart() -> None:
    assert len(COMMANDS) >= 10


def test_every_command_of_the_readme_works_in_the_order_of_the_readme(folder: Path) -> None:
    ids: dict[str, str] = {}
    with ExitStack() as stack:
        model = stack.enter_context(ScriptedOpenAI(lambda request: text("Three bullet points.")))
        environment = _environment(folder, OPENAI_API_KEY="sk-readme", OPENAI_BASE_URL=model.base_url)
        url = ""
        for command in COMMANDS:
            if command == "kneo service serve":
                url = stack.enter_context(serving(Shell(folder))).url
                continue
            command = command.replace("http://127.0.0.1:8000", url)
            for name, value in ids.items():
                command = command.replace(f"<{name}>", value)
            answer, told_beside = _kneo(folder, command, environment)
            if command.startswith("kneo run ") and "--json" in command:
                told = json.loads(answer)
                ids["run_id"] = told["run_id"]
                ids["continuation_id"] = told["continuation_id"]
                ids["request_id"] = told["metadata"]["pending_human_request"]["request_id"]
            elif command.startswith("kneo run "):
                ids["run_id"] = re.findall(r"run_[0-9T:-]+_[A-Za-z0-9_-]{22}", told_beside)[0]


def test_the_python_of_the_readme_runs_and_pauses(folder: Path) -> None:
    (script,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env=_environment(folder), capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"paused req_[0-9a-f-]{36}\n", done.stdout)
