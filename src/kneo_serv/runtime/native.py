"""Native mode: the model library's own agent loop, each tool call of which the platform does."""

import importlib
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from kneo_serv.errors import ProviderError
from kneo_serv.model.message import Turn, TurnRequest
from kneo_serv.model.plan import ModelPlan, RuntimePreferences
from kneo_serv.model.secret import Secrets
from kneo_serv.runtime.bridge import bridge_problem, refusal
from kneo_serv.runtime.model_runtime import ModelRuntime
from kneo_serv.runtime.protocol import Runtime
from kneo_serv.runtime.providers import DUMMY, PROVIDERS, provider_named
from kneo_serv.runtime.retry import RetryPolicy

if TYPE_CHECKING:
    from kneo_serv.runtime.models import OpenedModel


class NativeRuntime(ModelRuntime):
    """Hands the whole loop over: one turn asks the model and calls tools until there is an answer.

    The loop is pydantic-ai's. Each tool call goes through `TurnRequest.call_tool`, so it is guarded like everywhere
    else; what that raises ends the turn. A failure that may pass repeats the one request to the model, never a tool;
    the policy and the model's `timeout_seconds` hold for each request.
    """

    async def turn(self, request: TurnRequest) -> Turn:
        """The final answer of the loop. Its usage is that of all requests, and it wishes for no more tools.

        Raises:
            MissingSecretError: There is no API key; the text names the variable.
            MissingExtraError: The provider's library is not installed.
            ProviderError: The provider failed, the model came to no end within `max_requests`, or wished for a tool
                where nobody calls tools.
            KneoError: What `call_tool` raised, unchanged.
        """
        opened = await self._open()
        from kneo_serv.runtime.agent_loop import agent_loop  # imported by now

        return await agent_loop(request, opened, policy=self._policy, pace=self._pace)

    def _open_now(self) -> "OpenedModel":
        importlib.import_module("kneo_serv.runtime.agent_loop")
        return super()._open_now()


def create_native_runtime(
    *,
    model: ModelPlan | None,
    preferences: RuntimePreferences,
    environ: Mapping[str, str],
    policy: RetryPolicy,
    secrets: Secrets | None = None,
) -> Runtime:
    """The runtime for the model, asked of `native_provider` or else of the model's own provider.

    A key or a library that is missing is told at the first turn, so that a runtime can be made before they are there.

    Raises:
        ProviderError: There is no such provider, or it cannot be asked as the spec says.
    """
    known = secrets or Secrets(environ)
    provider = _provider(model, preferences)
    reason = _unserved(provider) or refusal(provider, model, known)
    if reason is not None or model is None:
        raise ProviderError(reason or "native mode needs a model: set agent.model.name.", provider=provider)
    return NativeRuntime(model=replace(model, provider=provider), environ=environ, policy=policy, secrets=known)


def native_problem(
    *,
    model: ModelPlan | None,
    preferences: RuntimePreferences,
    environ: Mapping[str, str],
    secrets: Secrets | None = None,
) -> str | None:
    """Why native mode cannot serve this model, a missing key or library included; None when it can."""
    provider = _provider(model, preferences)
    asked = RuntimePreferences(bridge_provider=provider)
    return _unserved(provider) or bridge_problem(model=model, preferences=asked, environ=environ, secrets=secrets)


def _unserved(provider: str) -> str | None:
    """The dummy has no loop: it answers by rule."""
    if provider_named(provider) is not None:
        return None
    return (
        f"runtime mode 'native' has no provider {provider!r} (available: {', '.join(PROVIDERS)}). "
        "Set runtime_preferences.preferred_mode: bridge."
    )


def _provider(model: ModelPlan | None, preferences: RuntimePreferences) -> str:
    return preferences.native_provider or (model.provider if model else DUMMY)
