"""API keys: read from the environment, kept as hashes, compared in constant time."""

import hashlib
import hmac
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from kneo_serv.errors import SettingsError
from kneo_serv.service.auth.principal import ANONYMOUS, AuthPrincipal
from kneo_serv.service.auth.roles import ROLES, SCOPES

log = logging.getLogger("kneo_serv.service")

KEYS, ADMIN_KEY, ENABLED = "KNEO_SERV_API_KEYS", "KNEO_SERV_ADMIN_API_KEY", "KNEO_SERV_AUTH_ENABLED"
_YES = frozenset({"1", "true", "yes", "on"})


@dataclass(frozen=True, slots=True)
class APIKeyRecord:
    """One key: who uses it, its SHA-256 digest, and what it grants. The key itself is not kept."""

    name: str
    digest: bytes
    roles: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()

    @classmethod
    def of(cls, name: str, key: str, grants: Iterable[str]) -> Self:
        """The record of a key. Raises ValueError, which names the grant, for a role or scope that does not exist."""
        roles: set[str] = set()
        scopes: set[str] = set()
        for grant in grants:
            if grant in ROLES:
                roles.add(grant)
                scopes |= ROLES[grant]
            elif grant in SCOPES:
                scopes.add(grant)
            else:
                known = ", ".join([*ROLES, *sorted(SCOPES)])
                raise ValueError(f"unknown role or scope {grant!r}; known are {known}")
        return cls(name, hash_of(key), frozenset(roles), frozenset(scopes))

    @property
    def principal(self) -> AuthPrincipal:
        """Who calls with this key."""
        return AuthPrincipal(self.name, self.roles, self.scopes)


@dataclass(frozen=True, slots=True)
class AuthConfig:
    """Whether callers are asked for a key, and which keys there are."""

    enabled: bool
    api_keys: tuple[APIKeyRecord, ...] = ()

    @classmethod
    def disabled(cls) -> Self:
        """Everybody may do everything."""
        return cls(enabled=False)

    @classmethod
    def from_env(cls, environ: Mapping[str, str], *, enabled: bool | None = None) -> Self:
        """What the environment says; `enabled` wins over KNEO_SERV_AUTH_ENABLED.

        Raises:
            SettingsError: a variable cannot be used, or keys are asked for and there is none.
        """
        records = [_parsed(item) for item in environ.get(KEYS, "").split(";") if item.strip()]
        admin = environ.get(ADMIN_KEY, "").strip()
        if admin:
            record = APIKeyRecord.of("admin", admin, ["admin"])
            if any(hmac.compare_digest(record.digest, other.digest) for other in records):
                log.warning("%s is also listed in %s; the entry there counts", ADMIN_KEY, KEYS)
            else:
                records.append(record)
        wanted = enabled if enabled is not None else environ.get(ENABLED, "").strip().lower() in _YES
        if wanted and not records:
            raise SettingsError(
                ENABLED, f"KNEO service auth is enabled but no API keys are configured. Set {KEYS} or {ADMIN_KEY}."
            )
        return cls(enabled=enabled if enabled is not None else wanted or bool(records), api_keys=tuple(records))

    def authenticate(self, token: str | None) -> AuthPrincipal | None:
        """Who calls with this token; None when nobody may."""
        if not self.enabled:
            return ANONYMOUS
        if not token:
            return None
        digest, found = hash_of(token), None
        # All are compared, so that the time tells nothing of which one fits.
        for record in self.api_keys:
            if hmac.compare_digest(record.digest, digest) and found is None:
                found = record
        return None if found is None else found.principal


def hash_of(key: str) -> bytes:
    """SHA-256 digest of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def _parsed(item: str) -> APIKeyRecord:
    parts = [part.strip() for part in item.split(":", 2)]
    if len(parts) < 3 or not parts[0] or not parts[1]:
        raise SettingsError(KEYS, "each entry must be name:key:grant[,grant...], entries separated by semicolons")
    name, key, grants = parts
    try:
        return APIKeyRecord.of(name, key, [grant.strip() for grant in grants.split(",") if grant.strip()])
    except ValueError as fault:
        raise SettingsError(KEYS, f"entry {name!r}: {fault}") from None
