import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"pydantic_ai", "openai", "httpx", "httpx2", "fastapi", "starlette", "uvicorn", "mcp", "opentelemetry"}
SPEC = """\
version: v1
agent:
  name: echo
  model: {provider: dummy, name: dummy}
"""


def imported(folder: Path, *words: str) -> set[str]:
    """Top-level packages that a command loads in a process of its own."""
    program = (
        "import sys\n"
        "from kneo_serv.cli.main import app\n"
        "try:\n"
        f"    app({list(words)!r})\n"
        "finally:\n"
        "    print(*sorted({name.split('.')[0] for name in sys.modules}), file=sys.stderr)\n"
    )
    # Without the profiles of whoever runs this.
    own = {**os.environ, "HOME": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env=own, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["run", "--help"], ["runs", "list", "--help"]])
def test_the_first_answers_load_nothing_that_they_do_not_need(tmp_path: Path, words: list[str]) -> None:
    assert not imported(tmp_path, *words) & (HEAVY | {"rich", "yaml", "sqlite3", "asyncio"})


def test_checking_a_spec_loads_no_model_and_no_web_library(tmp_path: Path) -> None:
    (tmp_path / "echo.yaml").write_text(SPEC)
    assert not imported(tmp_path, "spec", "validate", "echo.yaml") & HEAVY


def test_the_package_is_a_command_too() -> None:
    done = subprocess.run([sys.executable, "-m", "kneo_serv", "-V"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("kneo-serv ")


@pytest.mark.parametrize("words", [["--version"], ["--help"]])
def test_the_very_first_answers_do_not_even_load_the_library_of_data_types(tmp_path: Path, words: list[str]) -> None:
    assert "pydantic" not in imported(tmp_path, *words)
