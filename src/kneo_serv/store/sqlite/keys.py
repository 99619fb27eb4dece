"""Idempotency keys: what each stands for."""

import sqlite3
from collections.abc import Sequence

from kneo_serv.model.idempotency import IdempotencyKey, KeyRecord
from kneo_serv.store.jsontext import dumps
from kneo_serv.store.sqlite.rows import KEY, key_record

type Name = tuple[str, str, str]
"""What an idempotency key is found by: scope, principal, key."""

_COLUMNS = "scope, principal, key, body_hash, run_id, continuation_id, from_seq, asynchronous, created_at"
ADD_KEYS = (
    f"INSERT INTO idempotency_keys ({_COLUMNS}) SELECT "  # noqa: S608 - fixed parts; values travel as parameters
    + ", ".join(f"json_extract(value, '$[{place}]')" for place in range(_COLUMNS.count(",") + 1))
    + " FROM json_each(?)"
)
"""Adds keys, given as a JSON array of rows."""
_FIND = (
    "SELECT idempotency_keys.* FROM json_each(?) AS wanted CROSS JOIN idempotency_keys"
    " ON scope = json_extract(wanted.value, '$[0]') AND principal = json_extract(wanted.value, '$[1]')"
    " AND idempotency_keys.key = json_extract(wanted.value, '$[2]')"
)


def name_of(key: IdempotencyKey) -> Name:
    """What the key is found by."""
    return key.scope, key.principal, key.key


def taken_keys(connection: sqlite3.Connection, wanted: Sequence[KeyRecord | None]) -> dict[Name, KeyRecord]:
    """What those of the wanted keys stand for that are taken."""
    return find_keys(connection, [name_of(record.key) for record in wanted if record is not None])


def find_keys(connection: sqlite3.Connection, names: Sequence[Name]) -> dict[Name, KeyRecord]:
    """What these keys stand for; those that nobody has used are left out."""
    if not names:
        return {}
    found = [key_record(row) for row in KEY.fetch(connection, _FIND, (dumps(names).decode(),))]
    return {name_of(record.key): record for record in found}
