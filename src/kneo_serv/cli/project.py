"""The project's configuration: which file it is, and what it says to the command line."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from kneo_serv.cli.files import existing_file
from kneo_serv.errors import InvalidRequestError, SettingsError

VARIABLE = "KNEO_PROJECT_CONFIG"
"""Environment variable that names the file instead of a search."""
FILES = (".kneo/config.yaml", ".kneo/config.yml", "kneo_serv.yaml", "kneo_serv.yml")
"""Where the file is looked for, in the folder and each one above it."""
_BLOCKS: Mapping[str, tuple[str, ...]] = {
    "project": ("name", "owner", "description", "default_environment", "tags"),
    "local": ("state_path",),
    "specs": ("default_spec", "overlays"),
}
_LATER = (
    *("service", "runtime_defaults", "model_defaults", "policy_defaults", "secrets", "retention", "environments"),
)
"""Blocks that belong to a configuration but say nothing to this version."""


@dataclass(frozen=True, slots=True)
class Project:
    """What a configuration says. Paths are absolute; `content` is the file as it is, `unused` its blocks for others."""

    root: Path
    path: Path
    name: str
    default_environment: str = "dev"
    state_path: Path | None = None
    default_spec: Path | None = None
    overlays: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    content: Mapping[str, Any] = field(default_factory=dict)
    unused: tuple[str, ...] = ()


def find_config(folder: Path, environ: Mapping[str, str]) -> Path | None:
    """The configuration for a folder: the file that the variable names, else the nearest one above.

    Raises:
        SettingsError: the variable names a file that is not there.
    """
    named = environ.get(VARIABLE, "").strip()
    if named:
        path = (folder / Path(named).expanduser()).resolve()
        if not path.is_file():
            raise SettingsError(VARIABLE, f"There is no file {path}.")
        return path
    for place in (folder, *folder.parents):
        for name in FILES:
            if (place / name).is_file():
                return place / name
    return None


def read_project(path: Path) -> Project:
    """The project that a configuration describes.

    Raises:
        SpecParseError: the file is no YAML mapping; names the line and column.
        InvalidRequestError: a block or a field is unknown or has the wrong type; names it and the nearest one.
    """
    from kneo_serv.spec.reader import read_file

    content = read_file(existing_file(path)).data()
    block = _Block(path, "", content)
    block.refuse_unknown((*_BLOCKS, *_LATER))
    project, local, specs = (block.inner(name) for name in _BLOCKS)
    for part in (project, local, specs):
        part.refuse_unknown(_BLOCKS[part.name])
    root = path.parent.parent if path.parent.name == ".kneo" else path.parent
    overlays = specs.inner("overlays")
    return Project(
        root=root,
        path=path,
        name=project.text("name") or root.name,
        default_environment=project.text("default_environment") or "dev",
        state_path=_under(root, local.text("state_path")),
        default_spec=_under(root, specs.text("default_spec")),
        overlays={str(name): tuple(root / item for item in overlays.texts(name)) for name in overlays.values},
        content=content,
        unused=tuple(name for name in _LATER if content.get(name)),
    )


def _under(root: Path, text: str | None) -> Path | None:
    return None if text is None else root / Path(text).expanduser()


@dataclass(frozen=True, slots=True)
class _Block:
    path: Path
    name: str
    values: Mapping[str, Any]

    def inner(self, name: str) -> "_Block":
        value = self.values.get(name)
        if value is None:
            return _Block(self.path, name, {})
        if not isinstance(value, dict):
            raise self._wrong(name, "a mapping", value)
        return _Block(self.path, name, value)

    def text(self, name: str) -> str | None:
        value = self.values.get(name)
        if value is not None and not isinstance(value, str):
            raise self._wrong(name, "a text", value)
        return value

    def texts(self, name: str) -> list[str]:
        value = self.values.get(name) or []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._wrong(name, "a list of texts", value)
        return value

    def refuse_unknown(self, known: tuple[str, ...]) -> None:
        for name in self.values:
            if name not in known:
                near = get_close_matches(str(name), known, n=1)
                mend = f"Did you mean {near[0]}?" if near else f"There are {', '.join(known)}."
                raise InvalidRequestError(f"{self.path}: {self._place(name)} is unknown. {mend}")

    def _wrong(self, name: str, wanted: str, value: Any) -> InvalidRequestError:
        return InvalidRequestError(
            f"{self.path}: {self._place(name)} must be {wanted}; it is a {type(value).__name__}."
        )

    def _place(self, name: object) -> str:
        return f"{self.name}.{name}" if self.name else str(name)
