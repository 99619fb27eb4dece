"""The user's own code that the platform is made with: functions that register tools, and one that builds a platform.

It is named on the command line, in the environment, or in the project's config; whoever comes first in this order wins,
for the tools and for the factory each.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kneo_serv.errors import InvalidRequestError
from kneo_serv.observe import redact_text
from kneo_serv.tools import ToolRegistry, load_callable
from kneo_serv.tools.import_path import place_of

if TYPE_CHECKING:
    from kneo_serv.platform import PlatformManager
    from kneo_serv.settings import Settings
    from kneo_serv.spec import ProjectContext

TOOLS_OPTION = "--tools"
FACTORY_OPTION = "--factory"


class CustomCodeError(InvalidRequestError):
    """The user's own code cannot be used: it is not there, or it failed. `named_by` is the option or key."""

    code = "custom_code_unusable"

    def __init__(self, named: "NamedCode", problem: str) -> None:
        super().__init__(f"{named.by}: {problem}")
        self.named_by = named.by
        self.path = named.path


@dataclass(frozen=True, slots=True)
class NamedCode:
    """Where a function is (`package.module:function`, or with a dot), and which option, variable or key says so."""

    path: str
    by: str


@dataclass(frozen=True, slots=True)
class CustomCode:
    """What a platform is to be made with. Nothing is imported before it is used."""

    tools: tuple[NamedCode, ...] = ()
    factory: NamedCode | None = None

    def load(self) -> None:
        """Imports all of it, and calls nothing. Raises CustomCodeError."""
        for named in (*self.tools, *([self.factory] if self.factory is not None else [])):
            _load(named)

    def register_tools(self, registry: ToolRegistry) -> None:
        """Has every function of `tools` register its tools. Raises CustomCodeError."""
        for named in self.tools:
            before = dict(registry.definitions)
            register = _load(named)
            returned = _call(named, register, registry, takes="It is called with the ToolRegistry.")
            if returned is not None and registry.definitions == before:
                raise CustomCodeError(
                    named,
                    f"{named.path!r} registered no tool. It is called with the ToolRegistry, and adds its tools there: "
                    "registry.register(ToolDefinition(...), handler).",
                )

    def build_manager(self) -> "PlatformManager | None":
        """What the factory builds; None where there is none. Raises CustomCodeError."""
        from kneo_serv.platform import PlatformManager

        if self.factory is None:
            return None
        manager = _call(self.factory, _load(self.factory), takes="It is called without arguments.")
        if not isinstance(manager, PlatformManager):
            raise CustomCodeError(
                self.factory,
                f"{self.factory.path!r} has to return a PlatformManager, and returned {_described(manager)}.",
            )
        return manager


def custom_code(
    *,
    tools: Sequence[str] = (),
    factory: str | None = None,
    settings: "Settings | None" = None,
    project: "ProjectContext | None" = None,
) -> CustomCode:
    """What the command line (`tools`, `factory`), the environment or the project names, in this order."""
    block = project.config.platform if project is not None and project.config is not None else None
    where = f" of {project.config_path}" if project is not None and project.config_path is not None else ""
    set_tools = settings.tools if settings is not None else ()
    set_factory = settings.factory if settings is not None else None
    return CustomCode(
        tools=_named(tools, TOOLS_OPTION)
        or _named(set_tools, "KNEO_SERV_TOOLS")
        or _named(block.tools if block is not None else (), f"platform.tools{where}"),
        factory=_first(
            _named([factory] if factory else (), FACTORY_OPTION),
            _named([set_factory] if set_factory else (), "KNEO_SERV_FACTORY"),
            _named([block.factory] if block is not None and block.factory else (), f"platform.factory{where}"),
        ),
    )


def _named(paths: Sequence[str], by: str) -> tuple[NamedCode, ...]:
    return tuple(NamedCode(path.strip(), by) for path in paths)


def _first(*found: tuple[NamedCode, ...]) -> NamedCode | None:
    return next((names[0] for names in found if names), None)


def _load(named: NamedCode) -> Callable[..., Any]:
    dotted = named.path.replace(":", ".")
    if named.path.count(":") > 1 or "." not in dotted or not all(part.isidentifier() for part in dotted.split(".")):
        raise CustomCodeError(named, f"{named.path!r} is no import path: write package.module:function.")
    try:
        return load_callable(dotted)
    except InvalidRequestError as error:
        raise CustomCodeError(named, redact_text(error.message)) from error


def _call(named: NamedCode, function: Callable[..., Any], *arguments: Any, takes: str) -> Any:
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError as error:
        raise CustomCodeError(named, f"{named.path!r} cannot be called: {error}. {takes}") from None
    except ValueError:
        pass  # it says nothing about its arguments, so one has to try
    try:
        returned = function(*arguments)
    except BaseException as error:  # the user's code may raise anything, SystemExit included
        if isinstance(error, KeyboardInterrupt):
            raise
        place = place_of(error)
        where = f" ({place})" if place else ""
        raise CustomCodeError(
            named, f"{named.path!r} raised {type(error).__name__}: {redact_text(str(error))}{where}. {takes}"
        ) from error
    if inspect.iscoroutine(returned):
        returned.close()
        raise CustomCodeError(named, f"{named.path!r} is an async function; a plain one is needed.")
    return returned


def _described(value: Any) -> str:
    return "nothing" if value is None else f"a value of type {type(value).__name__}"
