"""What the tests of the public client share: a server process with a key for each role, and specs to run on it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from kneo_client import KneoClient
from kneo_client.core import Profile, RetryPolicy, SyncTransport

from kneo_serv.service.auth import ROLES
from tests.acceptance.server import Server, serving
from tests.acceptance.shell import PATIENCE, Shell

KEYS = {
    "KNEO_SERV_API_KEYS": ";".join(f"{role}-person:{role}-key:{role}" for role in ROLES)
    + ";mute-person:mute-key:;idle-person:idle-key:viewer"
}
"""A key for each role: `operator-key` belongs to `operator-person`. The key of `mute-person` may do nothing."""

ONCE = RetryPolicy(max_attempts=1)
"""For those who want to see the first answer."""

FUNCTIONS = '''
import time
from pathlib import Path


def mark(name: str) -> None:
    with Path("marks").open("a") as file:
        print(name, file=file)


def first(text: str) -> str:
    return f"first {text}"


def second(text: str) -> str:
    return f"second {text}"


def gated(text: str) -> str:
    """Rests until somebody opens the gate that the text names."""
    gate = text.rsplit(" ", 1)[-1]
    mark(gate)
    Path(f"{gate}.reached").touch()
    while not Path(gate).exists():
        time.sleep(0.02)
    return f"passed {gate}"


def breaks(text: str) -> str:
    """Fails as long as nobody has mended it."""
    if not Path("mended").exists():
        raise ValueError("it is broken")
    return f"mended {text}"
'''


def workflow(*steps: str, **humans: Mapping[str, Any]) -> dict[str, Any]:
    """A sequence of the functions and people of these names."""
    return {
        "version": "v1",
        "agent": {"name": "idle", "model": {"provider": "dummy", "name": "dummy"}},
        "workflow": {
            "type": "sequential",
            "name": "-".join(steps),
            "steps": [{"id": name, "kind": "human" if name in humans else "function", "ref": name} for name in steps],
        },
        "components": {
            "functions": {
                name: {"implementation": f"served_functions.{name}", "effect": "idempotent"}
                for name in steps
                if name not in humans
            },
            "humans": {name: {"description": "Is it good?", **human} for name, human in humans.items()},
        },
    }


AGENT: dict[str, Any] = {
    "version": "v1",
    "agent": {"name": "echo", "system_prompt": "Answer.", "model": {"provider": "dummy", "name": "dummy"}},
}
"""An agent that answers at once, and uses tokens."""


@contextlib.contextmanager
def served(folder: Path, *words: str, **variables: str) -> Iterator[Server]:
    """A server in a folder with the functions, and a key for each role."""
    shell = Shell(folder, {**KEYS, **variables})
    shell.write("served_functions.py", FUNCTIONS)
    with serving(shell, *words) as server:
        yield server


def profile(server: Server, who: str = "admin", **given: Any) -> Profile:
    """How this person reaches the server."""
    return Profile(**{"name": who, "url": server.url, "api_key": f"{who}-key", "timeout": PATIENCE, **given})


@contextlib.asynccontextmanager
async def caller(
    server: Server, who: str = "admin", *, retry_policy: RetryPolicy | None = None
) -> AsyncIterator[KneoClient]:
    """The async client in the hands of this person."""
    async with KneoClient(profile(server, who), retry_policy=retry_policy) as client:
        yield client


@contextlib.contextmanager
def sync_caller(server: Server, who: str = "admin", **given: Any) -> Iterator[SyncTransport]:
    """The sync client in the hands of this person."""
    with SyncTransport(profile(server, who), **given) as transport:
        yield transport


async def eventually[T](look: Callable[[], Awaitable[T | None]]) -> T:
    """What looking at another process gives as soon as it gives something."""
    async with asyncio.timeout(PATIENCE):
        while not (found := await look()):  # noqa: ASYNC110 - nobody here could set an event
            await asyncio.sleep(0.02)
    return found
