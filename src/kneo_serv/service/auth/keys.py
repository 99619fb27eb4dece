"""API keys: written down by people, kept as hashes, compared in constant time."""

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from kneo_serv.service.auth.grants import Grants, read_grants
from kneo_serv.service.auth.principal import AuthPrincipal

_DIGEST = re.compile(r"[0-9a-fA-F]{64}")
_SHA256 = "sha256"


@dataclass(frozen=True, slots=True)
class APIKeyRecord:
    """One key: who uses it, its SHA-256 digest, and what it grants. The key itself is not kept."""

    name: str
    digest: bytes
    roles: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    tenant: str | None = None
    expires_at: datetime | None = None
    """From then on the key is refused."""

    @classmethod
    def of(cls, name: str, key: str, grants: Iterable[str]) -> Self:
        """The record of a key. Raises ValueError, which never quotes the key, for a grant that does not exist."""
        return cls.with_digest(name, hash_of(key), read_grants(grants))

    @classmethod
    def with_digest(cls, name: str, digest: bytes, granted: Grants) -> Self:
        """The record of a key of which only the digest is known."""
        return cls(name, digest, granted.roles, granted.scopes, granted.tenant, granted.expires_at)

    @property
    def principal(self) -> AuthPrincipal:
        """Who calls with this key."""
        return AuthPrincipal(self.name, self.roles, self.scopes, self.tenant)

    def expired(self, now: float) -> bool:
        """Whether its time is over at this moment (Unix seconds)."""
        return self.expires_at is not None and self.expires_at.timestamp() <= now


def read_entry(text: str) -> APIKeyRecord:
    """The record of `name:key:grant[,grant...]`, or of `name:sha256:<digest>:grant[,grant...]`.

    Raises:
        ValueError: it has another form, or a grant does not exist. The text quotes neither key nor entry.
    """
    parts = [part.strip() for part in text.split(":", 2)]
    if len(parts) < 3 or not parts[0] or not parts[1]:
        raise ValueError("it must be name:key:grant[,grant...]")
    name, key, granted = parts
    digest, colon, rest = (part.strip() for part in granted.partition(":"))
    try:
        if key == _SHA256 and colon:
            return APIKeyRecord.with_digest(name, read_digest(digest), read_grants(rest.split(",")))
        return APIKeyRecord.of(name, key, granted.split(","))
    except ValueError as fault:
        raise ValueError(f"(name {name!r}): {fault}") from None


def read_digest(text: str) -> bytes:
    """A SHA-256 digest from its 64 hexadecimal digits. Raises ValueError."""
    if not _DIGEST.fullmatch(text):
        raise ValueError("sha256: must be followed by 64 hexadecimal digits (kneo service hash-key prints them)")
    return bytes.fromhex(text)


def write_digest(key: str) -> str:
    """A key as it may stand in a file without being known: `sha256:<digest>`."""
    return f"{_SHA256}:{hash_of(key).hex()}"


def hash_of(key: str) -> bytes:
    """SHA-256 digest of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def find_key(records: Sequence[APIKeyRecord], key: str, now: float) -> APIKeyRecord | None:
    """The first record of this key, one that is not expired before all others."""
    digest, fitting = hash_of(key), []
    # All are compared, so that the time tells nothing of which one fits.
    for record in records:
        if hmac.compare_digest(record.digest, digest):
            fitting.append(record)
    return next((one for one in fitting if not one.expired(now)), fitting[0] if fitting else None)
