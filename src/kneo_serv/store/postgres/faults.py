"""What PostgreSQL complains about, in words that name the database and the mend."""

import re

import psycopg

from kneo_serv.errors import StoreError, StoreSchemaError

# What the server says when it goes away, or is not there yet, in the midst of a connection's life.
_GOING = frozenset({"57P01", "57P02", "57P03", "57P05", "25P03"})
_AGAIN = frozenset({"40P01", "40001", "55P03"})
# While a connection is made, libpq passes on what the server says without its code.
_REFUSALS = (
    (re.compile(r'FATAL: +database ".*" does not exist'), "3D000"),
    (re.compile(r"FATAL: +(password authentication failed|no pg_hba\.conf entry|role \".*\" does not exist)"), "28000"),
    (re.compile(r"FATAL: +(sorry, too many clients|remaining connection slots|too many connections)"), "53300"),
)


def is_lost(error: psycopg.Error) -> bool:
    """Whether the connection is gone, so that what was under way on it may have happened or not."""
    code = _code(error)
    if not code:
        # libpq itself says it, or our own guard of the driver's time.
        return isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError))
    return code in _GOING or code.startswith("08")


def is_passing(error: psycopg.Error) -> bool:
    """Whether the transaction was undone for the sake of another one, so that it is simply done again."""
    return error.sqlstate in _AGAIN


def concerns_all(error: psycopg.Error) -> bool:
    """Whether every other writing would fail just so: no room, no permission, a standby, a limit."""
    return _code(error)[:2] in ("25", "53", "55", "57", "58", "XX") or error.sqlstate == "42501"


def translate(error: psycopg.Error, place: str) -> StoreError:
    """The store's error for an error of the driver."""
    code = _code(error)
    said = f"PostgreSQL says: {_text(error)}{f' ({code})' if code else ''}."
    match code[:2]:
        case "28":
            text = (
                f"The database {place} refuses this user. Correct user and password in KNEO_SERV_DATABASE_URL. {said}"
            )
        case "3D":
            text = (
                f"There is no database {place}. Create it (CREATE DATABASE ... ENCODING 'UTF8'), or correct the URL. "
                f"{said}"
            )
        case _ if code in ("53100", "58030"):
            text = f"No room is left for the database {place}, or its disk fails. Free some space on its server. {said}"
        case _ if code == "53300":
            text = (
                f"The database {place} has no connection left. Lower KNEO_SERV_DATABASE_POOL_SIZE, raise "
                f"max_connections, or put a connection pooler before it. {said}"
            )
        case _ if code == "25006":
            text = (
                f"The database {place} cannot be written: it is a standby or read-only. Name the primary in the URL "
                f"(several hosts: &target_session_attrs=read-write). {said}"
            )
        case _ if code == "42501":
            text = (
                f"This user may not do that in the database {place}. Grant it what docs/postgres.md names, or let it "
                f"own the schema. {said}"
            )
        case "42" if code in ("42P01", "42883", "42703"):
            return StoreSchemaError(
                f"A part of the schema is missing in the database {place}. Restore it from a backup, or start with an "
                f"empty database. {said}"
            )
        case "23":
            text = f"The database {place} refused a row that breaks its rules; nothing of the call was written. {said}"
        case _ if is_lost(error):
            text = (
                f"The database {place} cannot be reached. Check that its server runs and that the URL is right. {said}"
            )
        case _:
            text = f"The database {place} could not do it. {said}"
    return StoreError(text)


def _code(error: psycopg.Error) -> str:
    if error.sqlstate is not None or not isinstance(error, psycopg.OperationalError):
        return error.sqlstate or ""
    return next((code for pattern, code in _REFUSALS if pattern.search(str(error))), "")


def _text(error: psycopg.Error) -> str:
    """The first sentence: details may quote rows, and never the address with its password."""
    text = error.diag.message_primary or str(error).strip().split("\n")[0]
    return text.rstrip(".") or type(error).__name__
