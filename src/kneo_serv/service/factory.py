"""The one place that names concrete backends: everything below asks for what it needs by contract.

Each function imports what it makes when it is called, so that a command which needs one of them pays for that one.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kneo_serv.dispatch import DispatcherFactory
    from kneo_serv.model.secret import Secrets
    from kneo_serv.platform import PlatformManager
    from kneo_serv.platform.options import PlatformOptions
    from kneo_serv.platform.retention import RetentionPolicy
    from kneo_serv.runtime import RuntimeRegistry
    from kneo_serv.service.custom_code import CustomCode
    from kneo_serv.settings import Settings
    from kneo_serv.spec import SpecCompiler
    from kneo_serv.store.continuations import ContinuationFolder
    from kneo_serv.store.contract import Claim, Store
    from kneo_serv.tools import ToolRegistry

DEFAULT_STATE_PATH = ".kneo/kneo_runs.sqlite"


def create_runtime_registry(*, secrets: "Secrets | None" = None) -> "RuntimeRegistry":
    """The runtime modes adapter, bridge and native, with the providers that are installed, and those of plugins.

    `secrets` knows which variables hold which keys; without it, the variables have their usual names.

    Raises:
        SettingsError: a setting has a value that is not allowed.
        PluginError: two plugins have one name, or one has a name that comes with the platform.
    """
    from kneo_serv.runtime.defaults import default_registry
    from kneo_serv.runtime.providers import AVAILABLE
    from kneo_serv.runtime.retry import RetryPolicy
    from kneo_serv.service.plugins import register_runtimes
    from kneo_serv.settings import Settings
    from kneo_serv.tools import load_object

    settings = Settings.from_env(os.environ)
    registry = default_registry(
        environ=os.environ,
        provider_policy=RetryPolicy(
            max_retries=settings.provider_retries,
            backoff_seconds=settings.provider_retry_backoff_seconds,
            timeout_seconds=settings.provider_timeout_seconds,
            retry_on_timeout=settings.provider_retry_on_timeout,
        ),
        load_object=load_object,
        secrets=secrets,
    )
    register_runtimes(registry, taken=AVAILABLE, enabled=settings.plugins)
    return registry


def create_tool_registry(*, include_examples: bool = True) -> "ToolRegistry":
    """A fresh tool registry; with the example tools compress_history, publish_report, summarize and web_search.

    The tools of plugins are in it either way. Raises PluginError, SettingsError.
    """
    from kneo_serv.service.plugins import register_tools
    from kneo_serv.settings import Settings
    from kneo_serv.tools import ToolRegistry, register_example_tools

    registry = ToolRegistry()
    if include_examples:
        register_example_tools(registry)
    register_tools(registry, enabled=Settings.from_env(os.environ).plugins)
    return registry


def middleware_names() -> frozenset[str]:
    """What agents may list under `middleware`: the middlewares of plugins, none of which is imported for it.

    Raises PluginError, SettingsError.
    """
    from kneo_serv.service.plugins import MIDDLEWARES, installed
    from kneo_serv.settings import Settings

    return frozenset(installed(MIDDLEWARES, enabled=Settings.from_env(os.environ).plugins))


def create_persistence_stores(
    *, state_path: str | Path = DEFAULT_STATE_PATH
) -> "tuple[Store, ContinuationFolder | None]":
    """The store of runs in a SQLite file, and the folder beside it that shows open human tasks as readable files.

    With KNEO_SERV_DATABASE_URL it is the one in that PostgreSQL database, or the store of the plugin that serves this
    address; and no folder.

    Raises:
        SettingsError: KNEO_SERV_DATABASE_URL asks for a database that nothing here can use.
        MissingExtraError: PostgreSQL needs libraries that are not installed; the text holds the command.
        PluginError: the plugin cannot be used.
    """
    from kneo_serv.settings import Settings
    from kneo_serv.store.continuations import ContinuationFolder
    from kneo_serv.store.sqlite import SQLiteStore

    settings = Settings.from_env(os.environ)
    if settings.database_url is not None:
        return _database(settings.database_url, settings), None
    path = Path(state_path)
    return SQLiteStore(path, synchronous=settings.sqlite_synchronous), ContinuationFolder(path.parent / "continuations")


def create_platform_manager(
    code: "CustomCode",
    *,
    state_path: str | Path = DEFAULT_STATE_PATH,
    patient: bool = False,
    secrets: "Secrets | None" = None,
    retention: "RetentionPolicy | None" = None,
    **options: Any,
) -> "PlatformManager":
    """A manager with the user's own code in it: the one that their factory builds, or else ours, with their tools.

    Its worker is not started here; a factory may have done so.

    Args:
        code: What the command line, the environment and the project name (`custom_code`).
        state_path: Where runs are kept; a factory decides that itself.
        patient: Whether calls wait until a run rests, as long as it takes, and runs are executed here in any case.
        secrets: Which variables hold which keys; a factory decides that itself.
        retention: What the project says about it; the environment wins, and a factory decides that itself.
        options: Of `PlatformOptions`, by name; they win over the environment and over a factory.

    Raises:
        CustomCodeError: the code is not there, or it failed.
        InvalidRequestError: there are `options`, and the factory's platform is at work already.
        SettingsError: a variable has a value that cannot be used.
    """
    from kneo_serv.settings import Settings

    manager = code.build_manager()
    if manager is None:
        manager = _manager(
            state_path, include_example_tools=True, patient=patient, secrets=secrets, retention=retention
        )
    else:
        # The door looks for specs where the variable says, and schedules made there have to find them again.
        root = manager.options.spec_root or Settings.from_env(os.environ).spec_root
        manager.options = replace(manager.options, spec_root=root)
        if patient:
            manager.options = _patient(manager.options)
    try:
        if options:
            manager.adjust(**options)
        _register(code, manager.compiler)
    except BaseException:
        manager.shutdown(timeout=0)
        raise
    return manager


def create_compiler(code: "CustomCode", *, secrets: "Secrets | None" = None) -> "SpecCompiler":
    """The compiler of such a manager, for those who only look at specs. Raises as `create_platform_manager`."""
    from kneo_serv.spec import SpecCompiler

    manager = code.build_manager()
    if manager is None:
        compiler = SpecCompiler(
            runtime_registry=create_runtime_registry(secrets=secrets),
            tool_registry=create_tool_registry(),
            middleware_names=middleware_names(),
        )
    else:
        compiler = manager.compiler
        # Nothing is to be executed; a factory may have started its worker all the same.
        manager.shutdown(timeout=0)
    _register(code, compiler)
    return compiler


def _register(code: "CustomCode", compiler: "SpecCompiler") -> None:
    from kneo_serv.service.custom_code import CustomCodeError
    from kneo_serv.tools import ToolRegistry

    if not code.tools:
        return
    registry = compiler.tool_registry
    if not isinstance(registry, ToolRegistry):
        raise CustomCodeError(
            code.tools[0],
            "the compiler of the factory's platform has no ToolRegistry that tools could be registered in. Make it "
            "with SpecCompiler(tool_registry=create_tool_registry(), ...).",
        )
    code.register_tools(registry)


def create_local_platform_manager(
    *, state_path: str | Path = DEFAULT_STATE_PATH, include_example_tools: bool = True
) -> "PlatformManager":
    """A manager that executes what it is asked for in this process, and nothing else: what the command line uses.

    Its calls wait until a run rests, since nobody else would execute it. Raises SettingsError.
    """
    return _manager(state_path, include_example_tools, patient=True)


def create_default_platform_manager(
    *, state_path: str | Path = DEFAULT_STATE_PATH, include_example_tools: bool = True
) -> "PlatformManager":
    """A manager whose worker is started: it executes every runnable run of the store, and fires timers.

    Raises SettingsError.
    """
    manager = _manager(state_path, include_example_tools, patient=False)
    manager.start_worker()
    return manager


def _manager(
    state_path: str | Path,
    include_example_tools: bool,
    *,
    patient: bool,
    secrets: "Secrets | None" = None,
    retention: "RetentionPolicy | None" = None,
) -> "PlatformManager":
    from kneo_serv.platform import PlatformManager
    from kneo_serv.platform.retention import RetentionPolicy
    from kneo_serv.service.plugins import middlewares
    from kneo_serv.settings import Settings
    from kneo_serv.spec import SpecCompiler
    from kneo_serv.spec.bundles import KEY_VARIABLE

    settings = Settings.from_env(os.environ)
    options = replace(
        settings.platform_options(),
        spec_signing_key=os.environ.get(KEY_VARIABLE) or None,
        retention=RetentionPolicy.from_env(os.environ, base=retention),
    )
    options = replace(options, mcp=replace(options.mcp, secrets=secrets))
    runs, continuations = create_persistence_stores(state_path=state_path)
    return PlatformManager(
        compiler=SpecCompiler(
            runtime_registry=create_runtime_registry(secrets=secrets),
            tool_registry=create_tool_registry(include_examples=include_example_tools),
        ),
        run_state_store=runs,
        continuation_store=continuations,
        middlewares=middlewares(enabled=settings.plugins),
        dispatcher=_dispatcher(settings.dispatcher, enabled=settings.plugins),
        options=_patient(options) if patient else options,
    )


def _patient(options: "PlatformOptions") -> "PlatformOptions":
    """For a caller who has nobody else to execute what it asks for."""
    return replace(options, patience_seconds=None, worker_concurrency=max(1, options.worker_concurrency), queues=())


def _database(address: str, settings: "Settings") -> "Store":
    from kneo_serv.errors import InvalidRequestError, SettingsError

    if address.split(":", 1)[0].lower() not in ("postgresql", "postgres"):
        return _store(address, enabled=settings.plugins)
    from kneo_serv.store.postgres import PostgresStore

    try:
        return PostgresStore(
            address, pool_size=settings.database_pool_size, behind_pooler=settings.database_behind_pooler
        )
    except InvalidRequestError as error:
        raise SettingsError("KNEO_SERV_DATABASE_URL", str(error)) from None


def _store(address: str, *, enabled: bool) -> "Store":
    from kneo_serv.errors import SettingsError
    from kneo_serv.service.plugins import STORES, installed

    found = installed(STORES, enabled=enabled)
    scheme = address.split(":", 1)[0].lower()
    if scheme not in found:
        known = ", ".join(found) or "none"
        raise SettingsError(
            "KNEO_SERV_DATABASE_URL",
            "this is no address of PostgreSQL (postgresql://...), and no installed plugin serves addresses of the "
            f"scheme {scheme!r} (there: {known}).",
        )
    store: Store = found[scheme].call(address)
    return store


def _dispatcher(name: str, *, enabled: bool) -> "DispatcherFactory[Claim]":
    from kneo_serv.dispatch import EmbeddedDispatcher
    from kneo_serv.errors import SettingsError
    from kneo_serv.service.plugins import DISPATCHERS, installed

    if name == "embedded":
        return EmbeddedDispatcher
    found = installed(DISPATCHERS, enabled=enabled)
    if name not in found:
        known = ", ".join(("embedded", *found))
        raise SettingsError("KNEO_SERV_DISPATCHER", f"there is no dispatcher {name!r} here (there: {known}).")
    return found[name].call
