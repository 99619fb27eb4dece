"""A run's life in a process that dies where it is told to, and the lives of those who come after it."""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kneo_serv.model.idempotency import IdempotencyKey
from kneo_serv.model.ids import RunId
from kneo_serv.model.message import Role, ToolCall, Turn, TurnRequest
from kneo_serv.model.page import Page, RunFilter
from kneo_serv.model.plan import AgentPlan, Plan
from kneo_serv.model.run import Phase, RunRecord
from kneo_serv.model.task import Decision, HumanResponse
from kneo_serv.platform.forking import ForkRequest
from kneo_serv.platform.options import PlatformOptions
from kneo_serv.platform.platform import Platform, Submission
from kneo_serv.spec import SpecCompiler
from kneo_serv.store.sqlite import SQLiteStore
from kneo_serv.testing.crash_points import CrashingStore, CrashPoint
from kneo_serv.tools import ToolRegistry, current_call

EFFECTS = "KNEO_TEST_EFFECTS"
DIES_IN = "KNEO_TEST_DIES_IN"
RELEASED = "KNEO_TEST_RELEASED"
CALLS = 10


def _effect(name: str) -> None:
    """One line on disk for each time that something really happens; then the process may be told to die."""
    with open(os.environ[EFFECTS], "a", encoding="utf-8") as file:
        file.write(f"{name} {current_call().idempotency_key}\n")
        file.flush()
        os.fsync(file.fileno())
    if os.environ.get(DIES_IN) == name:
        os.kill(os.getpid(), 9)


def draw_up(text: str) -> str:
    _effect("draw_up")
    return f"{text}, drawn up"


def check(text: str) -> str:
    _effect("check")
    return f"{text}, checked"


def publish(text: str) -> str:
    _effect("publish")
    return f"{text}, published"


def note(arguments: dict[str, Any]) -> str:
    _effect(f"note-{arguments['number']}")
    return f"noted {arguments['number']}"


def pay(arguments: dict[str, Any]) -> str:
    _effect(f"pay-{arguments['number']}")
    return f"paid {arguments['number']}"


def hold(arguments: dict[str, Any]) -> str:
    """Keeps its thread busy until it is let go."""
    _effect("hold")
    while not Path(os.environ[RELEASED]).exists():
        time.sleep(0.01)
    return "let go"


PAUSING: dict[str, Any] = {
    "version": "v1",
    "agent": {"name": "nobody"},
    "workflow": {
        "type": "sequential",
        "name": "pausing",
        "steps": [
            {"id": "draw_up", "kind": "function", "ref": "draw_up"},
            {"id": "check", "kind": "function", "ref": "check"},
            {"id": "approve", "kind": "human", "ref": "person"},
            {"id": "publish", "kind": "function", "ref": "publish"},
        ],
    },
    "components": {
        "functions": {
            name: {"implementation": f"tests.crash.life.{name}", "effect": "idempotent"}
            for name in ("draw_up", "check", "publish")
        },
        "humans": {"person": {"description": "Go on?"}},
    },
}

ONCE: dict[str, Any] = {
    **PAUSING,
    "workflow": {
        "type": "sequential",
        "name": "once",
        "steps": [
            {"id": "draw_up", "kind": "function", "ref": "draw_up"},
            {"id": "publish", "kind": "function", "ref": "publish"},
        ],
    },
    "components": {
        "functions": {
            "draw_up": {"implementation": "tests.crash.life.draw_up", "effect": "idempotent"},
            "publish": {"implementation": "tests.crash.life.publish", "effect": "once"},
        }
    },
}

TALKING: dict[str, Any] = {
    "version": "v1",
    "agent": {
        "name": "talker",
        "model": {"provider": "scripted", "name": "scripted"},
        "strategy": {"type": "react", "max_iterations": CALLS + 1},
        "tools": {"include": ["note"]},
    },
    "workflow": {
        "type": "sequential",
        "name": "talking",
        "steps": [{"id": "talk", "kind": "agent", "ref": "talker"}],
    },
    "tools": {
        "note": {
            "description": "Notes a number.",
            "implementation": "tests.crash.life.note",
            "effect": "idempotent",
            "parameters": {"type": "object", "properties": {"number": {"type": "integer"}}},
        }
    },
}

_NUMBERED = {"type": "object", "properties": {"number": {"type": "integer"}}}

PAYING: dict[str, Any] = {
    **TALKING,
    "agent": {**TALKING["agent"], "name": "payer", "tools": {"include": ["pay"]}},
    "workflow": {**TALKING["workflow"], "name": "paying", "steps": [{"id": "talk", "kind": "agent", "ref": "payer"}]},
    "tools": {
        "pay": {
            "description": "Pays.",
            "implementation": "tests.crash.life.pay",
            "effect": "once",
            "parameters": _NUMBERED,
        },
        "hold": {"description": "Waits.", "implementation": "tests.crash.life.hold", "effect": "idempotent"},
    },
}

CROWDED: dict[str, Any] = {
    **PAYING,
    "agent": {**PAYING["agent"], "name": "crowd", "tools": {"include": ["hold", "pay"]}},
    "workflow": {**PAYING["workflow"], "name": "crowded", "steps": [{"id": "talk", "kind": "agent", "ref": "crowd"}]},
}

SPECS = {"pausing": PAUSING, "once": ONCE, "talking": TALKING, "paying": PAYING, "crowded": CROWDED}


class Talker:
    """A model that wants one call after the other, and then has its say. It knows only what it is told."""

    async def turn(self, request: TurnRequest) -> Turn:
        heard = [message for message in request.messages if message.role is Role.TOOL]
        if request.agent_name == "crowd":
            wishes = ToolCall("call_1", "hold", {}), ToolCall("call_2", "pay", {"number": 1})
            return Turn("; ".join(message.content for message in heard)) if heard else Turn(tool_calls=wishes)
        if len(heard) == CALLS:
            return Turn("; ".join(message.content for message in heard))
        number = len(heard) + 1
        tool = "pay" if request.agent_name == "payer" else "note"
        return Turn(tool_calls=(ToolCall(f"call_{number}", tool, {"number": number}),))

    async def aclose(self) -> None:
        return


class Models:
    """The runtimes: one talker for everybody."""

    def problem(self, agent: AgentPlan) -> str | None:
        return None

    def create(self, agent: AgentPlan) -> Talker:
        return Talker()


def plan(name: str) -> Plan:
    return SpecCompiler(runtime_registry=Models(), tool_registry=ToolRegistry()).compile_dict(SPECS[name]).plan


PLANS = {name: plan(name) for name in SPECS}
CREATE = IdempotencyKey("runs:create", "client", "one", "body")
FORK = IdempotencyKey("runs:fork", "client", "one", "body")
RESUME = IdempotencyKey("human:resume", "client", "one", "body")


def live(
    folder: str,
    name: str,
    point: str | None,
    way: str = "begin",
    dies_in: str | None = None,
    decision: str = "approved",
    lease_seconds: float = 20.0,
) -> None:
    """One process's life: begins the run unless it is there, or takes it up in some `way`, and answers its person."""
    os.environ[EFFECTS] = str(Path(folder, "effects"))
    os.environ[RELEASED] = str(Path(folder, "released"))
    if dies_in is not None:
        os.environ[DIES_IN] = dies_in
    dies_at = None if point is None else CrashPoint.parse(point)
    asyncio.run(_live(Path(folder), name, dies_at, way, Decision(decision), lease_seconds))


async def _live(
    folder: Path, name: str, point: CrashPoint | None, way: str, decision: Decision, lease_seconds: float
) -> None:
    store = CrashingStore(SQLiteStore(folder / "runs.sqlite"), point)
    platform = Platform(
        store=store.as_store(),
        tools=ToolRegistry(),
        runtimes=Models(),
        options=PlatformOptions(
            lease_seconds=lease_seconds, idle_poll_seconds=0.02, watch_seconds=0.02, handler_threads=1
        ),
    )
    await platform.open()
    if way in ("keyed", "forked"):
        await (_ask_with_keys if way == "keyed" else _fork_with_key)(platform, name)
        await platform.close(timeout=5)
        return
    run_id = await _begun(platform, name)
    if run_id is None:
        submission = Submission(PLANS[name], "the report")
        run_id = (await platform.start(submission, hold=way == "begin")).id
    if way == "worker":
        platform.start_worker()
    elif way == "continue" and (await platform.record(run_id)).phase in (Phase.RUNNABLE, Phase.LEASED):
        await platform.continue_run(run_id)
    record = await _rest(platform, run_id, by_worker=way == "worker")
    while record.phase is Phase.WAITING_HUMAN:
        (task,) = await platform.store.list_tasks(run_id=run_id)
        content = "what the reviewer saw" if decision is Decision.PROVIDED else None
        await platform.answer(task.continuation_id, HumanResponse(task.request.id, decision, content))
        record = await _rest(platform, run_id, by_worker=way == "worker")
    await platform.close(timeout=5)


async def _ask_with_keys(platform: Platform, name: str) -> None:
    """The life of a client who looks for nothing, but sends each request under its key, and all of them again."""
    record = await platform.start(Submission(PLANS[name], "the report"), hold=True, key=CREATE)
    await platform.run_to_rest(record.id, patience=None)
    (task,) = await platform.store.list_tasks(run_id=record.id, status=None)
    await platform.answer(task.continuation_id, HumanResponse(task.request.id, Decision.APPROVED), key=RESUME)
    await platform.run_to_rest(record.id, patience=None)


async def _fork_with_key(platform: Platform, name: str) -> None:
    """The life of a client who decides otherwise in a fork, and sends all requests again."""
    record = await platform.start(Submission(PLANS[name], "the report"), hold=True, key=CREATE)
    await platform.run_to_rest(record.id, patience=None)
    decided = ForkRequest(answer=HumanResponse("", Decision.EDITED, "by hand"))
    made = await platform.fork(record.id, decided, hold=True, key=FORK)
    await platform.run_to_rest(made.run_id, patience=None)


async def _begun(platform: Platform, name: str) -> RunId | None:
    records: Sequence[RunRecord] = await platform.store.list_runs(RunFilter(workflow_name=name), Page())
    return records[0].id if records else None


async def _rest(platform: Platform, run_id: RunId, *, by_worker: bool) -> RunRecord:
    if not by_worker:
        return await platform.run_to_rest(run_id, patience=None)
    rests: Callable[[RunRecord], bool] = lambda record: record.phase in (Phase.WAITING_HUMAN, Phase.ENDED)  # noqa: E731
    record = await platform.record(run_id)
    async with asyncio.timeout(20):
        while not rests(record):
            await asyncio.sleep(0.005)
            record = await platform.record(run_id)
    return record
