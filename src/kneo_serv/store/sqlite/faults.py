"""What SQLite complains about, in words that name the file and the mend."""

import sqlite3
from pathlib import Path

from kneo_serv.errors import StoreError, StoreSchemaError

# Shared memory and locks do not reach across machines there, so two writers would spoil the file.
_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "fuse.sshfs", "fuse.glusterfs"})


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another connection holds the lock just now, so that a later attempt may succeed."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def translate(error: sqlite3.Error, path: Path) -> StoreError:
    """The store's error for an error of the driver."""
    name = getattr(error, "sqlite_errorname", None) or type(error).__name__
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    said = f"SQLite says: {error} ({name})."
    match code:
        case sqlite3.SQLITE_FULL:
            text = f"No room is left for the database {path}. Free some space on its disk, or move it. {said}"
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            text = (
                f"Another process keeps the database {path} locked. End what holds a long transaction on it (a backup, "
                f"a database browser), or raise the busy timeout. {said}"
            )
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            text = (
                f"The database {path} cannot be written. Give this user write permission for the file and its folder, "
                f"or name another database. {said}"
            )
        case sqlite3.SQLITE_CANTOPEN:
            text = (
                f"The database {path} cannot be opened. Check that its folder exists and that this user may read and "
                f"write both. {said}"
            )
        case sqlite3.SQLITE_NOTADB:
            return StoreSchemaError(
                f"The file {path} is no SQLite database. It is left untouched: name another database. {said}"
            )
        case sqlite3.SQLITE_CORRUPT:
            text = f"The database {path} is damaged. Stop all writers and restore it from a backup. {said}"
        case sqlite3.SQLITE_IOERR:
            text = (
                f"The disk under the database {path} fails or does not support shared locks (network folders do not). "
                f"Check the disk's free space and health, or move the database to a local disk. {said}"
            )
        case sqlite3.SQLITE_CONSTRAINT:
            text = f"The database {path} refused a row that breaks its rules; nothing of the call was written. {said}"
        case _:
            text = f"The database {path} could not do it. {said}"
    return StoreError(text)


def refuse_network_folder(folder: Path) -> None:
    """Passes when the folder lies on a disk of this machine, as far as that can be told.

    Raises:
        StoreError: it is a network file system, on which SQLite's locks do not hold.
    """
    try:
        mounts = Path("/proc/self/mountinfo").read_text()
    except OSError:
        return
    found = file_system_type(folder.resolve(), mounts)
    if found in _NETWORK:
        raise StoreError(
            f"The folder {folder} lies on a network file system ({found}), where SQLite cannot lock safely. Name a "
            "database on a local disk, or use PostgreSQL for several machines."
        )


def file_system_type(folder: Path, mounts: str) -> str | None:
    """Type of the file system that holds a folder, by the text of /proc/self/mountinfo."""
    best, found = -1, None
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split()
        if len(fields) < 5 or not right:
            continue
        point = Path(fields[4].replace("\\040", " "))
        # Of mounts over each other the last one counts.
        if folder.is_relative_to(point) and len(point.parts) >= best:
            best, found = len(point.parts), right.split()[0]
    return found
