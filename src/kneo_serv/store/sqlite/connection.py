"""Connections to one database file, with the settings that durability rests on."""

import os
import random
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kneo_serv.errors import StoreError
from kneo_serv.store.sqlite.faults import is_busy, refuse_network_folder, translate
from kneo_serv.store.sqlite.schema import check_schema, migrate

SYNCHRONOUS = {"OFF": 0, "NORMAL": 1, "FULL": 2, "EXTRA": 3}
"""Levels of `PRAGMA synchronous`, and the number that SQLite answers with."""


def connect(path: Path, *, pragmas: Mapping[str, str | int]) -> sqlite3.Connection:
    """A connection without implicit transactions. It waits for no lock by itself: see `patiently`."""
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode=rw",
        uri=True,
        timeout=0,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    try:
        for name, value in pragmas.items():
            connection.execute(f"PRAGMA {name} = {value}").close()
    except BaseException:
        connection.close()
        raise
    return connection


def patiently[T](work: Callable[[], T], *, patience: float) -> T:
    """Result of `work`, tried again for `patience` seconds while another connection holds the lock.

    The pauses are short and uneven, so that no waiting process is always too late (SQLite's own grow to 100 ms).
    """
    end = time.monotonic() + patience
    pause = 0.0005
    while True:
        try:
            return work()
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() > end:
                raise
        time.sleep(random.uniform(0.3, 1.0) * pause)  # noqa: S311 - spreads attempts, guards nothing
        pause = min(pause * 1.5, 0.01)


def prepare_file(path: Path, *, synchronous: str, patience: float) -> None:
    """Makes the file where there is none (0600, its folder 0700), and brings its schema up to date.

    Raises:
        StoreError: it cannot be opened or written.
        StoreSchemaError: it is another program's or of a newer version; not one byte of it was changed.
    """
    try:
        _make_folder(path.parent)
        refuse_network_folder(path.parent)
        _make_file(path)
    except OSError as error:
        raise StoreError(
            f"The database {path} cannot be made: {error.strerror or error}. Give this user write permission for its "
            "folder, or name another database."
        ) from error
    try:
        patiently(lambda: _inspect(path), patience=patience)
        patiently(lambda: _migrate(path, synchronous), patience=patience)
    except sqlite3.Error as error:
        raise translate(error, path) from error


def _make_folder(folder: Path) -> None:
    if not folder.exists():
        _make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def _make_file(path: Path) -> None:
    # Made before SQLite opens it: its side files get the mode of the main file.
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        if not path.is_file():
            raise StoreError(f"{path} is no file. Name a file for the database.") from None


def _inspect(path: Path) -> None:
    # Read-only, since even closing a writable connection may move a foreign write-ahead log into its file.
    with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=0)) as connection:
        check_schema(connection, path)


def _migrate(path: Path, synchronous: str) -> None:
    settings: dict[str, Any] = {"synchronous": synchronous, "journal_mode": "WAL"}
    with closing(connect(path, pragmas=settings)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            migrate(connection, path)
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
