"""What docs/extending.md shows works as written: its files are laid down in a folder and run."""

import asyncio
import os
import re
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

from kneo_serv.runtime import default_registry
from kneo_serv.service.plugins import (
    DISPATCHERS,
    MIDDLEWARES,
    PROVIDERS,
    RUNTIMES,
    STORES,
    TOOLS,
)
from kneo_serv.spec import SpecCompiler
from kneo_serv.tools import ToolRegistry
from tests.service.distributions import install

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
FILES = {match[1]: code for _, code in BLOCKS if (match := re.match(r"# (\S+\.(?:py|yaml|toml))\n", code)) is not None}
OUTPUTS = {
    before.splitlines()[0].removeprefix("# "): after
    for (_, before), (kind, after) in pairwise(BLOCKS)
    if kind == "text"
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, code in FILES.items():
        (tmp_path / name).write_text(code)
    return tmp_path


def run(folder: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KNEO_", "OPENAI_"))}
    path = os.pathsep.join([str(folder), *(entry for entry in sys.path if entry)])
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env={**kept, "HOME": str(folder), "PYTHONPATH": path, **more},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_every_block_is_a_file_or_what_a_file_prints() -> None:
    assert len(FILES) + len(OUTPUTS) == len(BLOCKS)
    assert set(OUTPUTS) == {name for name in FILES if name.startswith("run_")}


@pytest.mark.parametrize("name", OUTPUTS)
def test_what_is_run_prints_what_is_shown(folder: Path, name: str) -> None:
    done = run(folder, name)
    assert done.returncode == 0, done.stderr
    assert [line.rstrip() for line in done.stdout.splitlines()] == OUTPUTS[name].splitlines()


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("test_")])
def test_the_tests_pass(folder: Path, name: str) -> None:
    done = run(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", name)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("test_") and name != "test_lookup.py"])
def test_the_contract_is_proved_in_six_lines(name: str) -> None:
    lines = [line for line in FILES[name].splitlines()[1:] if line.strip()]
    assert len(lines) == 6


def test_the_spec_with_a_server_is_sound_and_the_server_serves(folder: Path) -> None:
    compiler = SpecCompiler(runtime_registry=default_registry(environ={}), tool_registry=ToolRegistry())
    report = compiler.validate(folder / "weather.yaml")
    assert not report.has_errors, report.to_dict_list()

    async def ask() -> str:
        from mcp import ClientSession, StdioServerParameters
        from mcp.client.stdio import stdio_client

        server = StdioServerParameters(command=sys.executable, args=[str(folder / "weather_server.py")])
        async with stdio_client(server) as (reader, writer), ClientSession(reader, writer) as session:
            await session.initialize()
            result = await session.call_tool("weather", {"city": "Turin"})
            return str(result.content)

    assert "Rain in Turin." in asyncio.run(ask())


def test_the_distribution_adds_all_of_it_to_the_command_line(folder: Path) -> None:
    project = tomllib.loads(FILES["pyproject.toml"])["project"]
    entries = project["entry-points"]
    assert set(entries) == {TOOLS, MIDDLEWARES, PROVIDERS, RUNTIMES, STORES, DISPATCHERS}
    install(folder, project["name"], entries, version=project["version"])
    (folder / "spec.yaml").write_text(
        "version: v1\n"
        "agent:\n"
        "  name: mirror\n"
        "  system_prompt: Say it.\n"
        "  model: {provider: reverse, name: any}\n"
        "  tools: [lookup_user]\n"
        "  middleware: [polite]\n"
        "components:\n"
        "  agents:\n"
        "    loud: {name: loud, runtime_preferences: {preferred_mode: rules}}\n"
        "workflow:\n"
        "  type: sequential\n"
        "  name: both\n"
        "  steps:\n"
        "    - {id: mirror, kind: agent, ref: mirror}\n"
        "    - {id: loud, kind: agent, ref: loud}\n"
    )
    chosen = {"KNEO_SERV_DATABASE_URL": "counting://elsewhere.sqlite", "KNEO_SERV_DISPATCHER": "night-shift"}
    done = run(folder, "-m", "kneo_serv", "run", "spec.yaml", "--input", "olleh", REVERSE_KEY="k", **chosen)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "HELLO"
    assert (folder / "elsewhere.sqlite").exists()
    done = run(folder, "-m", "kneo_serv", "runs", "list", "--json", **chosen)
    assert '"completed"' in done.stdout
