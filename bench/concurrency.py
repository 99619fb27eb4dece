"""Many runs at once in one process, each waiting two seconds for a model: what they take beside a few, and each weighs.

The model is scripted, so that all the time beyond the two seconds and all the memory are the platform's own. The worker
is the one of `kneo`, with KNEO_SERV_WORKER_CONCURRENCY set to the number of runs.

    python -m bench.concurrency
"""

import asyncio
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from kneo_serv.model.run import RunStatus
from kneo_serv.platform.platform import Platform, Submission
from kneo_serv.settings import Settings
from kneo_serv.spec import SpecCompiler
from kneo_serv.store.sqlite import SQLiteStore
from kneo_serv.testing.scripted import ScriptedProvider, say, scripted_registry
from kneo_serv.tools import ToolRegistry

FEW, MANY = 10, 1000
WAIT_SECONDS = 2.0
MAX_RATIO = 5.0
"""How many times as long as the few the many may take."""
MAX_MEGABYTES = 0.5
"""How much memory a run may weigh while it waits."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """So many runs at once: seconds from the first submission to the last end, and megabytes at the highest."""

    runs: int
    seconds: float
    megabytes: float

    @property
    def megabytes_a_run(self) -> float:
        return self.megabytes / self.runs


def measure(folder: Path, runs: int) -> Crowd:
    """Runs so many at once on a new database in `folder`."""
    return asyncio.run(_measure(folder / f"{runs}.sqlite", runs))


def _resident() -> float:
    """Megabytes that this process has in memory (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def _measure(path: Path, runs: int) -> Crowd:
    provider = ScriptedProvider([say("Done.", delay_seconds=WAIT_SECONDS, times=None)])
    registry = scripted_registry(provider)
    spec = {"version": "v1", "agent": {"name": "waiter", "model": {"provider": "scripted", "name": "model"}}}
    plan = SpecCompiler(runtime_registry=registry, tool_registry=ToolRegistry()).compile_dict(spec).plan
    options = Settings.from_env({"KNEO_SERV_WORKER_CONCURRENCY": str(runs)}).platform_options()
    platform = Platform(store=SQLiteStore(path), tools=ToolRegistry(), runtimes=registry, options=options)
    await platform.open()
    platform.start_worker()
    before = highest = _resident()
    ended = False

    async def look() -> None:
        nonlocal highest
        while not ended:
            highest = max(highest, _resident())
            await asyncio.sleep(0.1)

    async def one(number: int) -> None:
        record = await platform.start(Submission(plan, f"question {number}", target="agent"))
        rest = await platform.run_to_rest(record.id, patience=600)
        if rest.status is not RunStatus.COMPLETED:
            raise RuntimeError(f"the run ended as {rest.status}: {rest.error_message}")

    looking = asyncio.create_task(look())
    begun = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(runs)))
    seconds = time.perf_counter() - begun
    ended = True
    await looking
    if len(provider.requests) != runs:
        raise RuntimeError(f"{len(provider.requests)} questions for {runs} runs")
    await platform.close(timeout=5)
    return Crowd(runs, seconds, highest - before)


def report(folder: Path) -> bool:
    """Prints both measurements beside their bounds; whether both hold."""
    few = measure(folder, FEW)
    many = measure(folder, MANY)
    ratio = many.seconds / few.seconds
    print(f"Runs at once in one process, each waiting {WAIT_SECONDS:g} s for a scripted model")
    for crowd in (few, many):
        print(f"{crowd.runs:6,d} runs {crowd.seconds:8.2f} s {crowd.megabytes:8.1f} MB more")
    verdicts = (
        (ratio <= MAX_RATIO, f"{MANY:,} runs take {ratio:.1f} times as long as {FEW} (at most {MAX_RATIO:g})"),
        (
            many.megabytes_a_run <= MAX_MEGABYTES,
            f"a waiting run weighs {many.megabytes_a_run:.3f} MB (at most {MAX_MEGABYTES:g})",
        ),
    )
    for holds, text in verdicts:
        print(f"{'PASS' if holds else 'FAIL'}  {text}")
    return all(holds for holds, _ in verdicts)


def main() -> None:
    with tempfile.TemporaryDirectory(dir=".") as folder:
        sys.exit(0 if report(Path(folder)) else 1)


if __name__ == "__main__":
    main()
