"""The project around a spec: found by walking up from a folder, and asked for paths and defaults."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from kneo_serv.errors import InvalidRequestError, SpecParseError
from kneo_serv.spec.environment_policy import EnvironmentPolicy
from kneo_serv.spec.faults import describe
from kneo_serv.spec.merge import fill
from kneo_serv.spec.node import SourceMap
from kneo_serv.spec.path import Path, look_up, show
from kneo_serv.spec.project_config import ProjectConfig
from kneo_serv.spec.reader import read_file

CONFIG_NAMES = (".kneo/config.yaml", ".kneo/config.yml", "kneo_serv.yaml", "kneo_serv.yml")
CONFIG_VARIABLE = "KNEO_PROJECT_CONFIG"
ENVIRONMENT_VARIABLE = "KNEO_ENV"


@dataclass(frozen=True, slots=True)
class ProjectContext:
    """A project in one environment. Without a config file, the root is the folder that was asked about."""

    root: FilePath
    environment: str
    config: ProjectConfig | None = None
    config_path: FilePath | None = None

    def spec_path(self, given: str | None = None) -> FilePath:
        """The spec that is meant: the given one, or the default one; relative paths start from the root.

        Raises:
            InvalidRequestError: none is given and none is configured.
        """
        chosen = given or (self.config.specs.default_spec if self.config else None)
        if not chosen:
            raise InvalidRequestError(
                "No spec is named and none is configured: give a path, or set `specs.default_spec` in the config."
            )
        return self.path(chosen)

    def path(self, given: str) -> FilePath:
        """The path as seen from the root."""
        return self.root / FilePath(given).expanduser()

    def overlay_paths(self) -> list[FilePath]:
        """The overlays of the environment, in order.

        Raises:
            SpecParseError: a configured file is not there; names it.
        """
        written = self.config.specs.overlays.get(self.environment, []) if self.config else []
        found: list[FilePath] = []
        for item in written:
            path = self.path(item)
            if not path.is_file():
                raise SpecParseError(
                    f"The overlay `{item}` of environment `{self.environment}` is not there. Create it, or remove it "
                    f"from `specs.overlays.{self.environment}`.",
                    source=str(self.config_path) if self.config_path else None,
                )
            found.append(path)
        return found

    def defaults(self) -> dict[str, Any]:
        """What fills a spec where it is silent: `environments.<env>.defaults` first, then the project's defaults."""
        config = self.config
        if config is None:
            return {}
        agent: dict[str, Any] = {}
        if config.runtime_defaults is not None:
            agent["runtime_preferences"] = config.runtime_defaults.model_dump(exclude_none=True)
        model = config.model_defaults.get(self.environment)
        if model is not None and model.provider and model.name:
            agent["model"] = model.model_dump(exclude_none=True, exclude_defaults=True)
        project: dict[str, Any] = {"metadata": {"project": config.project.name, "environment": self.environment}}
        if agent:
            project["agent"] = agent
        if config.policy_defaults:
            project["policies"] = {"project_defaults": dict(config.policy_defaults)}
        environment = config.environments.get(self.environment)
        if environment is None:
            return project
        filled = fill(environment.defaults, project)
        own = environment.defaults.get("agent")
        if agent and isinstance(own, Mapping):
            filled["agent"] = {**agent, **own}
        return filled

    def policy(self) -> EnvironmentPolicy | None:
        """What the environment demands of specs, if it demands anything."""
        block = self.config.environments.get(self.environment) if self.config else None
        return block.policy_enforcement if block is not None else None


def discover(start: str | FilePath, environ: Mapping[str, str], *, environment: str | None = None) -> ProjectContext:
    """The project that holds the folder `start`, in the environment that is asked for, set, or configured.

    Raises:
        SpecParseError: the config file cannot be used, or KNEO_PROJECT_CONFIG names no file.
    """
    folder = FilePath(start).resolve()
    wanted = environ.get(CONFIG_VARIABLE, "")
    if wanted:
        path = (folder / FilePath(wanted).expanduser()).resolve()
        if not path.is_file():
            raise SpecParseError(f"{CONFIG_VARIABLE} names `{wanted}`, and there is no such file.")
    else:
        found = _search(folder)
        if found is None:
            return ProjectContext(folder, environment or environ.get(ENVIRONMENT_VARIABLE) or "dev")
        path = found
    config = read_config(path)
    root = path.parent.parent if path.parent.name == ".kneo" else path.parent
    chosen = environment or environ.get(ENVIRONMENT_VARIABLE) or config.project.default_environment
    return ProjectContext(root, chosen, config, path)


def read_config(path: str | FilePath) -> ProjectConfig:
    """The config in a file.

    Raises:
        SpecParseError: it cannot be read or a value cannot be used; names every place.
    """
    document = read_file(path)
    data = document.data()
    try:
        return ProjectConfig.model_validate({key: value for key, value in data.items() if value is not None})
    except ValidationError as failure:
        problems = []
        first: Path = ()
        for item in failure.errors(include_url=False, include_input=False, include_context=False):
            place = tuple(item["loc"])
            first = first or place
            problems.append(f"`{show(place)}` {_words(item['type'], look_up(data, place))}")
        mark = SourceMap([document]).locate(first)
        raise SpecParseError(
            f"The project config cannot be used: {'; '.join(problems)}.",
            source=str(path),
            line=mark.line,
            column=mark.column,
        ) from None


def _search(folder: FilePath) -> FilePath | None:
    for place in (folder, *folder.parents):
        for name in CONFIG_NAMES:
            if (place / name).is_file():
                return place / name
    return None


def _words(kind: str, value: Any) -> str:
    match kind:
        case "missing":
            return "is required and missing"
        case "extra_forbidden":
            return "is not known"
        case "greater_than_equal":
            return "must not be below 0"
        case "literal_error":
            return "is none of the values that are allowed"
        case _:
            return f"cannot be {describe(value)}"
