"""Code of the user's own: who names it, how it is loaded, and what is said when it cannot be."""

import itertools
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from kneo_serv.errors import SettingsError
from kneo_serv.service.custom_code import CustomCode, CustomCodeError, NamedCode, custom_code
from kneo_serv.service.factory import create_compiler, create_platform_manager
from kneo_serv.settings import Settings
from kneo_serv.spec import discover
from kneo_serv.tools import ToolRegistry

NUMBERS = itertools.count()
TOOLS = """\
from kneo_serv.tools import ToolDefinition


def greet(args):
    return f"hello {args['name']}"


def register(registry):
    registry.register(ToolDefinition(name="greet", description="Greets.", parameters={"type": "object"}), greet)


class Group:
    def __call__(self, registry):
        register(registry)


group = Group()


def forget(registry):
    return "hello"


def none():
    pass


async def later(registry):
    register(registry)


def burst(registry):
    names = {}
    return names["password=hunter2"]


def leave(registry):
    raise SystemExit(3)
"""
FACTORY = """\
from kneo_serv.platform import PlatformManager
from kneo_serv.service.factory import create_persistence_stores, create_runtime_registry, create_tool_registry
from kneo_serv.spec import SpecCompiler


def build(tools=True):
    runs, continuations = create_persistence_stores(state_path="own/runs.sqlite")
    registry = create_tool_registry() if tools else None
    return PlatformManager(
        compiler=SpecCompiler(runtime_registry=create_runtime_registry(), tool_registry=registry),
        run_state_store=runs,
        continuation_store=continuations,
    )


def build_started():
    manager = build()
    manager.start_worker()
    return manager


def build_without_tools():
    return build(tools=False)


def build_number():
    return 7


def build_nothing():
    pass
"""
CONFIG = """\
project: {name: shop}
platform:
  tools: [shop.tools:register]
  factory: shop.platform:build
  theme: dark
"""

type Module = Callable[[str], str]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Module:
    """Writes a module and gives its name, which no other test has, since an imported one stays in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(source: str) -> str:
        name = f"own_code_{next(NUMBERS)}"
        (tmp_path / f"{name}.py").write_text(source)
        return name

    return write


def problem(path: str, *, factory: bool = False) -> str:
    """What is said about code that cannot be used."""
    code = custom_code(factory=path) if factory else custom_code(tools=[path])
    with pytest.raises(CustomCodeError) as caught:
        create_compiler(code)
    error = caught.value
    by = "--factory" if factory else "--tools"
    assert (error.code, error.facts()) == ("custom_code_unusable", {"named_by": by, "path": path})
    assert error.message.startswith(f"{by}: ")
    return error.message


@pytest.mark.parametrize("name", [":register", ".register", ":group"])
def test_a_callable_gets_the_registry_by_either_spelling(module: Module, name: str) -> None:
    compiler = create_compiler(custom_code(tools=[module(TOOLS) + name]))
    assert isinstance(compiler.tool_registry, ToolRegistry)
    assert {"greet", "web_search"} <= set(compiler.tool_registry.definitions)


def test_the_option_wins_over_the_variable_and_the_variable_over_the_project(tmp_path: Path) -> None:
    (tmp_path / "kneo_serv.yaml").write_text(CONFIG)
    project = discover(tmp_path, {})
    settings = Settings.from_env({"KNEO_SERV_TOOLS": "a.b:c, d.e", "KNEO_SERV_FACTORY": "f:g"})
    by_project = f" of {tmp_path / 'kneo_serv.yaml'}"
    assert custom_code() == CustomCode()
    assert custom_code(project=project) == CustomCode(
        (NamedCode("shop.tools:register", f"platform.tools{by_project}"),),
        NamedCode("shop.platform:build", f"platform.factory{by_project}"),
    )
    assert custom_code(project=project, settings=settings) == CustomCode(
        (NamedCode("a.b:c", "KNEO_SERV_TOOLS"), NamedCode("d.e", "KNEO_SERV_TOOLS")),
        NamedCode("f:g", "KNEO_SERV_FACTORY"),
    )
    given = custom_code(tools=["x:y"], settings=settings, project=project)
    assert given.tools == (NamedCode("x:y", "--tools"),)
    assert given.factory == NamedCode("f:g", "KNEO_SERV_FACTORY")


@pytest.mark.parametrize("variable", ["KNEO_SERV_TOOLS", "KNEO_SERV_FACTORY"])
@pytest.mark.parametrize("value", ["register", "a:b:c", "a b.c", "../a.py:b"])
def test_a_variable_that_holds_no_import_path_is_refused(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=r"my_package\.my_module:my_function"):
        Settings.from_env({variable: value})


@pytest.mark.parametrize("path", ["register", "a:b:c", "my tools:register", "../my_tools.py:register", ":register"])
def test_what_is_no_import_path_is_told_with_the_form_of_one(path: str) -> None:
    assert f"{path!r} is no import path: write package.module:function." in problem(path)


def test_a_name_that_is_not_there_is_told_with_near_ones(module: Module) -> None:
    name = module(TOOLS)
    told = problem(f"{name}:regster")
    assert f"module {name!r} has no 'regster'. Did you mean 'register'?" in told
    assert "there is no module 'no_such_module'" in problem("no_such_module:register")


def test_code_that_fails_on_import_is_told_with_its_error_and_line(module: Module) -> None:
    name = module("import json\n\n\njson.loads('no json')\n")
    told = problem(f"{name}:register")
    assert "raised JSONDecodeError: Expecting value" in told
    assert told.endswith(f"({name}.py, line 4)")
    name = module("def register(registry)\n    pass\n")
    told = problem(f"{name}:register")
    assert "raised SyntaxError: expected ':'" in told
    assert told.endswith(f"({name}.py, line 1)")
    name = module("import not_installed_anywhere\n")
    assert "imports 'not_installed_anywhere', which is not installed" in problem(f"{name}:register")


def test_code_that_fails_when_it_is_called_is_told_with_its_error_and_line_and_without_secrets(module: Module) -> None:
    name = module(TOOLS)
    told = problem(f"{name}:burst")
    assert "raised KeyError: 'password=[REDACTED]'" in told
    assert f"({name}.py, line 34). It is called with the ToolRegistry." in told
    assert "raised SystemExit: 3" in problem(f"{name}:leave")


def test_a_function_of_another_kind_is_told_what_is_needed(module: Module) -> None:
    name = module(TOOLS)
    assert "registered no tool. It is called with the ToolRegistry" in problem(f"{name}:forget")
    assert "cannot be called: too many positional arguments" in problem(f"{name}:none")
    assert "is an async function; a plain one is needed" in problem(f"{name}:later")
    assert "it is a str, not a function" in problem(f"{name}:__name__")


def test_a_factory_builds_the_platform_and_tools_are_added_to_its_own(module: Module) -> None:
    factory = f"{module(FACTORY)}:build"
    manager = create_platform_manager(custom_code(factory=factory, tools=[f"{module(TOOLS)}:register"]), patient=True)
    try:
        assert isinstance(manager.compiler.tool_registry, ToolRegistry)
        assert "greet" in manager.compiler.tool_registry.definitions
        assert manager.options.patience_seconds is None
        assert manager.count_runs() == 0
        assert Path("own/runs.sqlite").exists()
    finally:
        manager.shutdown()


def test_a_factory_that_is_asked_for_its_compiler_leaves_nothing_running(module: Module) -> None:
    compiler = create_compiler(custom_code(factory=f"{module(FACTORY)}:build_started"))
    assert compiler.runtime_registry is not None
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("kneo-platform")] == []


@pytest.mark.parametrize(
    ("function", "told"),
    [
        ("build_number", "has to return a PlatformManager, and returned a value of type int."),
        ("build_nothing", "has to return a PlatformManager, and returned nothing."),
        ("bild", "Did you mean 'build'"),
    ],
)
def test_a_factory_that_gives_something_else_is_told_what_is_needed(module: Module, function: str, told: str) -> None:
    assert told in problem(f"{module(FACTORY)}:{function}", factory=True)


def test_tools_need_a_registry_in_the_factorys_platform(module: Module) -> None:
    code = custom_code(factory=f"{module(FACTORY)}:build_without_tools", tools=[f"{module(TOOLS)}:register"])
    with pytest.raises(CustomCodeError, match="has no ToolRegistry"):
        create_platform_manager(code)


def test_a_platform_without_code_of_ones_own_is_the_usual_one(tmp_path: Path) -> None:
    manager = create_platform_manager(CustomCode(), state_path=tmp_path / "runs.sqlite")
    try:
        assert manager.count_runs() == 0
        assert manager.options.patience_seconds is not None
    finally:
        manager.shutdown()
