import asyncio
from collections.abc import Mapping
from dataclasses import replace

import pytest

from kneo_serv.errors import MissingSecretError, ProviderError
from kneo_serv.model.message import Turn
from kneo_serv.model.plan import AgentPlan, ModelPlan, RuntimeMode, RuntimePreferences
from kneo_serv.model.secret import Secrets
from kneo_serv.runtime import AdapterRuntime, DummyRuntime, Runtime, RuntimeRegistry, default_registry
from kneo_serv.runtime.model_runtime import ModelRuntime
from kneo_serv.runtime.native import NativeRuntime
from tests.runtime.conversations import agent, asked, user

BRIDGE, NATIVE, ADAPTER = RuntimeMode.BRIDGE, RuntimeMode.NATIVE, RuntimeMode.ADAPTER


KNOWN = "openai, openai-responses, anthropic, google, groq, mistral, bedrock, ollama"
KEYED = {"OPENAI_API_KEY": "key"}


def registry(environ: Mapping[str, str] = KEYED) -> RuntimeRegistry:
    return default_registry(environ=environ, load_object=lambda path: lambda text: f"{path}: {text}")


def ask(runtime: Runtime) -> Turn:
    return asyncio.run(runtime.turn(asked(user("tea"))))


def test_the_platform_comes_with_three_modes() -> None:
    assert registry().modes == ("adapter", "bridge", "native")


def test_a_new_registry_serves_nothing() -> None:
    empty = RuntimeRegistry()

    assert empty.modes == ()
    assert empty.try_create("bridge") is None
    assert empty.problem(agent()) == (
        "Agent 'helper' cannot run: runtime mode 'bridge' is not available here (available: none)."
    )


def test_a_factory_gets_the_model_and_the_preferences() -> None:
    seen: list[tuple[ModelPlan | None, RuntimePreferences]] = []

    def factory(*, model: ModelPlan | None, preferences: RuntimePreferences) -> Runtime:
        seen.append((model, preferences))
        return DummyRuntime()

    own = RuntimeRegistry()
    own.register("bridge", factory)
    plan = agent("anything", preferences=RuntimePreferences(bridge_provider="x"))

    assert own.problem(plan) is None
    own.create(plan)
    own.try_create("bridge")
    assert seen == [(plan.model, plan.runtime), (None, RuntimePreferences())]


def test_the_last_registration_of_a_mode_wins() -> None:
    own = registry()
    own.register("bridge", lambda *, model, preferences: AdapterRuntime(run_fn=lambda text: f"mine: {text}"))

    assert ask(own.create(agent("openai"))).text == "mine: tea"


@pytest.mark.parametrize("plan", [agent(), agent("dummy")])
def test_the_dummy_answers_where_it_is_named_and_where_no_model_is(plan: AgentPlan) -> None:
    assert registry().problem(plan) is None
    assert ask(registry().create(plan)).text == "Final answer: tea"


@pytest.mark.parametrize("provider", ["openai", "openai-agents"])
@pytest.mark.parametrize(("mode", "runtime"), [(BRIDGE, ModelRuntime), (NATIVE, NativeRuntime)])
def test_openai_serves_both_bridge_and_native_mode(mode: RuntimeMode, runtime: type[Runtime], provider: str) -> None:
    plan = agent(provider, preferences=RuntimePreferences(preferred_mode=mode))

    assert registry().problem(plan) is None
    assert type(registry().create(plan)) is runtime


def test_an_adapter_is_found_by_its_import_path() -> None:
    plan = agent(preferences=RuntimePreferences(preferred_mode=ADAPTER, adapter_ref="my.answers"))

    assert registry().problem(plan) is None
    assert ask(registry().create(plan)).text == "my.answers: tea"


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        (
            agent("default"),
            f"model provider 'default' is not available here (available: dummy, {KNOWN}). "
            "'default' stands for none: set agent.model.provider.",
        ),
        (agent("acme"), f"model provider 'acme' is not available here (available: dummy, {KNOWN})."),
        (
            agent("antropic"),
            f"model provider 'antropic' is not available here (available: dummy, {KNOWN}). Did you mean 'anthropic'?",
        ),
        (
            agent("dummy", preferences=RuntimePreferences(bridge_provider="Gemini")),
            f"model provider 'Gemini' is not available here (available: dummy, {KNOWN}). Did you mean 'google'?",
        ),
        (
            agent(preferences=RuntimePreferences(bridge_provider="openai")),
            "provider 'openai' needs a model: set agent.model.name.",
        ),
        (
            agent("dummy", preferences=RuntimePreferences(preferred_mode=NATIVE)),
            f"runtime mode 'native' has no provider 'dummy' (available: {KNOWN}). "
            "Set runtime_preferences.preferred_mode: bridge.",
        ),
        (
            agent(preferences=RuntimePreferences(preferred_mode=NATIVE, native_provider="openai")),
            "provider 'openai' needs a model: set agent.model.name.",
        ),
        (
            agent(preferences=RuntimePreferences(preferred_mode=ADAPTER)),
            "runtime mode 'adapter' needs runtime_preferences.adapter_ref, the path of a function or agent.",
        ),
        (
            agent(preferences=RuntimePreferences(allowed_modes=(NATIVE, ADAPTER))),
            "runtime mode 'bridge' is not among its allowed_modes (native, adapter).",
        ),
    ],
)
def test_an_agent_that_cannot_run_is_told_why(plan: AgentPlan, reason: str) -> None:
    assert registry().problem(plan) == f"Agent 'helper' cannot run: {reason}"
    with pytest.raises(ProviderError) as caught:
        registry().create(plan)
    assert caught.value.message == f"Agent 'helper' cannot run: {reason}"


def test_without_a_loader_adapter_mode_says_that_it_is_not_set_up() -> None:
    bare = default_registry(environ={})
    wish = RuntimePreferences(preferred_mode=ADAPTER, adapter_ref="my.answers")

    assert "without a loader of import paths" in (bare.problem(agent(preferences=wish)) or "")
    with pytest.raises(ProviderError, match="without a loader of import paths"):
        bare.try_create("adapter", preferences=wish)


@pytest.mark.parametrize(("mode", "provider"), [("bridge", "acme"), ("native", "dummy")])
def test_a_mode_that_cannot_serve_a_model_refuses_to_be_made(mode: str, provider: str) -> None:
    with pytest.raises(ProviderError, match=provider) as caught:
        registry().try_create(mode, model=ModelPlan(provider, "m"))

    assert caught.value.provider == provider


def test_the_fallback_mode_serves_where_the_preferred_one_cannot() -> None:
    plan = agent("dummy", preferences=RuntimePreferences(preferred_mode=NATIVE, fallback_mode=BRIDGE))

    assert registry().problem(plan) is None
    assert isinstance(registry().create(plan), DummyRuntime)


def test_a_fallback_mode_must_be_allowed_too() -> None:
    wish = RuntimePreferences(preferred_mode=NATIVE, fallback_mode=BRIDGE, allowed_modes=(NATIVE,))
    problem = registry().problem(agent("dummy", preferences=wish))

    assert problem is not None
    assert "'native' has no provider" in problem
    assert "'bridge' is not among its allowed_modes (native)" in problem


def test_an_agent_that_is_a_workflow_needs_no_model() -> None:
    plan = replace(agent("anthropic"), as_agent="review")

    assert registry().problem(plan) is None


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        ({"base_url": "api.example.com"}, "must look like https://host/v1"),
        ({"base_url": "ftp://api.example.com"}, "must look like https://host/v1"),
        ({"base_url": "https://me:hidden@api.example.com/v1"}, "without credentials"),
        ({"base_url": "https://api.example.com/v1?key=hidden"}, "without credentials and query"),
        ({"base_url": "https://[broken/v1"}, "must look like https://host/v1"),
        ({"stream": True, "tools": []}, "model.extra must not hold stream, tools"),
    ],
)
def test_a_model_that_cannot_be_asked_is_a_problem_beforehand(extra: dict[str, object], reason: str) -> None:
    plan = replace(agent(), model=ModelPlan("openai", "m", extra=extra))
    problem = registry().problem(plan)

    assert problem is not None
    assert reason in problem
    assert "hidden" not in problem


def test_a_missing_key_is_a_problem_beforehand_and_a_clear_error_at_the_turn() -> None:
    runtimes = registry(environ={})
    plan = agent("anthropic")
    problem = runtimes.problem(plan)

    assert problem == (
        "Agent 'helper' cannot run: ANTHROPIC_API_KEY is not set: provider 'anthropic' needs it as API key for "
        "https://api.anthropic.com. Set the environment variable."
    )
    with pytest.raises(MissingSecretError) as caught:
        ask(runtimes.create(plan))
    assert problem.endswith(caught.value.message)


def test_a_fallback_serves_where_the_preferred_mode_has_no_key() -> None:
    wish = RuntimePreferences(preferred_mode=NATIVE, fallback_mode=BRIDGE, bridge_provider="dummy")

    assert registry(environ={}).problem(agent("openai", preferences=wish)) is None
    assert isinstance(registry(environ={}).create(agent("openai", preferences=wish)), DummyRuntime)
    assert isinstance(registry().create(agent("openai", preferences=wish)), ModelRuntime)


def test_an_agent_whose_modes_all_lack_the_key_is_made_and_says_so_at_its_turn() -> None:
    wish = RuntimePreferences(preferred_mode=ADAPTER, fallback_mode=BRIDGE)
    runtime = registry(environ={}).create(agent("groq", preferences=wish))

    with pytest.raises(MissingSecretError, match="GROQ_API_KEY is not set"):
        ask(runtime)


def test_bedrock_needs_a_region_and_says_so_beforehand() -> None:
    problem = registry(environ={}).problem(agent("bedrock"))

    assert problem is not None
    assert "AWS_REGION (or AWS_DEFAULT_REGION or AWS_PROFILE) is not set" in problem
    assert registry(environ={"AWS_REGION": "eu-west-1"}).problem(agent("bedrock")) is None


def test_the_project_config_says_which_variables_hold_the_keys() -> None:
    secrets = Secrets({"TEAM_KEY": "key"}, provider_env={"anthropic": "TEAM_KEY"})
    runtimes = default_registry(environ={}, secrets=secrets)

    assert runtimes.problem(agent("anthropic")) is None
    assert "OPENAI_API_KEY is not set" in (runtimes.problem(agent("openai")) or "")
