"""What the product is measured with: small workflows on a new database, driven as `PlatformManager` drives them."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.ceiling import busy_interpreter
from kneo_serv.model.event import Recorded
from kneo_serv.model.run import RunStatus
from kneo_serv.platform.options import PlatformOptions
from kneo_serv.platform.platform import Platform, Submission
from kneo_serv.runtime import RuntimeRegistry
from kneo_serv.spec import SpecCompiler
from kneo_serv.store.sqlite import SQLiteStore
from kneo_serv.tools import ToolRegistry

APPENDS_PER_RUN = 5
"""A run of three steps: created, first begun, second begun, third begun, finished."""


async def pass_on(text: str) -> str:
    return text


def sequence(steps: int) -> Submission:
    """A workflow of so many function steps that do nothing."""
    spec = {
        "version": "v1",
        "agent": {"name": "nobody"},
        "components": {"functions": {"pass_on": {"implementation": "bench.workload.pass_on", "effect": "idempotent"}}},
        "workflow": {
            "type": "sequential",
            "name": f"sequence-of-{steps}",
            "steps": [{"id": f"s{number}", "kind": "function", "ref": "pass_on"} for number in range(steps)],
        },
    }
    compiler = SpecCompiler(runtime_registry=RuntimeRegistry(), tool_registry=ToolRegistry())
    return Submission(plan=compiler.compile_dict(spec).plan, input_text="x" * 300)


@dataclass(frozen=True, slots=True)
class Length:
    """One long run: seconds in all, and bytes written for each step in the first and the last tenth of it."""

    steps: int
    seconds: float
    first_bytes: float
    last_bytes: float


def _platform(path: Path) -> Platform:
    options = PlatformOptions(worker_concurrency=1000, patience_seconds=600)
    return Platform(store=SQLiteStore(path), tools=ToolRegistry(), runtimes=RuntimeRegistry(), options=options)


def _written() -> int:
    """Bytes that this process has handed to the system for writing (Linux)."""
    line = next(line for line in Path("/proc/self/io").read_text().splitlines() if line.startswith("wchar:"))
    return int(line.split()[1])


def measure_length(path: Path, steps: int) -> Length:
    """Runs one sequence of so many steps on a new database."""
    return asyncio.run(_length(path, steps))


async def _length(path: Path, steps: int) -> Length:
    platform = _platform(path)
    await platform.open()
    tenth = steps // 10
    marks: dict[int, int] = {}
    done = 0

    def note(events: Sequence[Recorded]) -> None:
        nonlocal done
        done += sum(recorded.event.KIND == "step_completed" for recorded in events)
        if done in (1, tenth, steps - tenth, steps - 1):
            marks[done] = _written()

    submission = sequence(steps)
    start = time.perf_counter()
    record = await platform.start(submission, hold=True)
    platform.listen(record.id, note)
    rest = await platform.run_to_rest(record.id, patience=600)
    seconds = time.perf_counter() - start
    await platform.close(timeout=5)
    if rest.status is not RunStatus.COMPLETED:
        raise RuntimeError(f"the run ended as {rest.status}: {rest.error_message}")
    first = (marks[tenth] - marks[1]) / (tenth - 1)
    last = (marks[steps - 1] - marks[steps - tenth]) / (tenth - 1)
    return Length(steps, seconds, first, last)


def one_round(path: Path, callers: int, loaded: bool, *, seconds: float = 2.0) -> float:
    """Appends a second of so many callers, each running one workflow of three steps after the other."""
    if loaded:
        with busy_interpreter():
            return asyncio.run(_throughput(path, callers, seconds))
    return asyncio.run(_throughput(path, callers, seconds))


async def _throughput(path: Path, callers: int, seconds: float) -> float:
    platform = _platform(path)
    await platform.open()
    submission = sequence(3)
    start = time.perf_counter()

    async def call() -> int:
        done = 0
        while time.perf_counter() - start < seconds:
            record = await platform.start(submission, hold=True)
            await platform.run_to_rest(record.id, patience=600)
            done += APPENDS_PER_RUN
        return done

    done = sum(await asyncio.gather(*(call() for _ in range(callers))))
    spent = time.perf_counter() - start
    await platform.close(timeout=5)
    return done / spent
