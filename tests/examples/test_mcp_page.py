"""What the page about MCP shows is what happens."""

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

from kneo_serv.spec import SpecCompiler
from kneo_serv.tools import ToolRegistry

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "mcp.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return str(found)


def test_the_spec_of_the_page_has_no_errors() -> None:
    compiler = SpecCompiler(runtime_registry=None, tool_registry=ToolRegistry())
    assert not compiler.validate(yaml.safe_load(block("yaml"))).has_errors


def test_the_script_of_the_page_prints_what_the_server_knows(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        [sys.executable, "-P", "-c", block("python")],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout == "Tea: The tea is in the left cupboard. Refill it on Mondays.\n", done.stderr
