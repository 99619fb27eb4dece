"""Where a command works: the folder of the project, its state, and what its configuration leaves to be said."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kneo_serv.cli.files import existing_file
from kneo_serv.cli.project import Project, find_config, read_project
from kneo_serv.errors import InvalidRequestError

STATE = Path(".kneo") / "kneo_runs.sqlite"
"""Where runs are kept, in the folder of the project."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """A project folder, seen with the eyes of one environment. Without a configuration it is the current folder."""

    root: Path
    environment: str
    state_path: Path
    project: Project | None = None

    def spec(self, given: Path | None) -> Path:
        """The spec to work on: the one that was named, else the project's own.

        Raises:
            InvalidRequestError: there is neither.
            FileError: there is no such file.
        """
        if given is not None:
            in_project = self.root / given
            return in_project if in_project.is_file() and not given.exists() else existing_file(given)
        if self.project is None or self.project.default_spec is None:
            raise InvalidRequestError(
                "No spec was named, and there is no specs.default_spec in a project configuration: "
                "give the path of a spec."
            )
        return existing_file(self.project.default_spec)

    def overlays(self, given: Sequence[Path] | None = None) -> list[str]:
        """Paths of the environment's overlays, then of those that were named."""
        own = self.project.overlays.get(self.environment, ()) if self.project else ()
        return [str(existing_file(path)) for path in (*own, *(given or ()))]


def open_workspace(environment: str | None = None, *, environ: Mapping[str, str] = os.environ) -> Workspace:
    """The workspace around the current folder. The project's own functions can be imported from now on."""
    folder = Path.cwd()
    config = find_config(folder, environ)
    project = None if config is None else read_project(config)
    root = folder if project is None else project.root
    for place in dict.fromkeys([str(root), str(folder)]):
        if place not in sys.path:
            sys.path.insert(0, place)
    return Workspace(
        root=root,
        environment=environment or (project.default_environment if project else "dev"),
        state_path=(project.state_path if project else None) or root / STATE,
        project=project,
    )
