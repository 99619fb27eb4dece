"""One server process for all tests of the public client; those that need another one start it themselves."""

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from kneo_client import KneoClient
from kneo_client.core import SyncTransport

from kneo_serv.testing.scripted_openai import ScriptedOpenAI, text
from tests.acceptance.client.served import caller, served, sync_caller
from tests.acceptance.server import Server

EXAMPLES = Path(__file__).parents[3] / "examples"
SKILL = """---
name: {name}
description: How to {name}.
---
Do it well.
"""


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The loop of the async tests."""
    return "asyncio"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the shared server, with the examples and two skills."""
    folder = tmp_path_factory.mktemp("served")
    shutil.copytree(EXAMPLES, folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("proofread", "translate"):
        (folder / ".agents" / "skills" / name).mkdir(parents=True)
        (folder / ".agents" / "skills" / name / "SKILL.md").write_text(SKILL.format(name=name))
    return folder


@pytest.fixture(scope="session")
def server(folder: Path) -> Iterator[Server]:
    """The shared server. Nobody in these tests may assume that its lists hold only their own runs."""
    with ScriptedOpenAI([text("Four.")]) as model:
        variables = {"OPENAI_API_KEY": "sk-acceptance-test", "OPENAI_BASE_URL": model.base_url}
        with served(folder, KNEO_SERV_RATE_LIMIT_ROLES="reviewer=2/h", **variables) as server:
            yield server


@pytest.fixture
async def client(server: Server) -> AsyncIterator[KneoClient]:
    """The async client of a person with every scope."""
    async with caller(server) as client:
        yield client


@pytest.fixture
def transport(server: Server) -> Iterator[SyncTransport]:
    """The sync client of a person with every scope."""
    with sync_caller(server) as transport:
        yield transport


@pytest.fixture(scope="session")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A small server: it keeps no time, takes two runs at most, does one at a time, and misses a key that it needs."""
    with served(
        tmp_path_factory.mktemp("patient"),
        KNEO_SERV_TIMEKEEPER="off",
        KNEO_SERV_WORKER_CONCURRENCY="1",
        KNEO_SERV_MAX_QUEUE_DEPTH="1",
        KNEO_SERV_MAX_BODY_BYTES="20000",
        KNEO_SERV_MAX_INPUT_CHARS="1000",
        KNEO_SERV_HEALTH_PROVIDERS="openai",
    ) as server:
        yield server
