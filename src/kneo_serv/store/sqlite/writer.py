"""The one writer of a store: a thread that writes whatever waits as one transaction (group commit).

No call lingers for company. While one batch commits, the next one gathers; so a lone caller pays one commit, and many
share it.
"""

import asyncio
import logging
import queue
import random
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from kneo_serv.errors import StoreError
from kneo_serv.store.sqlite.connection import patiently
from kneo_serv.store.sqlite.faults import is_busy, translate

log = logging.getLogger("kneo_serv.store")

BATCH_REQUESTS = 500
BATCH_BYTES = 4 << 20
# How long a sighting of another writing process makes this one pause after its commits.
_COURTESY = 1.0
_LOOK_AROUND = 0.05


class Request(Protocol):
    """Something to be written."""

    @property
    def alone(self) -> str | None:
        """Of requests with the same name only one goes into a batch; None goes with everything."""
        ...

    @property
    def size(self) -> int:
        """Bytes, roughly."""
        ...


type Apply = Callable[[sqlite3.Connection, Sequence[Any]], list[Any]]
"""Writes requests inside an open transaction. Gives for each its result, or the exception that its caller gets."""


@dataclass(slots=True)
class _Pending:
    request: Request
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    result: Any = field(default=None)


class Writer:
    """Accepts requests from any loop and answers each when its transaction is durable."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        apply: Apply,
        *,
        patience: float,
        committed: Callable[[sqlite3.Connection], None],
    ) -> None:
        self._connection = connection
        self._path = path
        self._apply = apply
        self._patience = patience
        self._committed = committed
        self._queue: queue.SimpleQueue[_Pending | None] = queue.SimpleQueue()
        self._held: deque[_Pending] = deque()
        self._closed = False
        self._guard = threading.Lock()
        self._looked_at = 0.0
        self._seen_version = -1
        self._others_until = 0.0
        self._thread = threading.Thread(target=self._run, name=f"kneo-store-writer {path.name}", daemon=True)
        self._thread.start()

    async def submit(self, request: Request) -> Any:
        """Result of the request, once it is durable.

        Raises:
            StoreError: it could not be written; nothing of it was.
        """
        loop = asyncio.get_running_loop()
        pending = _Pending(request, loop, loop.create_future())
        with self._guard:
            if self._closed:
                raise StoreError(f"The store of {self._path} is closed. Open it before it is used.")
            self._queue.put(pending)
        return await pending.future

    async def close(self) -> None:
        """Writes what was accepted, then ends the thread. Idempotent."""
        with self._guard:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join)

    def _run(self) -> None:
        open_ = True
        while open_ or self._held:
            batch, open_ = self._gather(open_)
            if batch:
                self._write(batch)
                _answer(batch)
                self._after_commit()
        self._connection.close()

    def _gather(self, open_: bool) -> tuple[list[_Pending], bool]:
        """The next batch, waiting for its first request; and whether more may come."""
        batch: list[_Pending] = []
        names: set[str] = set()
        size = 0
        later: deque[_Pending] = deque()
        while len(batch) < BATCH_REQUESTS and size < BATCH_BYTES:
            if self._held:
                pending = self._held.popleft()
            elif not open_:
                break
            else:
                try:
                    item = self._queue.get(block=not batch and not later)
                except queue.Empty:
                    break
                if item is None:
                    open_ = False
                    continue
                pending = item
            if pending.future.cancelled():
                continue
            name = pending.request.alone
            if name is not None:
                if name in names:
                    later.append(pending)
                    continue
                names.add(name)
            batch.append(pending)
            size += pending.request.size
        later.extend(self._held)
        self._held = later
        return batch, open_

    def _write(self, batch: list[_Pending]) -> None:
        try:
            results = self._transact([pending.request for pending in batch])
        except sqlite3.Error as error:
            if len(batch) == 1 or is_busy(error):
                fault = translate(error, self._path)
                for pending in batch:
                    pending.result = fault
                return
            # One of them is at fault, or all: each for itself, so that the innocent are served.
            for pending in batch:
                self._write([pending])
            return
        except Exception as error:
            log.exception("Writing to %s failed", self._path)
            for pending in batch:
                pending.result = StoreError(f"Writing to the database {self._path} failed: {error!r}")
            return
        for pending, result in zip(batch, results, strict=True):
            pending.result = result

    def _transact(self, requests: Sequence[Request]) -> list[Any]:
        execute = self._connection.execute
        try:
            execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if not is_busy(error):
                raise
            self._others_until = time.monotonic() + _COURTESY
            patiently(lambda: execute("BEGIN IMMEDIATE"), patience=self._patience)
        try:
            results = self._apply(self._connection, requests)
            execute("COMMIT")
        except BaseException:
            # SQLite has rolled back by itself after some errors (disk full among them).
            if self._connection.in_transaction:
                execute("ROLLBACK")
            raise
        return results

    def _after_commit(self) -> None:
        try:
            self._committed(self._connection)
            self._be_courteous()
        except sqlite3.Error as error:
            # The callers have their answers already; if the disk fails, the next batch says so to its own.
            log.warning("Looking after %s failed: %s", self._path, error)

    def _be_courteous(self) -> None:
        """Leaves a gap after the commit while other processes write, which SQLite's lock alone does not give them."""
        now = time.monotonic()
        if now - self._looked_at > _LOOK_AROUND:
            self._looked_at = now
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
            if self._seen_version not in (version, -1):
                self._others_until = now + _COURTESY
            self._seen_version = version
        if now < self._others_until:
            time.sleep(random.uniform(0.0005, 0.002))  # noqa: S311 - spreads attempts, guards nothing


def _answer(batch: Sequence[_Pending]) -> None:
    loops: dict[asyncio.AbstractEventLoop, list[_Pending]] = {}
    for pending in batch:
        loops.setdefault(pending.loop, []).append(pending)
    for loop, answered in loops.items():
        try:
            loop.call_soon_threadsafe(_resolve, answered)
        except RuntimeError:
            # That loop was closed while its calls were under way: nobody is left to hear the answer.
            log.warning("%d answers of the store came after their loop was closed", len(answered))


def _resolve(batch: Sequence[_Pending]) -> None:
    for pending in batch:
        if pending.future.done():
            continue
        if isinstance(pending.result, BaseException):
            pending.future.set_exception(pending.result)
        else:
            pending.future.set_result(pending.result)
