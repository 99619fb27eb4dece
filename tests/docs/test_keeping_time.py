"""What docs/schedules.md and docs/retention.md show works as written."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kneo_serv.platform.retention import VARIABLES
from kneo_serv.spec.project import read_config

ROOT = Path(__file__).resolve().parents[2]
SCHEDULES = (ROOT / "docs" / "schedules.md").read_text(encoding="utf-8")
RETENTION = (ROOT / "docs" / "retention.md").read_text(encoding="utf-8")


def blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", document, re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def run(folder: Path, *words: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KNEO_", "OPENAI_"))}
    path = os.pathsep.join([str(folder), *(entry for entry in sys.path if entry)])
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env={**kept, "PYTHONPATH": path},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def kneo(folder: Path, command: str) -> str:
    return run(folder, "-m", "kneo_serv", *shlex.split(command)[1:])


def test_the_commands_of_a_schedules_life_work_in_their_order(folder: Path) -> None:
    (life,) = blocks(SCHEDULES, "bash")
    answers = {command.split()[2]: kneo(folder, command) for command in life.splitlines()}
    assert len(answers["next"].splitlines()) == 3
    shown = json.loads(answers["show"])
    assert (shown["runs"], shown["last_outcome"], shown["paused"]) == (1, "started", False)
    assert "morning" in answers["list"]


def test_the_python_of_the_page_about_schedules_prints_what_is_shown(folder: Path) -> None:
    (script,), (shown,) = blocks(SCHEDULES, "python"), blocks(SCHEDULES, "text")
    assert run(folder, "-c", script) == shown


def test_the_configuration_and_the_commands_of_the_page_about_retention_work(folder: Path) -> None:
    (config,) = blocks(RETENTION, "yaml")
    (folder / ".kneo").mkdir()
    file = folder / ".kneo" / "config.yaml"
    file.write_text(config)
    assert read_config(file).retention.audit_days == 365
    told = json.loads(kneo(folder, "kneo run examples/smoke_human_workflow.yaml --input tea --json"))
    kneo(folder, f"kneo runs cancel {told['run_id']}")
    prune, one = blocks(RETENTION, "bash")
    for command in prune.splitlines():
        kneo(folder, command)
    for command in one.splitlines():
        kneo(folder, command.replace("<run_id>", told["run_id"]))
    lines = (folder / "run.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["type"] == "end"
    (vacuum,) = blocks(RETENTION, "python")
    run(folder, "-c", vacuum)
    assert json.loads(kneo(folder, "kneo runs list --json"))["total"] == 0


def test_the_page_about_retention_names_every_variable() -> None:
    assert [name for name in VARIABLES if f"`{name}`" not in RETENTION] == []
