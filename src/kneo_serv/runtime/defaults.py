"""The runtime modes that come with the platform."""

from collections.abc import Mapping
from functools import partial

from kneo_serv.errors import ProviderError
from kneo_serv.model.plan import ModelPlan, RuntimeMode, RuntimePreferences
from kneo_serv.model.secret import Secrets
from kneo_serv.runtime.adapters import ObjectLoader, ReferenceRuntime
from kneo_serv.runtime.bridge import bridge_problem, create_bridge_runtime
from kneo_serv.runtime.native import create_native_runtime, native_problem
from kneo_serv.runtime.protocol import Runtime
from kneo_serv.runtime.registry import RuntimeRegistry
from kneo_serv.runtime.retry import RetryPolicy


def default_registry(
    *,
    environ: Mapping[str, str],
    provider_timeout: float = 120.0,
    provider_retries: int = 2,
    provider_policy: RetryPolicy | None = None,
    load_object: ObjectLoader | None = None,
    secrets: Secrets | None = None,
) -> RuntimeRegistry:
    """A registry with the modes `adapter`, `bridge` and `native`.

    Args:
        environ: Where API keys and addresses of providers are looked up, at the first turn.
        provider_timeout: Seconds for one turn with all its attempts, where the model sets no `timeout_seconds`.
        provider_retries: Attempts after the first when a provider fails in a way that may pass.
        provider_policy: Replaces both where waits or the handling of timeouts are to be set as well.
        load_object: Finds what `adapter_ref` names. Without it, adapter mode says that it is not set up.
        secrets: What the project config says about variables; its environment takes the place of `environ`.
    """
    policy = provider_policy or RetryPolicy(
        max_retries=provider_retries, backoff_seconds=0.5, timeout_seconds=provider_timeout
    )

    known = secrets or Secrets(environ)

    def bridge(*, model: ModelPlan | None, preferences: RuntimePreferences) -> Runtime:
        return create_bridge_runtime(
            model=model, preferences=preferences, environ=environ, policy=policy, secrets=known
        )

    def native(*, model: ModelPlan | None, preferences: RuntimePreferences) -> Runtime:
        return create_native_runtime(
            model=model, preferences=preferences, environ=environ, policy=policy, secrets=known
        )

    def adapter_problem(*, model: ModelPlan | None, preferences: RuntimePreferences) -> str | None:
        if not preferences.adapter_ref:
            return "runtime mode 'adapter' needs runtime_preferences.adapter_ref, the path of a function or agent."
        if load_object is None:
            return "runtime mode 'adapter' is not set up here: the platform was made without a loader of import paths."
        return None

    def adapter(*, model: ModelPlan | None, preferences: RuntimePreferences) -> Runtime:
        if (reason := adapter_problem(model=model, preferences=preferences)) is not None:
            raise ProviderError(reason, provider="adapter")
        assert load_object is not None  # noqa: S101 - adapter_problem has just said so
        assert preferences.adapter_ref is not None  # noqa: S101 - likewise
        return ReferenceRuntime(preferences.adapter_ref, load=load_object)

    registry = RuntimeRegistry(environ=known.environ)
    registry.register(RuntimeMode.BRIDGE, bridge, problem=partial(bridge_problem, environ=environ, secrets=known))
    registry.register(RuntimeMode.NATIVE, native, problem=partial(native_problem, environ=environ, secrets=known))
    registry.register(RuntimeMode.ADAPTER, adapter, problem=adapter_problem)
    return registry
