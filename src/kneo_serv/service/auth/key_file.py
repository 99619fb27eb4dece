"""API keys in a file, which may change while the service runs."""

import asyncio
import json
import logging
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kneo_serv.service.auth.grants import read_grants
from kneo_serv.service.auth.keys import APIKeyRecord, read_digest, read_entry

log = logging.getLogger("kneo_serv.service")

_LOOK_EVERY = 1.0
_LARGEST = 1_048_576
_FIELDS = frozenset({"name", "key", "sha256", "grants", "roles", "scopes", "tenant", "expires"})

type _Version = tuple[int, ...]


class KeyFile:
    """The keys of a file; a new version is taken up within about a second, and a broken one leaves the old keys."""

    def __init__(self, path: Path, *, clock: Callable[[], float]) -> None:
        """Reads the file.

        Args:
            path: One entry a line (`#` begins a comment), or JSON.
            clock: Monotonic seconds.

        Raises:
            OSError: it cannot be read.
            ValueError: it has entries that cannot be used; they are named by line, and not quoted.
        """
        self._path = path
        self._clock = clock
        self._records, self._version = _read(path)
        self._looked = clock()
        self._lost = False

    async def records(self) -> tuple[APIKeyRecord, ...]:
        """The keys as they are now; the file is looked at on another thread, at most once a second."""
        now = self._clock()
        if now - self._looked >= _LOOK_EVERY:
            # Noted first: whoever comes meanwhile goes by the keys of before.
            self._looked = now
            await asyncio.to_thread(self._look)
        return self._records

    def _look(self) -> None:
        try:
            version: _Version | None = _version_of(os.stat(self._path))
        except OSError as fault:
            version, problem = None, fault.strerror or type(fault).__name__
            if not self._lost:
                log.error("the file of API keys cannot be found: %s; the keys of before stay in force", problem)
        self._lost = version is None
        if version is None or version == self._version:
            return
        try:
            self._records, self._version = _read(self._path)
        except (OSError, ValueError) as fault:
            self._version = version
            problem = str(fault) if isinstance(fault, ValueError) else fault.strerror or type(fault).__name__
            log.error("the new file of API keys cannot be used: %s; the keys of before stay in force", problem)
        else:
            log.info("the file of API keys was read again: %d entries", len(self._records))


def _version_of(found: os.stat_result) -> _Version:
    # The change time tells of a file that could not be read, and now may be.
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def _read(path: Path) -> tuple[tuple[APIKeyRecord, ...], _Version]:
    # Opened without waiting: a pipe without a writer would hold the service for ever.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("it is no regular file")
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise ValueError(f"it is larger than {_LARGEST} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("it is no UTF-8 text") from None
    records = tuple(_from_json(text) if text.lstrip()[:1] in ("{", "[") else _from_lines(text))
    if not records:
        # A file that is just being written is empty for a moment; that must lock nobody out.
        raise ValueError("it holds no entry (leave one without grants to refuse everybody)")
    if found.st_mode & 0o007:
        log.warning("the file of API keys is open to every user of this machine; `chmod o-rwx` closes it")
    return records, _version_of(found)


def _from_lines(text: str) -> Iterator[APIKeyRecord]:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                yield read_entry(line)
            except ValueError as fault:
                raise ValueError(f"line {number}: {fault}") from None


def _from_json(text: str) -> Iterator[APIKeyRecord]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON") from None
    entries = found.get("keys") if isinstance(found, dict) else found
    if not isinstance(entries, list):
        raise ValueError('it must be a list of entries, or {"keys": [...]}')
    for number, entry in enumerate(entries, start=1):
        try:
            yield read_entry(entry) if isinstance(entry, str) else _from_object(entry)
        except ValueError as fault:
            raise ValueError(f"entry {number}: {fault}") from None


def _from_object(entry: Any) -> APIKeyRecord:
    if not isinstance(entry, dict) or not entry.keys() <= _FIELDS:
        raise ValueError(f"it must be an object with no other fields than {', '.join(sorted(_FIELDS))}")
    texts = {
        name: entry[name] for name in ("name", "key", "sha256", "tenant", "expires") if entry.get(name) is not None
    }
    lists = [entry.get(name) or [] for name in ("grants", "roles", "scopes")]
    if not all(isinstance(one, str) for one in texts.values()):
        raise ValueError("name, key, sha256, tenant and expires must be texts")
    if not all(isinstance(one, list) and all(isinstance(grant, str) for grant in one) for one in lists):
        raise ValueError("grants, roles and scopes must be lists of texts")
    name, key, digest = (texts.get(field, "").strip() for field in ("name", "key", "sha256"))
    if not name or bool(key) == bool(digest):
        raise ValueError("it needs a name, and either key or sha256")
    grants = [grant for one in lists for grant in one]
    grants += [f"{field}={texts[field]}" for field in ("tenant", "expires") if field in texts]
    if not digest:
        return _from_key(name, key, grants)
    return APIKeyRecord.with_digest(name, read_digest(digest), read_grants(grants))


def _from_key(name: str, key: str, grants: list[str]) -> APIKeyRecord:
    """The record of a key that is given itself, or as `sha256:<digest>`. Raises ValueError."""
    kind, colon, digest = key.partition(":")
    if kind == "sha256" and colon:
        return APIKeyRecord.with_digest(name, read_digest(digest), read_grants(grants))
    return APIKeyRecord.of(name, key, grants)
