"""OpenAI's chat completions, and every server that speaks them."""

import asyncio
import importlib
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from kneo_serv.errors import MissingExtraError
from kneo_serv.model.message import Turn, TurnRequest
from kneo_serv.model.plan import ModelPlan
from kneo_serv.runtime.attempts import REAL_PACE, Pace, attempted
from kneo_serv.runtime.endpoint import Endpoint
from kneo_serv.runtime.retry import RetryPolicy

if TYPE_CHECKING:
    from kneo_serv.runtime.chat_model import ChatModel

PROVIDER = "openai"
_LIBRARIES = ("openai", "pydantic_ai")
_INSTALL = "the OpenAI provider is not installed. Install it with: pip install 'pydantic-ai-slim[openai]'"


class OpenAIRuntime:
    """Asks one model over the chat completions API, one request per turn.

    Failures that may pass (429, 408, 5xx, no connection) are tried again as the policy says. The model's own
    `timeout_seconds` takes the place of the policy's.
    """

    def __init__(
        self, *, model: ModelPlan, environ: Mapping[str, str], policy: RetryPolicy, pace: Pace = REAL_PACE
    ) -> None:
        """Note what to ask and how; nothing is imported, looked up or opened before the first turn."""
        self._model = model
        self._endpoint = Endpoint(model, environ)
        self._policy = replace(policy, timeout_seconds=model.timeout_seconds or policy.timeout_seconds)
        self._pace = pace
        self._chat: ChatModel | None = None
        self._opening = asyncio.Lock()

    async def turn(self, request: TurnRequest) -> Turn:
        """The model's answer.

        Raises:
            MissingSecretError: There is no API key; the text names the variable.
            ProviderError: The provider refused, or could not be reached in time.
            MissingExtraError: The provider's library is not installed.
        """
        chat = await self._opened()
        return await attempted(
            lambda: chat.ask(request), policy=self._policy, provider=self._model.provider, pace=self._pace
        )

    async def aclose(self) -> None:
        """Close the HTTP connections."""
        chat, self._chat = self._chat, None
        if chat is not None:
            await chat.aclose()

    async def _opened(self) -> "ChatModel":
        async with self._opening:
            if self._chat is None:
                key = self._endpoint.key()
                if (reason := library_problem()) is not None:
                    raise MissingExtraError(reason)
                # The libraries take a second or more to import; other runs on this loop go on meanwhile.
                module = await asyncio.to_thread(importlib.import_module, "kneo_serv.runtime.chat_model")
                chat_model: type[ChatModel] = module.ChatModel
                self._chat = chat_model(
                    self._model, self._endpoint, key=key, timeout_seconds=self._policy.timeout_seconds
                )
            return self._chat


def openai_problem(model: ModelPlan, environ: Mapping[str, str]) -> str | None:
    """Why this model cannot be asked; None when it can. A missing key shows only at the first turn."""
    return library_problem() or Endpoint(model, environ).problem()


def library_problem() -> str | None:
    """Says how to install the provider's libraries when they are missing. Does not import them."""
    return None if all(find_spec(name) for name in _LIBRARIES) else _INSTALL
