"""Plugins: what installed distributions add to a platform by packaging entry points.

| Group | An entry point's name | What it leads to |
|---|---|---|
| `kneo_serv.tools` | any | a function that is called with the `ToolRegistry` |
| `kneo_serv.middlewares` | the middleware's name in specs | a middleware, or a class of one |
| `kneo_serv.providers` | the provider's name in specs | a `runtime.ProviderFactory` |
| `kneo_serv.runtimes` | the mode's name in specs | a `runtime.RuntimeFactory` |
| `kneo_serv.stores` | the scheme of KNEO_SERV_DATABASE_URL | a function from that address to a `Store` |
| `kneo_serv.dispatchers` | the word for KNEO_SERV_DISPATCHER | a `dispatch.DispatcherFactory` |

Providers, runtimes, stores and dispatchers are imported only when a spec or a setting names them.
"""

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from typing import TYPE_CHECKING, Any, cast

from kneo_serv.errors import KneoError, ProviderError
from kneo_serv.observe import redact_error

if TYPE_CHECKING:
    from kneo_serv.model.plan import ModelPlan, RuntimePreferences
    from kneo_serv.platform.wrapping import AnyMiddleware
    from kneo_serv.runtime import Runtime, RuntimeRegistry
    from kneo_serv.tools import ToolRegistry

TOOLS = "kneo_serv.tools"
MIDDLEWARES = "kneo_serv.middlewares"
PROVIDERS = "kneo_serv.providers"
RUNTIMES = "kneo_serv.runtimes"
STORES = "kneo_serv.stores"
DISPATCHERS = "kneo_serv.dispatchers"

_MEND = "Mend or uninstall it, or leave all plugins out with KNEO_SERV_PLUGINS=off."


class PluginError(KneoError, RuntimeError):
    """A plugin cannot be used. The text names its distribution, its entry point and what went wrong."""

    code = "plugin_unusable"

    def __init__(self, message: str, *, group: str, entry_point: str, distribution: str) -> None:
        super().__init__(message)
        self.group = group
        self.entry_point = entry_point
        self.distribution = distribution


@dataclass(frozen=True)
class Plugin:
    """One entry point of one installed distribution."""

    group: str
    name: str
    target: str
    """`module:attribute`."""
    distribution: str
    """Name and version."""
    entry: metadata.EntryPoint

    @property
    def label(self) -> str:
        """How texts call it."""
        return f"plugin {self.name!r} of {self.distribution} (entry point {self.target!r} in {self.group})"

    @cached_property
    def loaded(self) -> Callable[..., Any]:
        """What the entry point leads to, imported now. Raises PluginError."""
        try:
            found = self.entry.load()
        except Exception as error:
            raise self.failure("cannot be loaded", error) from error
        if not callable(found) and self.group != MIDDLEWARES:
            raise self.refusal(f"leads to a {type(found).__name__}, which cannot be called")
        return cast("Callable[..., Any]", found)

    def call(self, *args: Any, **options: Any) -> Any:
        """What it makes of this. Raises PluginError for whatever goes wrong in it, but lets our own errors through."""
        function = self.loaded
        try:
            return function(*args, **options)
        except KneoError:
            raise
        except Exception as error:
            raise self.failure("failed when it was called", error) from error

    def failure(self, what: str, error: Exception) -> PluginError:
        """The error that tells of one of the plugin's own."""
        return self.refusal(f"{what}: {type(error).__name__}: {redact_error(str(error))}".rstrip(": "))

    def refusal(self, what: str) -> PluginError:
        """The error that says what is wrong with the plugin."""
        text = f"The {self.label} {what}. {_MEND}"
        return PluginError(text, group=self.group, entry_point=self.name, distribution=self.distribution)


def installed(group: str, *, enabled: bool = True) -> Mapping[str, Plugin]:
    """The plugins of a group by name, sorted; none of them is imported. Empty when plugins are switched off.

    Raises:
        PluginError: two of them have the same name.
    """
    found: dict[str, Plugin] = {}
    if not enabled:
        return found
    plugins = [_plugin(group, entry) for entry in metadata.entry_points(group=group)]
    for plugin in sorted(plugins, key=lambda each: (each.name, each.distribution)):
        other = found.setdefault(plugin.name, plugin)
        if other is not plugin:
            raise other.refusal(f"has the same name as the {plugin.label}: only one of them can be installed")
    return found


def register_tools(registry: "ToolRegistry", *, enabled: bool) -> None:
    """Has each plugin add its tools. Raises PluginError, also for a tool that is there already."""
    owners: dict[str, str] = dict.fromkeys(registry.definitions, "the platform")
    for plugin in installed(TOOLS, enabled=enabled).values():
        before = dict(registry.definitions)
        plugin.call(registry)
        for name, definition in registry.definitions.items():
            if name in before and before[name] is not definition:
                raise plugin.refusal(f"replaces the tool {name!r} of {owners[name]}")
            owners.setdefault(name, f"the {plugin.label}")


def register_runtimes(registry: "RuntimeRegistry", *, taken: Collection[str], enabled: bool) -> None:
    """Adds the providers and modes of plugins; each is imported when a spec names it.

    Raises:
        PluginError: a mode or provider (of `taken`) that comes with the platform has the same name.
    """
    for name, plugin in installed(PROVIDERS, enabled=enabled).items():
        if name in taken:
            raise plugin.refusal(f"has the name of a provider that comes with the platform ({', '.join(taken)})")
        provider = _Lazy(plugin)
        registry.register_provider(name, provider, problem=provider.problem)
    own = registry.modes
    for name, plugin in installed(RUNTIMES, enabled=enabled).items():
        if name in own:
            raise plugin.refusal(f"has the name of a mode that comes with the platform ({', '.join(own)})")
        mode = _Lazy(plugin)
        registry.register(name, mode, problem=mode.problem)


def middlewares(*, enabled: bool) -> "dict[str, AnyMiddleware]":
    """The middlewares of plugins by name; of a class, an instance. Raises PluginError."""
    from kneo_serv.middleware import check

    found: dict[str, AnyMiddleware] = {}
    for name, plugin in installed(MIDDLEWARES, enabled=enabled).items():
        middleware = plugin.call() if inspect.isclass(plugin.loaded) else plugin.loaded
        try:
            check(middleware, "wrap_run", "wrap_tool_call")
        except KneoError as error:
            raise plugin.failure("cannot be used", error) from error
        found[name] = cast("AnyMiddleware", middleware)
    return found


class _Lazy:
    """A factory that is imported when it is asked for the first time. Asked beforehand, it tells what is wrong."""

    def __init__(self, plugin: Plugin) -> None:
        self._plugin = plugin

    def __call__(self, *, model: "ModelPlan | None", preferences: "RuntimePreferences", **more: Any) -> "Runtime":
        try:
            return cast("Runtime", self._plugin.call(model=model, preferences=preferences, **more))
        except PluginError as error:
            raise ProviderError(error.message, provider=self._plugin.name) from error

    def problem(self, *, model: "ModelPlan | None", preferences: "RuntimePreferences", **more: Any) -> str | None:
        try:
            probe = getattr(self._plugin.loaded, "problem", None)
            return None if probe is None else probe(model=model, preferences=preferences, **more)
        except PluginError as error:
            return error.message
        except Exception as error:  # noqa: BLE001 - whatever a probe raises, the plugin cannot be relied on
            return self._plugin.failure("failed when it was asked what it lacks", error).message


def _plugin(group: str, entry: metadata.EntryPoint) -> Plugin:
    distribution = entry.dist
    name = "an unknown distribution" if distribution is None else f"{distribution.name} {distribution.version}"
    return Plugin(group, entry.name, entry.value, name, entry)
