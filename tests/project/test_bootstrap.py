"""The set-up script finds a Python by itself, or says what is missing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BOOTSTRAP = Path(__file__).parents[2] / "scripts" / "bootstrap.sh"


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A machine whose PATH holds no Python, only what the script itself needs."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "dirname"):
        found = shutil.which(name)
        assert found is not None
        (tools / name).symlink_to(found)
    return tmp_path


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def real_python(path: Path) -> None:
    program(path, f'exec "{sys.executable}" "$@"')


def bootstrap(home: Path, mode: str = "find", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(BOOTSTRAP), mode],
        env={"HOME": str(home), "PATH": str(home / "bin"), "KNEO_VENV": str(home / "venv"), **environment},
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )


def same_file(printed: str) -> bool:
    return os.path.samefile(printed.strip(), sys.executable)


def test_a_machine_without_python_is_told_how_to_get_one(bare: Path) -> None:
    answer = bootstrap(bare, "run")
    assert answer.returncode == 1
    assert "no usable Python >= 3.12" in answer.stderr
    assert "install uv" in answer.stderr
    assert not (bare / "venv").exists()


def test_a_python_on_path_is_found(bare: Path) -> None:
    real_python(bare / "bin" / "python3")
    answer = bootstrap(bare)
    assert answer.returncode == 0, answer.stderr
    assert same_file(answer.stdout)


def test_a_shim_that_fails_is_passed_over_for_the_installed_version_behind_it(bare: Path) -> None:
    program(bare / "bin" / "python3.13", "echo 'version 3.13 is not installed' >&2; exit 127")
    real_python(bare / "managed" / "versions" / "3.12.1" / "bin" / "python3")
    answer = bootstrap(bare, PYENV_ROOT=str(bare / "managed"))
    assert answer.returncode == 0, answer.stderr
    assert same_file(answer.stdout)


def test_each_python_that_does_not_do_is_named_with_its_reason(bare: Path) -> None:
    program(bare / "bin" / "python3.13", "exit 127")
    program(bare / "bin" / "python3", 'case "$2" in *print*) echo "Python 3.9.2" ;; *) exit 1 ;; esac')
    answer = bootstrap(bare)
    assert answer.returncode == 1
    assert "python3.13: does not run" in answer.stderr
    assert "python3: Python 3.9.2" in answer.stderr


def test_the_python_that_the_user_names_is_the_only_one_tried(bare: Path) -> None:
    real_python(bare / "bin" / "python3")
    answer = bootstrap(bare, KNEO_PYTHON=str(bare / "nowhere"))
    assert answer.returncode == 1
    assert "nowhere: does not run" in answer.stderr


def test_an_unknown_mode_is_refused(bare: Path) -> None:
    answer = bootstrap(bare, "everything")
    assert answer.returncode == 2
    assert "use run, dev or find" in answer.stderr
