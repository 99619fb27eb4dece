"""Bridge mode: the platform asks a provider turn by turn and does the tool calls itself."""

from collections.abc import Mapping

from kneo_serv.errors import ProviderError
from kneo_serv.model.plan import ModelPlan, RuntimePreferences
from kneo_serv.runtime.dummy import DummyRuntime
from kneo_serv.runtime.protocol import Runtime
from kneo_serv.runtime.retry import RetryPolicy

DUMMY = "dummy"
AVAILABLE = (DUMMY,)


def create_bridge_runtime(
    *,
    model: ModelPlan | None = None,
    preferences: RuntimePreferences = RuntimePreferences(),
    environ: Mapping[str, str],
    policy: RetryPolicy,
) -> Runtime:
    """The runtime for the model's provider; the dummy for an agent without a model.

    Raises:
        ProviderError: The provider is not available here; the text says which ones are.
    """
    if (reason := bridge_problem(model=model, preferences=preferences)) is not None:
        raise ProviderError(reason, provider=_provider(model, preferences))
    return DummyRuntime(model_name=model.name if model else None)


def bridge_problem(*, model: ModelPlan | None, preferences: RuntimePreferences) -> str | None:
    """Why the platform cannot ask this model; None when it can."""
    provider = _provider(model, preferences)
    if provider == DUMMY:
        return None
    return f"model provider {provider!r} is not available here (available: {', '.join(AVAILABLE)})."


def native_problem(*, model: ModelPlan | None, preferences: RuntimePreferences) -> str | None:
    """Why native mode cannot serve this model; None when it can."""
    provider = preferences.native_provider or (model.provider if model else "none")
    return f"runtime mode 'native' has no provider {provider!r}. Use preferred_mode: bridge."


def _provider(model: ModelPlan | None, preferences: RuntimePreferences) -> str:
    return preferences.bridge_provider or (model.provider if model else DUMMY)
