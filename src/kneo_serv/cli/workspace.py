"""Where a command works: the folder of the project, its state, and what its configuration leaves to be said."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kneo_serv.errors import InvalidRequestError


@dataclass(frozen=True, slots=True)
class Workspace:
    """A project folder, seen with the eyes of one environment."""

    root: Path
    environment: str
    state_path: Path
    default_spec: Path | None = None
    environment_overlays: tuple[Path, ...] = ()

    def spec(self, given: Path | None) -> Path:
        """The spec to work on: the one that was named, else the project's own.

        Raises:
            InvalidRequestError: neither is there.
        """
        if given is not None:
            return given
        if self.default_spec is None:
            raise InvalidRequestError("No spec was named, and the project has no default_spec: give the path of one.")
        return self.default_spec

    def overlays(self, given: Sequence[Path] | None) -> list[str]:
        """Paths of the environment's overlays, then of those that were named."""
        return [str(path) for path in (*self.environment_overlays, *(given or ()))]


def open_workspace(environment: str | None = None) -> Workspace:
    """The workspace of the current folder. Functions of the project can be imported from now on."""
    root = Path.cwd()
    for folder in (str(root), os.getcwd()):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    return Workspace(root=root, environment=environment or "dev", state_path=root / ".kneo" / "kneo_runs.sqlite")
