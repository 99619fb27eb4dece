"""What docs/clients.md shows works as written, against a service that was started as it says."""

import re
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.acceptance.server import serving
from tests.acceptance.shell import Shell
from tests.acceptance.walkthrough import variables

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
SERVE, REACH = (code for kind, code in BLOCKS if kind == "bash")
PROGRAMS = {
    code.splitlines()[0].removeprefix("# "): (code, printed)
    for (kind, code), (_, printed) in pairwise(BLOCKS)
    if kind == "python"
}


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A folder with the examples, and variables that lead to the service that runs there."""
    folder = tmp_path_factory.mktemp("clients")
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    _, keys, serve = SERVE.splitlines()
    with serving(Shell(folder, variables(keys)), *serve.split()[3:]) as server:
        url, key = REACH.split()[1:]
        own = variables(f"export {url}", f"export {key}")
        yield Shell(folder, {**own, "KNEO_URL": server.url})


def test_every_program_is_followed_by_what_it_prints() -> None:
    assert set(PROGRAMS) == {"run_async.py", "run_sync.py"}
    assert len(BLOCKS) == 2 + 2 * len(PROGRAMS)


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_is_run_prints_what_is_shown(reader: Shell, name: str) -> None:
    code, printed = PROGRAMS[name]
    reader.write(name, code)
    assert reader.python(name).out == printed
