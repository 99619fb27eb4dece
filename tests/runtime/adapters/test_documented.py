"""What docs/adapters.md shows works as written: its agents answer through a compiled spec."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kneo_serv.testing.answers import text
from kneo_serv.testing.scripted_server import scripted

DOCS = (Path(__file__).parents[3] / "docs" / "adapters.md").read_text()
CODE = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)
NATIVE, ADAPTER = re.findall(r"```yaml\n(.*?)```", DOCS, re.DOTALL)

SCRIPT = """
import asyncio, os, sys
from kneo_serv.model.message import Message, Role, TurnRequest
from kneo_serv.runtime import default_registry
from kneo_serv.spec import SpecCompiler
from kneo_serv.tools import ToolRegistry, load_object

registry = default_registry(environ=os.environ, load_object=load_object)
compiler = SpecCompiler(runtime_registry=registry, tool_registry=ToolRegistry())
agent = compiler.compile(sys.argv[1]).root_agent
messages = (Message(Role.SYSTEM, "Be kind."), Message(Role.USER, "Tea?"))

async def main():
    runtime = registry.create(agent)
    turn = await runtime.turn(TurnRequest(agent.name, messages))
    await runtime.aclose()
    print(turn.text)

asyncio.run(main())
"""


def answer(folder: Path, spec: str, **environ: str) -> str:
    """What the agent of a spec answers in a process of its own, since the examples never close their clients."""
    (folder / "spec.yaml").write_text(f"version: v1\n{spec}")
    (folder / "shop").mkdir()
    (folder / "shop" / "__init__.py").write_text("")
    (folder / "shop" / "agents.py").write_text("\n".join(CODE))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KNEO_", "OPENAI_", "GOOGLE_"))}
    path = os.pathsep.join([str(folder), *(each for each in sys.path if each)])
    environment = {**kept, "PYTHONPATH": path, "OPENAI_AGENTS_DISABLE_TRACING": "1", "OPENAI_API_KEY": "key", **environ}
    command = [sys.executable, "-c", SCRIPT, str(folder / "spec.yaml")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_function_of_the_docs_answers(tmp_path: Path) -> None:
    spec = ADAPTER.replace("shop.agents.seller", "shop.agents.stock")

    assert answer(tmp_path, spec) == "seller: 2 messages, the last one is 'Tea?'."


@pytest.mark.parametrize(
    ("name", "provider", "variable"),
    [
        ("drinks", "openai", "OPENAI_BASE_URL"),
        ("seller", "openai-responses", "OPENAI_BASE_URL"),
        ("clerk", "google", "GOOGLE_GEMINI_BASE_URL"),
        ("helper", "openai", "OPENAI_BASE_URL"),
    ],
)
def test_the_agents_of_the_docs_answer(tmp_path: Path, name: str, provider: str, variable: str) -> None:
    spec = ADAPTER.replace("shop.agents.seller", f"shop.agents.{name}")
    with scripted(provider, [text("Brown.")]) as server:
        said = answer(tmp_path, spec, GOOGLE_API_KEY="key", **{variable: server.base_url})

        assert said == "Brown."
        (request,) = server.requests
        assert "You sell drinks." in str(request)
        assert "Tea?" in str(request)


def test_the_native_agent_of_the_docs_answers(tmp_path: Path) -> None:
    with scripted("openai", [text("Brown.")]) as server:
        assert answer(tmp_path, NATIVE, OPENAI_BASE_URL=server.base_url) == "Brown."
