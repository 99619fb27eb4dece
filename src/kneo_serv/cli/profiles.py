"""Profiles: services by name, each with its address and key, in a file that only its owner reads."""

import json
import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Self

from kneo_serv.cli.files import file_error
from kneo_serv.errors import InvalidRequestError, KneoError, NotFoundError

PATH_VARIABLE = "KNEO_SERV_PROFILES_PATH"
_DEFAULT_PATH = "~/.kneo_serv/profiles.json"
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"


class ProfileFileError(KneoError):
    """The file of profiles cannot be used."""

    code = "profiles_unusable"

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(
            f"The profiles in {path} cannot be used: {problem}. Mend or remove the file; commands with --local do "
            "without it."
        )
        self.path = str(path)


class ProfileUnknownError(NotFoundError):
    """There is no profile of this name."""

    def __init__(self, name: str, known: Mapping[str, Any], path: Path) -> None:
        super().__init__("profile", name)
        near = get_close_matches(name, known, n=1)
        if near:
            self._hint = f"Did you mean {near[0]}?"
        elif known:
            self._hint = f"There are {', '.join(sorted(known))} in {path}."
        else:
            self._hint = f"There are none in {path} yet: `kneo config profile set {name} --service-url URL`."

    @property
    def hint(self) -> str:
        """Which there are."""
        return self._hint


@dataclass(frozen=True, slots=True)
class Profile:
    """A service under a name."""

    name: str
    service_url: str
    api_key: str | None = field(default=None, repr=False)

    def told(self, path: Path) -> str:
        """The profile in words, for messages."""
        return f"profile {self.name!r} in {path}"

    def shown(self) -> dict[str, Any]:
        """The profile as JSON object: whether there is a key, never the key."""
        return {"name": self.name, "service_url": self.service_url, "authenticated": bool(self.api_key)}


@dataclass(frozen=True, slots=True)
class Profiles:
    """All profiles by name, and the name of the one that is used when none is named."""

    active: str | None = None
    by_name: Mapping[str, Profile] = field(default_factory=dict)
    path: Path = Path(_DEFAULT_PATH)

    @property
    def current(self) -> Profile | None:
        """The active profile."""
        return None if self.active is None else self.by_name.get(self.active)

    def named(self, name: str) -> Profile:
        """The profile of this name. Raises ProfileUnknownError."""
        if name not in self.by_name:
            raise ProfileUnknownError(name, self.by_name, self.path)
        return self.by_name[name]

    def with_profile(self, profile: Profile, *, active: bool) -> Self:
        """These and the profile, which replaces one of its name."""
        return replace(
            self,
            active=profile.name if active else self.active,
            by_name={**self.by_name, profile.name: profile},
        )

    def without(self, name: str) -> Self:
        """These but the one of this name."""
        kept = {key: profile for key, profile in self.by_name.items() if key != name}
        return replace(self, active=None if self.active == name else self.active, by_name=kept)


def checked_name(name: str) -> str:
    """The name. Raises InvalidRequestError where it is none that is easy to type."""
    if not re.fullmatch(_NAME, name):
        raise InvalidRequestError(
            f"{name!r} is no name for a profile: it begins with a letter or digit, and has letters, digits, '.', '_' "
            "and '-', 64 at most."
        )
    return name


class ProfileFile:
    """The file that keeps the profiles. It is read when somebody asks, and replaced whole, never written in place."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Self:
        """The file of an environment: KNEO_SERV_PROFILES_PATH, else `~/.kneo_serv/profiles.json`."""
        return cls(Path(environ.get(PATH_VARIABLE, "").strip() or _DEFAULT_PATH).expanduser())

    def read(self) -> Profiles:
        """The profiles; none where there is no file.

        Raises:
            ProfileFileError: the file cannot be read, or is none of profiles.
        """
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return Profiles(path=self.path)
        except UnicodeDecodeError:
            raise ProfileFileError(self.path, "it is not text in UTF-8") from None
        except OSError as error:
            raise ProfileFileError(self.path, error.strerror or str(error)) from None
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            # What stands there may be a key, so it is not quoted.
            raise ProfileFileError(
                self.path, f"it is no JSON (line {error.lineno}, column {error.colno}: {error.msg})"
            ) from None
        except RecursionError:
            raise ProfileFileError(self.path, "it is nested too deeply") from None
        return self._profiles(data)

    def exposure(self) -> str | None:
        """What is wrong with who may read the file, None when nothing is."""
        if sys.platform == "win32":
            return None
        try:
            mode = stat.S_IMODE(self.path.stat().st_mode)
        except OSError:
            return None
        return f"{self.path} can be read by others: chmod 600 {self.path}" if mode & 0o077 else None

    @contextmanager
    def changing(self) -> Iterator["Draft"]:
        """The profiles, to be replaced; written at the end, and nobody else writes meanwhile.

        Raises:
            ProfileFileError: the file is none of profiles.
            FileError: it cannot be written.
        """
        # A link stays one: what it leads to is replaced.
        target = self.path.resolve()
        try:
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _locked(target.with_name(f"{target.name}.lock")):
                draft = Draft(self.read())
                yield draft
                if draft.changed:
                    _replace(target, draft.profiles)
        except OSError as error:
            raise file_error(error) from error

    def _profiles(self, data: Any) -> Profiles:
        if not isinstance(data, dict) or not isinstance(data.get("profiles", {}), dict):
            raise ProfileFileError(self.path, 'it has to be an object with "active" and "profiles"')
        found: dict[str, Profile] = {}
        for name, row in data.get("profiles", {}).items():
            url = row.get("service_url") if isinstance(row, dict) else None
            key = row.get("api_key") if isinstance(row, dict) else None
            if not isinstance(url, str) or not isinstance(key, str | None):
                raise ProfileFileError(self.path, f'profile {name!r} needs a "service_url" and an "api_key" or null')
            found[name] = Profile(name, url, key)
        active = data.get("active")
        if active is not None and active not in found:
            raise ProfileFileError(self.path, f"its active profile {active!r} is not among them")
        return Profiles(active, found, self.path)


@dataclass(slots=True)
class Draft:
    """Profiles that are being changed: what stands under `profiles` in the end is kept."""

    profiles: Profiles
    changed: bool = False

    def put(self, profiles: Profiles) -> None:
        """Has these be kept."""
        self.profiles = profiles
        self.changed = True


def _replace(target: Path, profiles: Profiles) -> None:
    rows = {
        name: {"service_url": profile.service_url, "api_key": profile.api_key}
        for name, profile in profiles.by_name.items()
    }
    text = json.dumps({"active": profiles.active, "profiles": rows}, indent=2, sort_keys=True, ensure_ascii=False)
    # A file of its own until it is complete; it is made for its owner alone.
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if sys.platform != "win32":
            import fcntl

            # Given up by the system when the process ends, however it does.
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
