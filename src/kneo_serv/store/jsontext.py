"""Rows as JSON text, the form in which a whole batch reaches a database as one value.

One statement with one value instead of one statement for each row. On SQLite, the interpreter lock changes hands
between two statements, and callers that compute would keep the writer waiting for each row anew; on PostgreSQL, each
statement is a round trip.
"""

import re
from collections.abc import Sequence
from typing import Any

import orjson

# SQLite ends a text at a NUL and PostgreSQL refuses it, so it is replaced where it stands unescaped; an escaped one
# inside JSON text is kept.
_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")


def dumps(value: Any) -> bytes:
    """JSON of plain values. Characters that no database keeps (NUL, lone surrogates) become U+FFFD."""
    try:
        text = orjson.dumps(value)
    except orjson.JSONEncodeError:
        text = orjson.dumps(_encodable(value))
    if b"\\u0000" in text:
        return _NUL.sub("\\1\ufffd".encode(), text)
    return text


def array(fragments: Sequence[bytes]) -> str:
    """A JSON array of values that are JSON already."""
    return (b"[" + b",".join(fragments) + b"]").decode()


def loads(text: str) -> Any:
    """Plain values of a JSON text."""
    return orjson.loads(text)


def plain(text: str) -> str:
    """The text as a database can keep it, with U+FFFD for NUL and lone surrogates."""
    if text.isascii():
        return text.replace("\0", "\ufffd") if "\0" in text else text
    cleaned: str = _encodable(text)
    return cleaned.replace("\0", "\ufffd")


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encodable(item) for item in value]
    return value
