"""Lives that end in processes of their own, forked from one that has loaded everything already."""

import asyncio
import multiprocessing
import multiprocessing.process
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

from kneo_serv.model.event import event_payload
from kneo_serv.model.page import Page, RunFilter
from kneo_serv.model.run import RunRecord
from kneo_serv.platform.doctor import Finding, check_journals
from kneo_serv.platform.journal import public
from kneo_serv.store.sqlite import SQLiteStore
from tests.crash.life import live

CONTEXT = multiprocessing.get_context("forkserver")
_SECONDS = 30


def start_server() -> None:
    """The process that all others are forked from: it imports once what each of them needs."""
    CONTEXT.set_forkserver_preload(["tests.crash.life", "tests.crash.fleet_life"])
    before = os.environ.get("PYTHONPATH")
    root = str(Path(__file__).parents[2])
    os.environ["PYTHONPATH"] = root if before is None else os.pathsep.join((root, before))
    try:
        forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


@contextmanager
def begun(folder: Path, name: str, **more: Any) -> Iterator[multiprocessing.process.BaseProcess]:
    """A process that lives its life beside us; killed at the end if it is still there."""
    process = CONTEXT.Process(target=live, args=(str(folder), name, None), kwargs=more)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def lives(folder: Path, name: str, point: str | None, way: str = "begin", **more: Any) -> bool:
    """Whether a process lived its life to the end; False when it was killed on the way."""
    process = CONTEXT.Process(target=live, args=(str(folder), name, point, way), kwargs=more)
    process.start()
    process.join(_SECONDS)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise AssertionError(f"the life {point} {way} did not end within {_SECONDS} s")
    ended = process.exitcode
    process.close()
    assert ended in (0, -9), f"the life {point} {way} ended with {ended}"
    return ended == 0


@dataclass(frozen=True, slots=True)
class Remains:
    """What is left in a folder when all lives are over."""

    record: RunRecord
    story: list[tuple[str, dict[str, Any]]]
    """The public events, without what tells of the legs, of interrupted attempts, and of ids and times."""
    kinds: list[str]
    """Kinds of all events as they stand."""
    effects: list[str]
    findings: list[Finding]

    def count(self, effect: str) -> int:
        return sum(line.split()[0] == effect for line in self.effects)


_TOLD_OF_LEGS = ("leg_started", "run_continued")
_OF_THE_MOMENT = ("continuation_id", "request", "request_id", "attempt", "metadata", "actor")


def remains(folder: Path) -> Remains:
    return asyncio.run(_remains(folder))


async def _remains(folder: Path) -> Remains:
    store = SQLiteStore(folder / "runs.sqlite")
    await store.open()
    (record,) = await store.list_runs(RunFilter(), Page())
    events = [public(row) for row in await store.events(record.id)]
    findings = await check_journals(store)
    await store.close()
    story: list[tuple[str, dict[str, Any]]] = []
    for recorded in events:
        if recorded.event.KIND in _TOLD_OF_LEGS:
            continue
        payload = event_payload(recorded.event)
        entry = (recorded.event.KIND, {name: payload[name] for name in payload if name not in _OF_THE_MOMENT})
        if entry[0].endswith("_started") and entry in story:
            # The same attempt was begun before: that one was interrupted.
            story.remove(entry)
        story.append(entry)
    path = folder / "effects"
    effects = path.read_text().splitlines() if path.exists() else []
    return Remains(record, story, [recorded.event.KIND for recorded in events], effects, findings)
