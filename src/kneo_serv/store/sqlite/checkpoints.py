"""Moves the write-ahead log into the database file, away from the path of the appends."""

import asyncio
import logging
import sqlite3
import threading
from pathlib import Path

from kneo_serv.store.sqlite.connection import connect
from kneo_serv.store.sqlite.faults import is_busy

log = logging.getLogger("kneo_serv.store")

_WORTH_IT = 4 << 20
# A steady stream of appends never lets a passive checkpoint reach the end of the log. Beyond this size the writer
# itself does what is left, between two batches; it is little, right after a passive one.
_TOO_LONG = 32 << 20
_LOOK_EVERY = 0.25


class Checkpointer:
    """A thread that makes a checkpoint when the log has grown enough."""

    def __init__(self, path: Path, *, synchronous: str) -> None:
        self._wal = Path(f"{path}-wal")
        self._connection = connect(path, pragmas={"synchronous": synchronous})
        self._dirty = threading.Event()
        self._stopped = threading.Event()
        self.overdue = False
        """Whether the writer is asked to finish the checkpoint, so that the log begins anew."""
        self._thread = threading.Thread(target=self._run, name=f"kneo-store-checkpoints {path.name}", daemon=True)
        self._thread.start()

    def committed(self, writer: sqlite3.Connection) -> None:
        """Takes note of a commit. Called by the writer's thread, outside of a transaction."""
        if not self._dirty.is_set():
            self._dirty.set()
        if self.overdue:
            self.overdue = False
            # A reader in the midst of the log makes this one do less, and the next one more.
            self._checkpoint(writer, "TRUNCATE")

    async def close(self) -> None:
        """Ends the thread. Idempotent."""
        self._stopped.set()
        self._dirty.set()
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._dirty.wait()
            self._dirty.clear()
            # The log is written over from its start after a whole checkpoint: its size says how long it ever was.
            size = self._wal.stat().st_size if self._wal.exists() else 0
            if size >= _WORTH_IT:
                self._checkpoint(self._connection, "PASSIVE")
            if size > _TOO_LONG:
                self.overdue = True
            self._stopped.wait(_LOOK_EVERY)
        self._connection.close()

    def _checkpoint(self, connection: sqlite3.Connection, mode: str) -> None:
        try:
            connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        except sqlite3.Error as error:
            if not is_busy(error):
                log.warning("A checkpoint of %s failed: %s. The log keeps everything meanwhile.", self._wal, error)
