"""What a spec may name that the platform has been given: runtime modes and middlewares."""

import pytest
import yaml

from kneo_serv.model.codec import decode, encode
from kneo_serv.model.plan import RuntimeMode, RuntimePreferences
from kneo_serv.runtime import DummyRuntime, RuntimeRegistry, default_registry
from kneo_serv.spec import SpecCompiler


def registry() -> RuntimeRegistry:
    runtimes = default_registry(environ={})
    runtimes.register("parrot", lambda *, model, preferences: DummyRuntime())
    return runtimes


def found(text: str, *, names: frozenset[str] | None = None) -> list[tuple[str, str | None, str | None]]:
    compiler = SpecCompiler(runtime_registry=registry(), tool_registry=None, middleware_names=names)
    report = compiler.validate(yaml.safe_load(text))
    return [(item.code, item.path, item.suggestion) for item in report.diagnostics]


def test_a_mode_that_the_platform_was_given_is_as_good_as_its_own() -> None:
    text = "version: v1\nagent: {name: a, runtime_preferences: {preferred_mode: parrot, allowed_modes: [parrot]}}\n"
    assert found(text) == []


def test_a_mode_that_nobody_knows_is_an_error_with_the_one_that_is_meant() -> None:
    text = "version: v1\nagent: {name: a, runtime_preferences: {preferred_mode: parot, allowed_modes: [bridge]}}\n"
    assert ("E_RUNTIME_MODE_UNKNOWN", "agent.runtime_preferences.preferred_mode", "Did you mean `parrot`?") in found(
        text
    )


@pytest.mark.parametrize("mode", ["bridge", "parrot"])
def test_a_mode_survives_being_stored_with_the_plan(mode: str) -> None:
    wanted = RuntimePreferences(preferred_mode=RuntimeMode(mode), allowed_modes=(RuntimeMode(mode),))
    stored = decode(RuntimePreferences, encode(wanted))
    assert stored == wanted
    assert stored.preferred_mode.value == mode


def test_the_modes_of_the_platform_stay_the_same_objects_when_stored() -> None:
    stored = decode(RuntimePreferences, {"preferred_mode": "native"})
    assert stored.preferred_mode is RuntimeMode.NATIVE


def test_a_middleware_that_the_platform_lacks_is_a_warning() -> None:
    text = "version: v1\nagent: {name: a, middleware: [audit, limits]}\n"
    assert found(text) == []
    assert found(text, names=frozenset({"audit", "limit"})) == [
        ("W_MIDDLEWARE_UNAVAILABLE", "agent.middleware[1]", "Did you mean `limit`?")
    ]


def test_the_middlewares_of_an_agent_are_part_of_its_plan() -> None:
    spec = {"version": "v1", "agent": {"name": "a", "middleware": ["outer", "inner"]}}
    plan = SpecCompiler(runtime_registry=None, tool_registry=None).compile_dict(spec).plan
    assert plan.root_agent.middleware == ("outer", "inner")
