"""Providers that somebody registers beside those that come with the platform."""

import asyncio
from collections.abc import Mapping

import pytest

from kneo_serv.errors import ProviderError
from kneo_serv.model.plan import AgentPlan, ModelPlan, RuntimePreferences
from kneo_serv.runtime import AdapterRuntime, Runtime, RuntimeRegistry, default_registry
from tests.runtime.conversations import agent, asked, user


class Parrot:
    """A provider that says what it is told, with the key that it found."""

    def __call__(
        self, *, model: ModelPlan | None, preferences: RuntimePreferences, environ: Mapping[str, str]
    ) -> Runtime:
        if (reason := self.problem(model=model, preferences=preferences, environ=environ)) is not None:
            raise ProviderError(reason, provider="parrot")
        return AdapterRuntime(run_fn=lambda text: f"{environ['PARROT_KEY']}: {text}")

    def problem(
        self, *, model: ModelPlan | None, preferences: RuntimePreferences, environ: Mapping[str, str]
    ) -> str | None:
        return None if environ.get("PARROT_KEY") else "provider 'parrot' needs PARROT_KEY."


def registry(**environ: str) -> RuntimeRegistry:
    found = default_registry(environ=environ)
    found.register_provider("parrot", Parrot())
    return found


def test_a_registered_provider_answers_for_the_models_that_name_it() -> None:
    own = registry(PARROT_KEY="k")
    assert own.providers == ("parrot",)
    assert own.problem(agent("parrot")) is None
    assert asyncio.run(own.create(agent("parrot")).turn(asked(user("tea")))).text == "k: tea"


def test_the_bridge_provider_of_the_preferences_wins_over_that_of_the_model() -> None:
    own = registry(PARROT_KEY="k")
    plan = agent("dummy", preferences=RuntimePreferences(bridge_provider="parrot"))
    assert asyncio.run(own.create(plan).turn(asked(user("tea")))).text == "k: tea"
    made = own.try_create("bridge", model=plan.model, preferences=plan.runtime)
    assert isinstance(made, AdapterRuntime)


def test_the_other_providers_stay_as_they_are() -> None:
    own = registry()
    assert asyncio.run(own.create(agent("dummy")).turn(asked(user("tea")))).text == "Final answer: tea"
    assert asyncio.run(own.create(AgentPlan("a")).turn(asked(user("tea")))).text == "Final answer: tea"


def test_what_a_registered_provider_lacks_is_told_beforehand_and_at_the_run() -> None:
    own = registry()
    text = "Agent 'helper' cannot run: provider 'parrot' needs PARROT_KEY."
    assert own.problem(agent("parrot")) == text
    with pytest.raises(ProviderError, match="needs PARROT_KEY"):
        own.create(agent("parrot"))


def test_a_probe_given_by_hand_wins_and_the_last_registration_too() -> None:
    own = registry()
    own.register_provider("parrot", Parrot(), problem=lambda *, model, preferences, environ: "not today.")
    assert own.problem(agent("parrot")) == "Agent 'helper' cannot run: not today."
