"""The store in one SQLite file: `SQLiteStore`, and the names of its workers."""

from kneo_serv.store.sqlite.owner import is_dead, local_owner
from kneo_serv.store.sqlite.store import SQLiteStore

__all__ = ["SQLiteStore", "is_dead", "local_owner"]
