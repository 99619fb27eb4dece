"""Skills: texts that join a system prompt, read once and then frozen into the plan."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path as FilePath
from typing import Any, Protocol

from kneo_serv.errors import InvalidRequestError, SpecParseError
from kneo_serv.spec.confine import confine_spec_path
from kneo_serv.spec.reader import read_file, read_text

MAX_BYTES = 262_144
_TEXTS = ("SKILL.md", "skill.md", "README.md")
_DESCRIPTIONS = ("skill.yaml", "skill.yml", "skill.json")
_LISTED, _FRONT_BYTES = 1_000, 8_192
"""Bounds of the catalogue: entries of one folder, and bytes at the beginning of each skill."""
_FRONT = re.compile(r"\A---\r?\n(.*?)\r?\n---\r?\n", re.DOTALL)


@dataclass(frozen=True, slots=True)
class LoadedSkill:
    """A skill with its text."""

    name: str
    text: str
    description: str | None = None


class SkillSource(Protocol):
    """Where the compiler gets the text of skills."""

    def load(self, name: str, source: str) -> LoadedSkill:
        """The skill. Raises InvalidRequestError when it cannot be read, SpecPathConfinementError when it may not."""
        ...


class SkillLoader:
    """Reads skills from files under one folder."""

    def __init__(self, root: str | FilePath | None = None) -> None:
        self._root = root

    def load(self, name: str, source: str) -> LoadedSkill:
        """The skill in a folder with a SKILL.md (skill.md, README.md), or in one text file; 256 KiB at most.

        Raises:
            InvalidRequestError: there is no such text, or it cannot be read.
            SpecPathConfinementError: the path leads out of the root.
        """
        root = FilePath(self._root) if self._root is not None else FilePath.cwd()
        path = confine_spec_path(source, root)
        described: Mapping[str, Any] = {}
        if path.is_dir():
            described = _described(path, root, source)
            path = _first(path, _TEXTS, root, source)
        if not path.is_file():
            raise InvalidRequestError(f"The skill `{name}` is not there: no file or folder `{source}`.")
        text = _text(path, name, source)
        description = described.get("description")
        return LoadedSkill(name, text, str(description) if description is not None else None)


class FrozenSkillLoader:
    """Gives back the texts that were frozen earlier, and reads no file."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = dict(texts)

    def load(self, name: str, source: str) -> LoadedSkill:
        """The skill as it was frozen. Raises InvalidRequestError when it was not."""
        if name not in self._texts:
            raise InvalidRequestError(f"The skill `{name}` was not frozen with the spec.")
        return LoadedSkill(name, self._texts[name])


def discover_default_catalog(*, project_root: str | FilePath, user_home: str | FilePath) -> list[dict[str, str]]:
    """The skills in `.agents/skills` and `.claude/skills` of the project and the home folder, by name.

    Each is `{name, description, path}`, the path relative to the folder that was scanned. Name and description are
    those of the front matter; without a name there, the skill is called like its folder. The project wins over home.
    The first 1,000 entries of each folder are looked at, and what cannot be read is passed over.
    """
    found: dict[str, dict[str, str]] = {}
    for base in (FilePath(project_root), FilePath(user_home)):
        for folder in (base / ".agents" / "skills", base / ".claude" / "skills"):
            for entry in _entries(folder):
                text = _listed_text(entry, folder)
                if text is None:
                    continue
                front = _front(text)
                name = front.get("name") or entry.name
                if name not in found:
                    found[name] = {"name": name, "description": front.get("description", ""), "path": entry.name}
    return [found[name] for name in sorted(found)]


def _entries(folder: FilePath) -> list[FilePath]:
    try:
        return sorted(islice(folder.iterdir(), _LISTED))
    except OSError:
        return []


def _listed_text(entry: FilePath, folder: FilePath) -> FilePath | None:
    """The text of a skill in a scanned folder; None where there is none, or where a link leads out of the folder."""
    try:
        text = next((entry / name for name in _TEXTS if (entry / name).is_file()), None)
        return text if text is not None and text.resolve().is_relative_to(folder.resolve()) else None
    except (OSError, RuntimeError):
        return None


def _first(folder: FilePath, names: tuple[str, ...], root: FilePath, source: str) -> FilePath:
    for name in names:
        if (folder / name).is_file():
            return confine_spec_path(folder / name, root)
    raise InvalidRequestError(f"The folder `{source}` holds no {names[0]}.")


def _described(folder: FilePath, root: FilePath, source: str) -> Mapping[str, Any]:
    for name in _DESCRIPTIONS:
        if (folder / name).is_file():
            path = confine_spec_path(folder / name, root)
            try:
                return read_file(path, source=f"{source}/{name}").data()
            except SpecParseError as fault:
                raise InvalidRequestError(str(fault)) from None
    return {}


def _text(path: FilePath, name: str, source: str) -> str:
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise InvalidRequestError(f"The skill `{name}` (`{source}`) has more than {MAX_BYTES} bytes.")
        return content.decode("utf-8")
    except (OSError, UnicodeDecodeError):
        raise InvalidRequestError(f"The skill `{name}` (`{source}`) cannot be read as UTF-8 text.") from None


def _front(path: FilePath) -> dict[str, str]:
    """Name and description in the front matter of a skill's text, as far as it says them."""
    try:
        with path.open("rb") as stream:
            front = _FRONT.match(stream.read(_FRONT_BYTES).decode("utf-8", "ignore"))
        said = read_text(front[1]).data() if front else {}
    except (OSError, SpecParseError):
        return {}
    return {key: text.strip() for key in ("name", "description") if isinstance(text := said.get(key), str)}
