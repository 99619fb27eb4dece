"""The store in a PostgreSQL database: `PostgresStore`. Importing it needs the extra `postgres`."""

from kneo_serv.errors import MissingExtraError

try:
    import psycopg as _psycopg  # noqa: F401 - tells at once whether it is there
except ImportError as error:
    raise MissingExtraError(
        "PostgreSQL needs a library that is not installed. Install it with: pip install 'kneo-serv[postgres]'"
    ) from error

from kneo_serv.store.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
