"""Each test is a newcomer: an empty home with a copy of the examples, and the installed command."""

import shutil
from pathlib import Path

import pytest

from tests.acceptance.shell import Shell

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A terminal in a folder that holds a copy of the examples and nothing else."""
    shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    return Shell(tmp_path)
