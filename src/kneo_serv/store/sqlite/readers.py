"""Readers: a few threads, each with a connection of its own, that never wait for the writer."""

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from kneo_serv.errors import StoreError
from kneo_serv.store.sqlite.connection import connect, patiently
from kneo_serv.store.sqlite.faults import translate

log = logging.getLogger("kneo_serv.store")

type Query[T] = Callable[[sqlite3.Connection], T]


@dataclass(frozen=True, slots=True)
class _Asked:
    query: Query[Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]


class Readers:
    """Answers queries in threads. Each sees all that was committed before it began."""

    def __init__(self, path: Path, *, count: int, patience: float) -> None:
        self._path = path
        self._patience = patience
        self._queue: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        self._closed = False
        connections = [connect(path, pragmas={"query_only": 1}) for _ in range(count)]
        self._threads = [
            threading.Thread(
                target=self._run, args=(connection,), name=f"kneo-store-reader-{number} {path.name}", daemon=True
            )
            for number, connection in enumerate(connections)
        ]
        for thread in self._threads:
            thread.start()

    async def ask[T](self, query: Query[T]) -> T:
        """Result of a query.

        Raises:
            StoreError: the database could not answer.
        """
        if self._closed:
            raise StoreError(f"The store of {self._path} is closed. Open it before it is used.")
        loop = asyncio.get_running_loop()
        asked = _Asked(query, loop, loop.create_future())
        self._queue.put(asked)
        return cast("T", await asked.future)

    async def close(self) -> None:
        """Answers what was asked, then ends the threads. Idempotent."""
        if not self._closed:
            self._closed = True
            for _ in self._threads:
                self._queue.put(None)
        for thread in self._threads:
            await asyncio.get_running_loop().run_in_executor(None, thread.join)

    def _run(self, connection: sqlite3.Connection) -> None:
        while (asked := self._queue.get()) is not None:
            if asked.future.cancelled():
                continue
            result: Any
            try:
                result = patiently(lambda: asked.query(connection), patience=self._patience)
            except sqlite3.Error as error:
                result = translate(error, self._path)
            except Exception as error:  # noqa: BLE001 - reaches the caller, and the thread lives on
                result = error
            try:
                asked.loop.call_soon_threadsafe(_resolve, asked.future, result)
            except RuntimeError:
                # That loop was closed meanwhile: nobody is left to hear the answer.
                log.warning("An answer of the store came after its loop was closed")
        connection.close()


def _resolve(future: asyncio.Future[Any], result: Any) -> None:
    if future.done():
        return
    if isinstance(result, BaseException):
        future.set_exception(result)
    else:
        future.set_result(result)
