"""How many durable appends a second SQLite can do here at best: the bare minimum, with nothing of ours.

Five appends a run (created, three steps, finished), each of one event row of 300 bytes and one update of the run's row,
by one writer thread with group commit, under the settings of the product (WAL, synchronous FULL). Speeds of disks
differ by the hour: only figures taken alternately in one session can be compared, so `one_round` is made to be called
in turns with the product's own.

    python -m bench.ceiling
"""

import asyncio
import contextlib
import json
import queue
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

APPENDS_PER_RUN = 5
PAYLOAD = "x" * 300
BATCH = 500
SPINNERS = 2
"""Threads that compute in Python all the time, where callers are to be busy."""

_SCHEMA = (
    "CREATE TABLE runs (id TEXT NOT NULL PRIMARY KEY, seq INTEGER NOT NULL, status TEXT NOT NULL, updated_at REAL)",
    "CREATE TABLE run_events (position INTEGER PRIMARY KEY, run_id TEXT NOT NULL, seq INTEGER NOT NULL,"
    " payload TEXT NOT NULL, UNIQUE (run_id, seq))",
)
_ITEMS = "json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]')"
_EVENTS = f"INSERT INTO run_events (run_id, seq, payload) SELECT {_ITEMS} FROM json_each(?)"
_RUNS = (
    f"INSERT INTO runs (id, seq, status, updated_at) SELECT {_ITEMS}, json_extract(value, '$[3]') FROM json_each(?)"
    " WHERE true ON CONFLICT (id) DO UPDATE SET"
    " seq = excluded.seq, status = excluded.status, updated_at = excluded.updated_at"
)


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Appends a second of each round."""

    callers: int
    loaded: bool
    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)


class _Writer:
    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", *_SCHEMA):
            self._connection.execute(statement).close()
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    async def append(self, run_id: str, seq: int, status: str) -> None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._queue.put((run_id, seq, status, time.time(), loop, future))
        await future

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        execute = self._connection.execute
        while (item := self._queue.get()) is not None:
            batch = [item]
            with contextlib.suppress(queue.Empty):
                while len(batch) < BATCH:
                    batch.append(self._queue.get_nowait())
            execute("BEGIN IMMEDIATE")
            execute(_EVENTS, (json.dumps([[row[0], row[1], PAYLOAD] for row in batch]),))
            execute(_RUNS, (json.dumps([row[:4] for row in batch]),))
            execute("COMMIT")
            batch[0][4].call_soon_threadsafe(_resolve, [row[5] for row in batch])
        self._connection.close()


def _resolve(futures: Sequence["asyncio.Future[None]"]) -> None:
    for future in futures:
        future.set_result(None)


@contextlib.contextmanager
def busy_interpreter(spinners: int = SPINNERS) -> Iterator[None]:
    """Threads that keep the interpreter's lock busy, as callers do that compute."""
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set():
            sum(number * number for number in range(2000))

    threads = [threading.Thread(target=spin, daemon=True) for _ in range(spinners)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def one_round(path: Path, callers: int, loaded: bool, *, seconds: float = 2.0) -> float:
    """Appends a second of some concurrent callers on a new database at `path`, measured for some seconds."""
    writer = _Writer(path)
    with busy_interpreter() if loaded else contextlib.nullcontext():
        speed = asyncio.run(_measure(writer, callers, seconds))
    writer.close()
    return speed


async def _measure(writer: _Writer, callers: int, seconds: float) -> float:
    start = time.perf_counter()

    async def call(caller: int) -> int:
        done = 0
        while time.perf_counter() - start < seconds:
            run_id = f"run_2026-05-10T12:34:56_{caller:06d}{done:016d}"
            for seq in range(1, APPENDS_PER_RUN + 1):
                await writer.append(run_id, seq, "completed" if seq == APPENDS_PER_RUN else "running")
            done += APPENDS_PER_RUN
        return done

    done = sum(await asyncio.gather(*(call(number) for number in range(callers))))
    return done / (time.perf_counter() - start)


def run_ceiling(
    folder: Path, *, callers: Sequence[int] = (1, 64), loads: Sequence[bool] = (False, True), rounds: int = 5
) -> list[Ceiling]:
    """Figures for each number of callers, idle and busy, with new databases in `folder`."""
    found = []
    for loaded in loads:
        for count in callers:
            speeds = [
                one_round(folder / f"{count}-{loaded}-{number}.sqlite", count, loaded) for number in range(rounds)
            ]
            found.append(Ceiling(callers=count, loaded=loaded, rounds=tuple(speeds)))
    return found


def main() -> None:
    print(f"SQLite {sqlite3.sqlite_version}, WAL, synchronous FULL, durable appends a second (median of five rounds)")
    with tempfile.TemporaryDirectory(dir=".") as folder:
        for ceiling in run_ceiling(Path(folder)):
            load = "callers that compute" if ceiling.loaded else "idle callers"
            spread = f"{min(ceiling.rounds):,.0f} to {max(ceiling.rounds):,.0f}"
            print(f"{ceiling.callers:4d} callers, {load:22s} {ceiling.median:10,.0f}   ({spread})")


if __name__ == "__main__":
    main()
