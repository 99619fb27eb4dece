"""Names of advisory locks, all of them for one transaction at a time: a transaction-pooling proxy breaks others.

The upper 16 bits of a lock's number say what it is about, so that the sorts do not meet each other, nor, but by a rare
chance, the locks of other programs in the same database.
"""

import hashlib

_ROOM = 1 << 48
POSITION = 0x4B01 * _ROOM
"""Plus a position of the feed: somebody is writing events above it, and has not committed."""
_NAME = 0x4B02 * _ROOM
PLANS = 0x4B03 * _ROOM
"""Shared by those who make runs, so that none of them finds a plan that is just being removed."""
COUNTS = 0x4B04 * _ROOM
"""Held by who adds up the changes of the counts of runs."""
CLAIMS = 0x4B06 * _ROOM
"""Held by who lets runs to work."""
MIGRATIONS = 0x4B05 * _ROOM
"""Held by who changes the schema."""

_SCHEDULE = 0x4B06 * _ROOM
"""Taken before any other, and one in each transaction, by who changes a schedule."""


def of_schedule(tenant: str | None, name: str) -> int:
    """The lock of a schedule."""
    return _SCHEDULE + _digest(tenant, name)


def of_name(*parts: str | None) -> int:
    """The lock of an idempotency key or a session."""
    return _NAME + _digest(*parts)


def _digest(*parts: str | None) -> int:
    text = "\0".join("\1" if part is None else part for part in parts)
    digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=6).digest()
    return int.from_bytes(digest)
