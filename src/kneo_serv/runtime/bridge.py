"""Bridge mode: the platform asks a provider turn by turn and does the tool calls itself."""

import os
from collections.abc import Mapping

from kneo_serv.errors import ProviderError
from kneo_serv.model.plan import ModelPlan, RuntimePreferences
from kneo_serv.runtime import openai
from kneo_serv.runtime.dummy import DummyRuntime
from kneo_serv.runtime.protocol import Runtime
from kneo_serv.runtime.retry import RetryPolicy

DUMMY = "dummy"
AVAILABLE = (DUMMY, openai.PROVIDER)
DEFAULT_POLICY = RetryPolicy(max_retries=2, backoff_seconds=0.5, timeout_seconds=120.0)


def create_bridge_runtime(
    *,
    model: ModelPlan | None = None,
    preferences: RuntimePreferences = RuntimePreferences(),
    environ: Mapping[str, str] | None = None,
    policy: RetryPolicy = DEFAULT_POLICY,
) -> Runtime:
    """The runtime for the model's provider; the dummy for an agent without a model.

    Args:
        model: Which model to ask.
        preferences: `bridge_provider` wins over the provider of the model.
        environ: Where API keys and OPENAI_BASE_URL are looked up; by default the process's own environment.
        policy: How often and how long a provider is asked.

    Raises:
        ProviderError: The provider is not available here; the text says which ones are.
    """
    variables = os.environ if environ is None else environ
    provider = _provider(model, preferences)
    if (reason := bridge_problem(model=model, preferences=preferences, environ=variables)) is not None:
        raise ProviderError(reason, provider=provider)
    if provider == DUMMY or model is None:
        return DummyRuntime(model_name=model.name if model else None)
    return openai.OpenAIRuntime(model=model, environ=variables, policy=policy)


def bridge_problem(
    *, model: ModelPlan | None, preferences: RuntimePreferences, environ: Mapping[str, str]
) -> str | None:
    """Why the platform cannot ask this model; None when it can."""
    provider = _provider(model, preferences)
    if provider == DUMMY:
        return None
    if provider != openai.PROVIDER:
        return f"model provider {provider!r} is not available here (available: {', '.join(AVAILABLE)})."
    if model is None:
        return f"provider {provider!r} needs a model: set agent.model.name."
    return openai.openai_problem(model, environ)


def _provider(model: ModelPlan | None, preferences: RuntimePreferences) -> str:
    return preferences.bridge_provider or (model.provider if model else DUMMY)
