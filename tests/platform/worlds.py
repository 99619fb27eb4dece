"""Platforms on files of their own, and small workflows for them."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg

from kneo_serv.model.ids import RunId
from kneo_serv.model.plan import AgentPlan, Plan
from kneo_serv.model.run import RunRecord
from kneo_serv.model.task import Decision, HumanResponse, HumanTask
from kneo_serv.platform import PlatformManager, PlatformOptions
from kneo_serv.platform.doctor import check_journals
from kneo_serv.platform.platform import Platform, Submission
from kneo_serv.runtime import RuntimeRegistry
from kneo_serv.spec import SpecCompiler
from kneo_serv.store.contract import Store
from kneo_serv.store.sqlite import SQLiteStore
from kneo_serv.tools import ToolRegistry
from tests.platform import functions

PATIENCE = 10.0
ADDRESS = "database.url"
"""File in the folder of a test that names a database in PostgreSQL, where its platforms are to work on one."""
FUNCTIONS = (
    "upper", "exclaim", "gated", "gated_async", "stubborn", "moody", "slow_service", "leaking", "large",
    "calls_its_platform",
)  # fmt: skip


def step(ref: str, kind: str = "function", **more: Any) -> dict[str, Any]:
    return {"id": more.pop("id", ref), "kind": kind, "ref": ref, **more}


def person(**human: Any) -> dict[str, Any]:
    """A step `ask` whose person is described by `human`."""
    return {"id": "ask", "kind": "human", "ref": "person", "human": human}


def spec(*steps: dict[str, Any], order: str = "sequential", name: str = "flow") -> dict[str, Any]:
    people: dict[str, Any] = next((one["human"] for one in steps if "human" in one), {})
    return {
        "version": "v1",
        "agent": {"name": "nobody"},
        "workflow": {
            "type": order,
            "name": name,
            "steps" if order == "sequential" else "participants": [
                {key: value for key, value in one.items() if key != "human"} for one in steps
            ],
        },
        "components": {
            "functions": {
                ref: {"implementation": f"{functions.__name__}.{ref}", "effect": "idempotent"} for ref in FUNCTIONS
            },
            "humans": {"person": {"description": "Go on?", **people}},
        },
    }


class NoModels:
    """Runtimes for workflows without agents."""

    def create(self, agent: AgentPlan) -> Any:
        raise AssertionError("no model is asked in here")


def plan(*steps: dict[str, Any], **flow: str) -> Plan:
    compiler = SpecCompiler(runtime_registry=RuntimeRegistry(), tool_registry=ToolRegistry())
    return compiler.compile_dict(spec(*steps, **flow)).plan


def options(**more: Any) -> PlatformOptions:
    return PlatformOptions(
        **{"watch_seconds": 0.01, "idle_poll_seconds": 0.01, "grace_seconds": 0.5, "patience_seconds": PATIENCE, **more}
    )


def store_of(folder: Path) -> Store:
    """A store on the database of a test: `runs.sqlite` in its folder, or the one that stands in `ADDRESS`."""
    if url := address_of(folder):
        from kneo_serv.store.postgres import PostgresStore

        return PostgresStore(url, pool_size=4)
    return SQLiteStore(folder / "runs.sqlite")


def address_of(folder: Path) -> str | None:
    file = folder / ADDRESS
    return file.read_text() if file.exists() else None


def tamper(folder: Path, statement: str, *values: Any) -> None:
    """Changes the database of a test behind the back of its platforms. Each `?` stands for a value."""
    if url := address_of(folder):
        with psycopg.connect(url) as server:
            server.execute(statement.replace("?", "%s").encode(), values)
    else:
        with sqlite3.connect(folder / "runs.sqlite") as file:
            file.execute(statement, values)


@asynccontextmanager
async def opened(path: Path, *, store: Store | None = None, sound: bool = True, **more: Any) -> AsyncIterator[Platform]:
    """A platform on the database of `path`. When it closes, its journals are looked through."""
    platform = Platform(
        store=store or store_of(path),
        tools=ToolRegistry(),
        runtimes=NoModels(),
        options=options(**more),
    )
    await platform.open()
    try:
        yield platform
        if sound:
            assert await check_journals(platform.store) == []
    finally:
        await platform.close(timeout=5)


def manager(path: Path, **more: Any) -> PlatformManager:
    return PlatformManager(
        compiler=SpecCompiler(runtime_registry=RuntimeRegistry(), tool_registry=ToolRegistry()),
        run_state_store=store_of(path),
        options=options(**more),
    )


async def run(platform: Platform, plan: Plan, text: str = "tea", **more: Any) -> RunRecord:
    """A run as far as it goes here."""
    record = await platform.start(Submission(plan, text, **more), hold=True)
    return await platform.run_to_rest(record.id, patience=PATIENCE)


async def begun(platform: Platform, plan: Plan, text: str, **more: Any) -> RunId:
    """A run that stands at the gate of its text."""
    record = await platform.start(Submission(plan, text, **more), hold=True)
    await functions.GATES[text].wait()
    return record.id


async def task_of(platform: Platform, run_id: RunId) -> HumanTask:
    (task,) = await platform.store.list_tasks(run_id=run_id)
    return task


async def answer(
    platform: Platform, run_id: RunId, decision: Decision | str = "approved", content: str | None = None, **more: Any
) -> RunRecord:
    task = await task_of(platform, run_id)
    await platform.answer(task.continuation_id, HumanResponse(task.request.id, decision, content, **more))
    return await platform.run_to_rest(run_id, patience=PATIENCE)


async def kinds(platform: Platform, run_id: RunId) -> list[str]:
    return [recorded.event.KIND for recorded in await platform.events(run_id)]


async def audit(platform: Platform, run_id: RunId) -> list[str]:
    from kneo_serv.model.page import AuditFilter

    events = await platform.store.list_audit(AuditFilter(run_id=run_id))
    return [event.event_type for event in reversed(events)]


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Looks again and again until it holds."""
    async with asyncio.timeout(PATIENCE):
        while not await holds():  # noqa: ASYNC110 - what is looked at is in the store
            await asyncio.sleep(0.005)


def without_legs(events: Sequence[str]) -> list[str]:
    return [kind for kind in events if kind != "leg_started"]
