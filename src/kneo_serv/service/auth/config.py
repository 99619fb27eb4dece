"""Who is let in, as the environment says it."""

import hmac
import logging
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from kneo_serv.errors import SettingsError
from kneo_serv.service.auth.key_file import KeyFile
from kneo_serv.service.auth.keys import APIKeyRecord, find_key, read_entry
from kneo_serv.service.auth.oidc import OIDCConfig
from kneo_serv.service.auth.principal import ANONYMOUS, AuthPrincipal

log = logging.getLogger("kneo_serv.service")

KEYS, KEYS_FILE = "KNEO_SERV_API_KEYS", "KNEO_SERV_API_KEYS_FILE"
ADMIN_KEY, ENABLED = "KNEO_SERV_ADMIN_API_KEY", "KNEO_SERV_AUTH_ENABLED"
_YES, _NO = frozenset({"1", "true", "yes", "on"}), frozenset({"", "0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class AuthConfig:
    """Whether callers are asked for a key or token, and which are accepted."""

    enabled: bool
    api_keys: tuple[APIKeyRecord, ...] = ()
    key_file: Path | None = None
    """Further keys, which may change while the service runs."""
    oidc: OIDCConfig | None = None

    @classmethod
    def disabled(cls) -> Self:
        """Everybody may do everything."""
        return cls(enabled=False)

    @classmethod
    def from_plaintext_keys(cls, keys: Iterable[tuple[str, str, Iterable[str]]]) -> Self:
        """These keys, each with its name and what it grants. Raises ValueError for a grant that does not exist."""
        return cls(enabled=True, api_keys=tuple(APIKeyRecord.of(name, key, grants) for name, key, grants in keys))

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, *, enabled: bool | None = None) -> Self:
        """What the environment says (that of the process by default); `enabled` wins over KNEO_SERV_AUTH_ENABLED.

        Raises:
            SettingsError: a variable cannot be used, or keys are asked for and there is none.
        """
        given = os.environ if environ is None else environ
        word = given.get(ENABLED, "").strip().lower()
        if word not in _YES | _NO:
            raise SettingsError(ENABLED, f"{word[:20]!r} must be one of 1, true, yes, on, 0, false, no, off.")
        records = tuple(_records(given))
        file, oidc = _key_file(given), OIDCConfig.from_env(given)
        somebody = bool(records) or file is not None or oidc is not None
        wanted = enabled if enabled is not None else word in _YES
        if wanted and not somebody:
            raise SettingsError(
                ENABLED,
                f"KNEO service auth is enabled but no API keys are configured. Set {KEYS}, {KEYS_FILE} or {ADMIN_KEY}.",
            )
        return cls(enabled if enabled is not None else wanted or somebody, records, file, oidc)

    def authenticate(self, token: str | None) -> AuthPrincipal | None:
        """Who calls with one of `api_keys`; None when nobody may. The file and tokens are for `Authenticator`."""
        if not self.enabled:
            return ANONYMOUS
        now = time.time()
        found = find_key(self.api_keys, token, now) if token else None
        return None if found is None or found.expired(now) else found.principal


def _records(environ: Mapping[str, str]) -> Iterable[APIKeyRecord]:
    records = []
    for place, item in enumerate(environ.get(KEYS, "").split(";"), start=1):
        if item.strip():
            try:
                records.append(read_entry(item))
            except ValueError as fault:
                raise SettingsError(KEYS, f"entry {place} {fault}; entries are separated by semicolons.") from None
    admin = environ.get(ADMIN_KEY, "").strip()
    if admin:
        record = APIKeyRecord.of("admin", admin, ["admin"])
        if any(hmac.compare_digest(record.digest, other.digest) for other in records):
            log.warning("%s is also listed in %s; the entry there counts", ADMIN_KEY, KEYS)
        else:
            records.append(record)
    return records


def _key_file(environ: Mapping[str, str]) -> Path | None:
    text = environ.get(KEYS_FILE, "").strip()
    if not text:
        return None
    path = Path(text).expanduser().absolute()
    try:
        KeyFile(path, clock=time.monotonic)
    except OSError as fault:
        raise SettingsError(KEYS_FILE, f"{text!r} cannot be read: {fault.strerror or type(fault).__name__}.") from None
    except ValueError as fault:
        raise SettingsError(KEYS_FILE, f"{text!r}: {fault}.") from None
    return path
