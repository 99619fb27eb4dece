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
# A steady stream of appends never lets a passive checkpoint reach the end of the log, so beyond this size the log is
# closed to writers for a moment and begun anew.
_TOO_LONG = 64 << 20
_LOOK_EVERY = 0.25


class Checkpointer:
    """A thread that makes a checkpoint when the log has grown enough."""

    def __init__(self, path: Path, *, synchronous: str) -> None:
        self._wal = Path(f"{path}-wal")
        self._connection = connect(path, pragmas={"synchronous": synchronous})
        self._dirty = threading.Event()
        self._stopped = threading.Event()
        self._done = 0
        self._thread = threading.Thread(target=self._run, name=f"kneo-store-checkpoints {path.name}", daemon=True)
        self._thread.start()

    def committed(self) -> None:
        """Tells that something was written."""
        if not self._dirty.is_set():
            self._dirty.set()

    async def close(self) -> None:
        """Ends the thread. Idempotent."""
        self._stopped.set()
        self._dirty.set()
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._dirty.wait()
            self._dirty.clear()
            # The log grows in place and is begun anew after a whole checkpoint, so its size says how long it ever was.
            try:
                self._checkpoint()
            except sqlite3.Error as error:
                if not is_busy(error):
                    log.warning("A checkpoint of %s failed: %s. The log keeps everything meanwhile.", self._wal, error)
            self._stopped.wait(_LOOK_EVERY)
        self._connection.close()

    def _checkpoint(self) -> None:
        size = self._wal.stat().st_size if self._wal.exists() else 0
        if size < _WORTH_IT:
            return
        mode = "TRUNCATE" if size > _TOO_LONG else "PASSIVE"
        self._connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
