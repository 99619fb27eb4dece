"""Workers of a fleet: processes that execute what they find on one store, one of which dies where it is told to."""

import asyncio
import os
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from kneo_serv.model.plan import Plan
from kneo_serv.platform.options import PlatformOptions
from kneo_serv.platform.platform import Platform
from kneo_serv.spec import SpecCompiler
from kneo_serv.store.sqlite import SQLiteStore
from kneo_serv.tools import ToolRegistry, current_call
from tests.crash.life import Models

FOLDER = "KNEO_TEST_FLEET"
NAMES = ("one", "two", "three", "four")


def _effect(text: str, name: str) -> str:
    """One line on disk for each time that it really happens; the first one at the marked place kills its process."""
    folder = Path(os.environ[FOLDER])
    with (folder / "effects").open("a") as file:
        file.write(f"{name} {current_call().idempotency_key} {os.getpid()}\n")
        file.flush()
    while (folder / "held").exists():
        time.sleep(0.01)
    try:
        (folder / f"dies-in-{name}").unlink()
    except FileNotFoundError:
        return f"{text} {name}"
    os.kill(os.getpid(), 9)
    raise AssertionError


def one(text: str) -> str:
    return _effect(text, "one")


def two(text: str) -> str:
    return _effect(text, "two")


def three(text: str) -> str:
    return _effect(text, "three")


def four(text: str) -> str:
    return _effect(text, "four")


def _step(name: str) -> dict[str, Any]:
    return {"id": name, "kind": "function", "ref": name}


_STEPS = [_step(name) for name in NAMES]
FLOWS: dict[str, dict[str, Any]] = {
    "sequential": {"type": "sequential", "name": "w", "steps": _STEPS},
    "graph": {
        "type": "graph",
        "name": "w",
        "start": "one",
        "nodes": {name: _step(name) for name in NAMES},
        "edges": [{"from": start, "to": end} for start, end in pairwise(NAMES)],
    },
    "concurrent": {"type": "concurrent", "name": "w", "participants": _STEPS, "aggregation": "concat"},
    "handoff": {"type": "handoff", "name": "w", "participants": _STEPS},
    "group_chat": {"type": "group_chat", "name": "w", "participants": _STEPS},
    "nested": {
        "type": "sequential",
        "name": "w",
        "steps": [_step("one"), {"id": "inner", "kind": "workflow", "ref": "inner"}, _step("four")],
    },
}
"""Each of the types, over the same four functions."""


def plan(name: str) -> Plan:
    document = {
        "version": "v1",
        "agent": {"name": "nobody"},
        "workflow": FLOWS[name],
        "components": {
            "functions": {
                one: {"implementation": f"tests.crash.fleet_life.{one}", "effect": "idempotent"} for one in NAMES
            },
            "workflows": {"inner": {"type": "sequential", "name": "inner", "steps": [_step("two"), _step("three")]}},
        },
    }
    return SpecCompiler(runtime_registry=Models(), tool_registry=ToolRegistry()).compile_dict(document).plan


def work(folder: str, lease_seconds: float, concurrency: int = 4) -> None:
    """One worker's life: executes what there is until the file `over` is there."""
    os.environ[FOLDER] = folder
    asyncio.run(_work(Path(folder), lease_seconds, concurrency))


async def _work(folder: Path, lease_seconds: float, concurrency: int) -> None:
    platform = Platform(
        store=SQLiteStore(folder / "runs.sqlite"),
        tools=ToolRegistry(),
        runtimes=Models(),
        options=PlatformOptions(
            lease_seconds=lease_seconds,
            idle_poll_seconds=0.02,
            watch_seconds=0.02,
            handler_threads=4,
            worker_concurrency=concurrency,
        ),
    )
    await platform.open()
    platform.start_worker()
    while not (folder / "over").exists():  # noqa: ASYNC110 - another process says when
        await asyncio.sleep(0.02)
    await platform.close(timeout=5)
