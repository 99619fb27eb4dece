"""Bridge mode: the platform asks a provider turn by turn and does the tool calls itself."""

import os
from collections.abc import Mapping
from dataclasses import replace

from kneo_serv.errors import ProviderError
from kneo_serv.model.plan import ModelPlan, RuntimePreferences
from kneo_serv.model.secret import Secrets
from kneo_serv.runtime.dummy import DummyRuntime
from kneo_serv.runtime.endpoint import Endpoint
from kneo_serv.runtime.model_runtime import ModelRuntime
from kneo_serv.runtime.protocol import Runtime
from kneo_serv.runtime.providers import DUMMY, provider_named, unknown_provider
from kneo_serv.runtime.retry import RetryPolicy

DEFAULT_POLICY = RetryPolicy(max_retries=2, backoff_seconds=0.5, timeout_seconds=120.0)


def create_bridge_runtime(
    *,
    model: ModelPlan | None = None,
    preferences: RuntimePreferences = RuntimePreferences(),
    environ: Mapping[str, str] | None = None,
    policy: RetryPolicy = DEFAULT_POLICY,
    secrets: Secrets | None = None,
) -> Runtime:
    """The runtime for the model's provider; the dummy for an agent without a model.

    A key or a library that is missing is told at the first turn, so that a runtime can be made before they are there.

    Args:
        model: Which model to ask.
        preferences: `bridge_provider` wins over the provider of the model.
        environ: Where API keys and addresses are looked up; by default the process's own environment.
        policy: How often and how long a provider is asked.
        secrets: What the project config says about variables; its environment takes the place of `environ`.

    Raises:
        ProviderError: There is no such provider, or it cannot be asked as the spec says.
    """
    known = secrets or Secrets(os.environ if environ is None else environ)
    provider = _provider(model, preferences)
    if (reason := refusal(provider, model, known)) is not None:
        raise ProviderError(reason, provider=provider)
    if provider == DUMMY or model is None:
        return DummyRuntime(model_name=model.name if model else None)
    asked = replace(model, provider=provider)
    return ModelRuntime(model=asked, environ=known.environ, policy=policy, secrets=known)


def bridge_problem(
    *,
    model: ModelPlan | None,
    preferences: RuntimePreferences,
    environ: Mapping[str, str],
    secrets: Secrets | None = None,
) -> str | None:
    """Why the platform cannot ask this model, a missing key or library included; None when it can."""
    return _problem(_provider(model, preferences), model, secrets or Secrets(environ))


def refusal(provider: str, model: ModelPlan | None, secrets: Secrets) -> str | None:
    """Why this model can never be asked like this, whatever is set or installed."""
    if provider == DUMMY:
        return None
    entry = provider_named(provider)
    if entry is None:
        return unknown_provider(provider)
    if model is None:
        return f"provider {provider!r} needs a model: set agent.model.name."
    return Endpoint(replace(model, provider=provider), entry, secrets).problem()


def _problem(provider: str, model: ModelPlan | None, secrets: Secrets) -> str | None:
    if (reason := refusal(provider, model, secrets)) is not None:
        return reason
    entry = provider_named(provider)
    if entry is None or model is None:
        return None
    return Endpoint(replace(model, provider=provider), entry, secrets).shortage()


def _provider(model: ModelPlan | None, preferences: RuntimePreferences) -> str:
    return preferences.bridge_provider or (model.provider if model else DUMMY)
