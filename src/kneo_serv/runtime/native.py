"""Native mode: the model library's own agent loop, each tool call of which the platform does."""

import asyncio
import importlib
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from kneo_serv.errors import ProviderError
from kneo_serv.model.message import Turn, TurnRequest
from kneo_serv.model.plan import ModelPlan, RuntimePreferences
from kneo_serv.runtime.attempts import REAL_PACE, Pace
from kneo_serv.runtime.bridge import AVAILABLE, DUMMY, bridge_problem
from kneo_serv.runtime.protocol import Runtime
from kneo_serv.runtime.retry import RetryPolicy

if TYPE_CHECKING:
    from kneo_serv.runtime.models import OpenedModel

_OTHER_NAMES = {"openai-agents": "openai"}
"""What specs call a provider with a loop of its own, and who serves it."""


class NativeRuntime:
    """Hands the whole loop over: one turn asks the model and calls tools until there is an answer.

    The loop is pydantic-ai's. Each tool call goes through `TurnRequest.call_tool`, so it is guarded like everywhere
    else; what that raises ends the turn. A failure that may pass repeats the one request to the model, never a tool.
    """

    def __init__(
        self, *, model: ModelPlan, environ: Mapping[str, str], policy: RetryPolicy, pace: Pace = REAL_PACE
    ) -> None:
        """Note what to ask and how; nothing is imported, looked up or opened before the first turn.

        Args:
            model: Which model to ask.
            environ: Where API keys and addresses are looked up.
            policy: How often and how long each single request is tried; the model's own `timeout_seconds` takes the
                place of the policy's.
            pace: Where time and chance come from.
        """
        self._model = model
        self._environ = environ
        self._policy = replace(policy, timeout_seconds=model.timeout_seconds or policy.timeout_seconds)
        self._pace = pace
        self._opened: OpenedModel | None = None
        self._opening = asyncio.Lock()

    async def turn(self, request: TurnRequest) -> Turn:
        """The final answer of the loop. Its usage is that of all requests, and it wishes for no more tools.

        Raises:
            MissingSecretError: There is no API key; the text names the variable.
            MissingExtraError: The provider's library is not installed.
            ProviderError: The provider failed, the model asked more than `max_requests` times, or wished for a tool
                where nobody calls tools.
            KneoError: What `call_tool` raised, unchanged.
        """
        opened = await self._model_opened()
        from kneo_serv.runtime.agent_loop import agent_loop  # imported by now

        return await agent_loop(request, opened, provider=self._model.provider, policy=self._policy, pace=self._pace)

    async def aclose(self) -> None:
        """Close the connections."""
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.aclose()

    async def _model_opened(self) -> "OpenedModel":
        async with self._opening:
            if self._opened is None:
                # The libraries take a second or more to import; other runs on this loop go on meanwhile.
                await asyncio.to_thread(importlib.import_module, "kneo_serv.runtime.agent_loop")
                from kneo_serv.runtime.models import open_model

                self._opened = open_model(
                    self._model, environ=self._environ, timeout_seconds=self._policy.timeout_seconds
                )
            return self._opened


def create_native_runtime(
    *, model: ModelPlan | None, preferences: RuntimePreferences, environ: Mapping[str, str], policy: RetryPolicy
) -> Runtime:
    """The runtime for the model, asked of `native_provider` or else of the model's own provider.

    Raises:
        ProviderError: Native mode cannot serve this model; the text says why.
    """
    provider = _provider(model, preferences)
    if (reason := native_problem(model=model, preferences=preferences, environ=environ)) is not None:
        raise ProviderError(reason, provider=provider)
    assert model is not None  # noqa: S101 - native_problem has just said so
    return NativeRuntime(model=replace(model, provider=provider), environ=environ, policy=policy)


def native_problem(
    *, model: ModelPlan | None, preferences: RuntimePreferences, environ: Mapping[str, str]
) -> str | None:
    """Why native mode cannot serve this model; None when it can."""
    provider = _provider(model, preferences)
    if provider == DUMMY or provider not in AVAILABLE:
        known = ", ".join(name for name in AVAILABLE if name != DUMMY)
        return (
            f"runtime mode 'native' has no provider {provider!r} (available: {known}). "
            "Set runtime_preferences.preferred_mode: bridge."
        )
    asked = None if model is None else replace(model, provider=provider)
    return bridge_problem(model=asked, preferences=RuntimePreferences(bridge_provider=provider), environ=environ)


def _provider(model: ModelPlan | None, preferences: RuntimePreferences) -> str:
    named = preferences.native_provider or (model.provider if model else DUMMY)
    return _OTHER_NAMES.get(named, named)
