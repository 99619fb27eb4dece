"""Plugins of installed distributions: found by entry points, loaded when needed, named when they are broken."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kneo_serv.errors import ProviderError, SettingsError
from kneo_serv.model.message import Message, Role, TurnRequest
from kneo_serv.model.plan import AgentPlan, ModelPlan, RuntimeMode, RuntimePreferences
from kneo_serv.runtime import RuntimeRegistry
from kneo_serv.service import factory
from kneo_serv.service.plugins import PluginError, installed
from kneo_serv.store.sqlite import SQLiteStore
from tests.service.distributions import install

TOOLS = """
from kneo_serv.tools import ToolDefinition

def register(registry):
    registry.register(ToolDefinition("{name}", "A tool."), lambda args: "from {name}")
"""
PARROT = """
from kneo_serv.runtime import AdapterRuntime

class Parrot:
    def __call__(self, *, model, preferences, environ=None):
        return AdapterRuntime(run_fn=lambda text: f"parrot: {text}")

    def problem(self, *, model, preferences, environ=None):
        return None if model is None or model.name != "extinct" else "this parrot is no more."

parrot = Parrot()
"""
STORE = """
from kneo_serv.store.sqlite import SQLiteStore

def open_store(address):
    return SQLiteStore(address.split("://", 1)[1])
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of the import path for distributions, with modules named `plug_...`, and none of our settings."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("KNEO_SERV_")]:
        monkeypatch.delenv(name)
    yield folder
    for name in [name for name in sys.modules if name.startswith("plug_")]:
        del sys.modules[name]


def answer(registry: RuntimeRegistry, plan: AgentPlan) -> str:
    async def ask() -> str:
        turn = await registry.create(plan).turn(TurnRequest(plan.name, (Message(Role.USER, "hello"),)))
        return turn.text

    return asyncio.run(ask())


def test_the_tools_of_a_plugin_are_in_the_registry(site: Path) -> None:
    install(site, "acme-tools", {"kneo_serv.tools": {"acme": "plug_a:register"}}, plug_a=TOOLS.format(name="hammer"))
    assert factory.create_tool_registry(include_examples=False).call("hammer", {}).output == "from hammer"
    assert {"hammer", "web_search"} <= set(factory.create_tool_registry().definitions)


def test_switched_off_no_plugin_is_there_and_none_is_imported(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    groups = ("tools", "middlewares", "providers", "runtimes")
    entries = {f"kneo_serv.{group}": {"acme": "plug_broken:anything"} for group in groups}
    install(site, "acme", entries, plug_broken="raise RuntimeError('imported')")
    monkeypatch.setenv("KNEO_SERV_PLUGINS", "off")
    factory.create_tool_registry()
    assert factory.create_runtime_registry().providers == ()
    factory.create_local_platform_manager(state_path="runs.sqlite").shutdown()
    assert "plug_broken" not in sys.modules


@pytest.mark.parametrize(
    ("code", "target", "told"),
    [
        ("import no_such_module_at_all", "plug_b:register", "cannot be loaded: ModuleNotFoundError: No module named"),
        ("", "plug_b:register", "cannot be loaded: AttributeError"),
        ("register = 7", "plug_b:register", "leads to a int, which cannot be called"),
        ("def register(registry): raise LookupError('nothing')", "plug_b:register", "when it was called: LookupError"),
        ("raise ValueError('key sk-12345678901234567890')", "plug_b:register", "cannot be loaded: ValueError"),
    ],
)  # fmt: skip
def test_a_broken_plugin_is_told_with_its_distribution_its_entry_point_and_its_error(
    site: Path, code: str, target: str, told: str
) -> None:
    install(site, "acme-tools", {"kneo_serv.tools": {"acme": target}}, version="1.2.3", plug_b=code)
    with pytest.raises(PluginError) as caught:
        factory.create_tool_registry()
    text = str(caught.value)
    assert text.startswith("The plugin 'acme' of acme-tools 1.2.3 (entry point 'plug_b:register' in kneo_serv.tools)")
    assert told in text
    assert text.endswith("Mend or uninstall it, or leave all plugins out with KNEO_SERV_PLUGINS=off.")
    assert "sk-1234" not in text
    assert caught.value.facts() == {
        "group": "kneo_serv.tools", "entry_point": "acme", "distribution": "acme-tools 1.2.3",
    }  # fmt: skip


def test_two_plugins_of_one_name_are_told_with_both_names(site: Path) -> None:
    for name in ("acme", "bolt"):
        install(site, name, {"kneo_serv.providers": {"parrot": f"plug_{name}:parrot"}}, **{f"plug_{name}": PARROT})
    with pytest.raises(PluginError, match=r"plugin 'parrot' of acme 1\.0 .* has the same name as the .* of bolt 1\.0"):
        factory.create_runtime_registry()
    assert "plug_acme" not in sys.modules


@pytest.mark.parametrize(
    ("tool", "owner"), [("web_search", "the platform"), ("hammer", "the plugin 'acme' of acme 1.0")]
)
def test_a_tool_that_is_there_already_is_not_replaced(site: Path, tool: str, owner: str) -> None:
    install(site, "acme", {"kneo_serv.tools": {"acme": "plug_a:register"}}, plug_a=TOOLS.format(name="hammer"))
    install(site, "bolt", {"kneo_serv.tools": {"bolt": "plug_c:register"}}, plug_c=TOOLS.format(name=tool))
    with pytest.raises(PluginError) as caught:
        factory.create_tool_registry()
    assert (
        f"plugin 'bolt' of bolt 1.0 (entry point 'plug_c:register' in kneo_serv.tools) replaces the tool '{tool}'"
        in (str(caught.value))
    )
    assert f"of {owner}" in str(caught.value)


def test_a_provider_of_a_plugin_is_imported_when_a_model_names_it(site: Path) -> None:
    install(site, "acme", {"kneo_serv.providers": {"parrot": "plug_p:parrot"}}, plug_p=PARROT)
    registry = factory.create_runtime_registry()
    assert registry.providers == ("parrot",)
    assert registry.problem(AgentPlan("a")) is None
    assert "plug_p" not in sys.modules
    parrot = AgentPlan("a", model=ModelPlan("parrot", "grey"))
    assert registry.problem(parrot) is None
    assert answer(registry, parrot) == "parrot: hello"
    assert registry.problem(AgentPlan("a", model=ModelPlan("parrot", "extinct"))) == (
        "Agent 'a' cannot run: this parrot is no more."
    )


def test_a_mode_of_a_plugin_is_imported_when_an_agent_wants_it(site: Path) -> None:
    install(site, "acme", {"kneo_serv.runtimes": {"parrot": "plug_m:parrot"}}, plug_m=PARROT)
    registry = factory.create_runtime_registry()
    assert registry.modes == ("adapter", "bridge", "native", "parrot")
    assert "plug_m" not in sys.modules
    wanted = AgentPlan("a", runtime=RuntimePreferences(preferred_mode=RuntimeMode("parrot")))
    assert answer(registry, wanted) == "parrot: hello"


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("raise LookupError", "cannot be loaded: LookupError"),
        ("def parrot(**more): raise LookupError('gone')", "failed when it was called: LookupError: gone"),
    ],
)
def test_a_broken_provider_concerns_only_those_who_name_it(site: Path, code: str, told: str) -> None:
    install(site, "acme", {"kneo_serv.providers": {"parrot": "plug_q:parrot"}}, plug_q=code)
    registry = factory.create_runtime_registry()
    assert answer(registry, AgentPlan("a")) == "Final answer: hello"
    with pytest.raises(ProviderError, match=told) as caught:
        registry.create(AgentPlan("a", model=ModelPlan("parrot", "grey")))
    assert "acme 1.0" in str(caught.value)


def test_a_probe_that_fails_is_a_problem_and_no_crash(site: Path) -> None:
    code = """
    def parrot(**more): ...
    def problem(**more): raise LookupError('gone')
    parrot.problem = problem
    """
    install(site, "acme", {"kneo_serv.providers": {"parrot": "plug_r:parrot"}}, plug_r=code)
    problem = factory.create_runtime_registry().problem(AgentPlan("a", model=ModelPlan("parrot", "grey")))
    assert "failed when it was asked what it lacks: LookupError: gone" in str(problem)


@pytest.mark.parametrize(("group", "name"), [("providers", "openai"), ("providers", "dummy"), ("runtimes", "bridge")])
def test_what_comes_with_the_platform_is_not_replaced(site: Path, group: str, name: str) -> None:
    install(site, "acme", {f"kneo_serv.{group}": {name: "plug_s:parrot"}}, plug_s=PARROT)
    with pytest.raises(PluginError, match="that comes with the platform"):
        factory.create_runtime_registry()


def test_the_scheme_of_the_database_address_selects_a_store(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, "acme", {"kneo_serv.stores": {"mydb": "plug_t:open_store"}}, plug_t=STORE)
    assert isinstance(factory.create_persistence_stores()[0], SQLiteStore)
    assert "plug_t" not in sys.modules
    monkeypatch.setenv("KNEO_SERV_DATABASE_URL", "mydb://elsewhere.sqlite")
    manager = factory.create_local_platform_manager()
    try:
        spec = {"version": "v1", "agent": {"name": "a"}}
        assert manager.run_from_spec(input_text="tea", spec=spec, target="agent").status == "completed"
    finally:
        manager.shutdown()
    assert Path("elsewhere.sqlite").exists()
    assert not Path(".kneo").exists()
    monkeypatch.setenv("KNEO_SERV_DATABASE_URL", "other://user:hunter2@host/name")
    with pytest.raises(SettingsError, match=r"no installed plugin serves .* scheme 'other' \(there: mydb\)") as caught:
        factory.create_persistence_stores()
    assert "hunter2" not in str(caught.value)


DISPATCHER = """
from kneo_serv.dispatch import EmbeddedDispatcher

made = []

def dispatcher(**arguments):
    made.append(sorted(arguments))
    return EmbeddedDispatcher(**arguments)
"""


def test_a_setting_selects_the_dispatcher(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, "acme", {"kneo_serv.dispatchers": {"mine": "plug_d:dispatcher"}}, plug_d=DISPATCHER)
    factory.create_local_platform_manager(state_path="runs.sqlite").shutdown()
    assert "plug_d" not in sys.modules
    monkeypatch.setenv("KNEO_SERV_DISPATCHER", "mine")
    manager = factory.create_default_platform_manager(state_path="runs.sqlite")
    try:
        spec = {"version": "v1", "agent": {"name": "a"}}
        assert manager.run_from_spec(input_text="tea", spec=spec, target="agent").status == "completed"
    finally:
        manager.shutdown()
    assert sys.modules["plug_d"].made == [["claim", "concurrency", "execute", "poll_seconds"]]
    monkeypatch.setenv("KNEO_SERV_DISPATCHER", "other")
    with pytest.raises(SettingsError, match=r"there is no dispatcher 'other' here \(there: embedded, mine\)"):
        factory.create_local_platform_manager(state_path="runs.sqlite")


MIDDLEWARE = """
class Stamp:
    async def wrap_run(self, ctx, next_run):
        from dataclasses import replace
        turn = await next_run(ctx)
        return replace(turn, text=f"[{turn.text}]")
"""


@pytest.mark.parametrize("more", ["", "\nStamp = Stamp()"])
def test_a_middleware_of_a_plugin_is_there_for_the_agents_that_list_it(site: Path, more: str) -> None:
    install(site, "acme", {"kneo_serv.middlewares": {"stamp": "plug_w:Stamp"}}, plug_w=MIDDLEWARE + more)
    manager = factory.create_local_platform_manager(state_path="runs.sqlite")
    try:
        for names, text in (([], "Final answer: tea"), (["stamp"], "[Final answer: tea]")):
            spec = {"version": "v1", "agent": {"name": "a", "middleware": names}}
            assert manager.validate_spec(spec).diagnostics == []
            assert manager.run_from_spec(input_text="tea", spec=spec, target="agent").output_text == text
    finally:
        manager.shutdown()


def test_what_is_no_middleware_is_told_with_its_plugin(site: Path) -> None:
    install(site, "acme", {"kneo_serv.middlewares": {"stamp": "plug_x:stamp"}}, plug_x="stamp = 7")
    with pytest.raises(PluginError, match=r"acme 1\.0 .* cannot be used: InvalidRequestError: int is no middleware"):
        factory.create_local_platform_manager(state_path="runs.sqlite")


def test_plugins_are_sorted_and_say_where_they_come_from(site: Path) -> None:
    install(site, "acme", {"kneo_serv.tools": {"b": "m:b", "a": "m:a"}})
    found = installed("kneo_serv.tools")
    assert list(found) == ["a", "b"]
    assert (found["a"].distribution, found["a"].target) == ("acme 1.0", "m:a")
    assert installed("kneo_serv.tools", enabled=False) == {}


SPEC = """\
version: v1
agent:
  name: helper
  model: {provider: parrot, name: grey}
  strategy: react
  tools: [hammer]
"""


def _kneo(folder: Path, site: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KNEO_")}
    path = os.pathsep.join([str(site), *(entry for entry in sys.path if entry)])
    return subprocess.run(
        [sys.executable, "-m", "kneo_serv", *words], cwd=folder,
        env={**kept, "HOME": str(folder), "PYTHONPATH": path, **more},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_the_command_line_uses_what_is_installed_and_can_leave_it_out(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    entries = {"kneo_serv.tools": {"acme": "plug_a:register"}, "kneo_serv.providers": {"parrot": "plug_p:parrot"}}
    install(site, "acme", entries, plug_a=TOOLS.format(name="hammer"), plug_p=PARROT)
    (tmp_path / "spec.yaml").write_text(SPEC)

    assert _kneo(tmp_path, site, "spec", "validate", "spec.yaml").returncode == 0
    done = _kneo(tmp_path, site, "run", "spec.yaml", "--input", "hello", "--target", "agent", "--json")
    assert json.loads(done.stdout)["output_text"] == "parrot: hello"

    (tmp_path / "listed.yaml").write_text(SPEC + "  middleware: [stamp]\n")
    done = _kneo(tmp_path, site, "spec", "validate", "listed.yaml")
    assert "W_MIDDLEWARE_UNAVAILABLE" in done.stdout + done.stderr

    done = _kneo(tmp_path, site, "spec", "validate", "spec.yaml", KNEO_SERV_PLUGINS="off")
    assert done.returncode == 1
    assert "E_UNKNOWN_TOOL" in done.stdout + done.stderr

    (site / "plug_a.py").write_text("raise LookupError('broken')")
    done = _kneo(tmp_path, site, "spec", "validate", "spec.yaml")
    assert done.returncode == 1
    assert "acme 1.0" in done.stderr
    assert "Traceback" not in done.stderr
