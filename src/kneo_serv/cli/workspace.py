"""Where a command works: the folder of the project, its state, and what its configuration leaves to be said."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kneo_serv.cli.files import existing_file

if TYPE_CHECKING:
    from kneo_serv.model.secret import Secrets
    from kneo_serv.platform.retention import RetentionPolicy
    from kneo_serv.service.custom_code import CustomCode
    from kneo_serv.spec.project import ProjectContext

STATE = Path(".kneo") / "kneo_runs.sqlite"
"""Where runs are kept, in the folder of the project."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """A project folder, seen with the eyes of one environment. Without a configuration it is the current folder."""

    root: Path
    environment: str
    state_path: Path
    project: "ProjectContext"
    tools: tuple[str, ...] = ()
    """Import paths of functions that register tools, as the command line names them."""
    factory: str | None = None
    """Import path of a function that builds the platform, likewise."""
    environ: Mapping[str, str] = field(default_factory=dict)

    @property
    def code(self) -> "CustomCode":
        """The user's own code that the platform is made with here; nothing of it is imported yet.

        Raises:
            SettingsError: a variable has a value that cannot be used.
        """
        from kneo_serv.service.custom_code import custom_code
        from kneo_serv.settings import Settings

        return custom_code(
            tools=self.tools, factory=self.factory, settings=Settings.from_env(self.environ), project=self.project
        )

    @property
    def secrets(self) -> "Secrets":
        """Which variables hold which keys, as the project's config says."""
        from kneo_serv.model.secret import Secrets

        config = self.project.config
        if config is None:
            return Secrets(self.environ)
        return Secrets(self.environ, config.secrets.provider_env, config.secrets.extra_env)

    @property
    def retention(self) -> "RetentionPolicy":
        """How long the project's config says that things are kept."""
        from kneo_serv.platform.retention import DAYS, RetentionPolicy

        config = self.project.config
        if config is None:
            return RetentionPolicy()
        local = config.local
        return RetentionPolicy(
            **config.retention.model_dump(include=set(DAYS)),
            artifact_path=self.project.path(local.artifact_path) if local.artifact_path else None,
            log_path=self.project.path(local.log_path) if local.log_path else None,
        )

    def spec(self, given: Path | None) -> Path:
        """The spec to work on: the one that was named (from here, or else from the root), or the project's own.

        Raises:
            InvalidRequestError: there is neither.
            FileError: there is no such file.
        """
        if given is None:
            return existing_file(self.project.spec_path())
        in_project = self.root / given
        return in_project if in_project.is_file() and not given.exists() else existing_file(given)

    def overlays(self, given: Sequence[Path] | None = None) -> list[str]:
        """Paths of the environment's overlays, then of those that were named."""
        return [str(path) for path in (*self.project.overlay_paths(), *map(existing_file, given or ()))]


def open_workspace(
    environment: str | None = None,
    *,
    tools: Sequence[str] | None = None,
    factory: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Workspace:
    """The workspace around the current folder. The project's own functions can be imported from now on.

    `tools` and `factory` are what the command line names; else the environment or the project does.

    Raises:
        SpecParseError: the project's configuration cannot be used.
    """
    from kneo_serv.spec.project import discover

    folder = Path.cwd()
    project = discover(folder, environ, environment=environment)
    for place in dict.fromkeys([str(project.root), str(folder)]):
        if place not in sys.path:
            sys.path.insert(0, place)
    state = STATE if project.config is None else Path(project.config.local.state_path)
    return Workspace(
        root=project.root,
        environment=project.environment,
        state_path=project.path(str(state)),
        project=project,
        tools=tuple(tools or ()),
        factory=factory,
        environ=environ,
    )
