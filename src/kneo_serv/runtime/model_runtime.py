"""A model of any provider, asked one turn at a time."""

import asyncio
import importlib
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from kneo_serv.model.message import Turn, TurnRequest
from kneo_serv.model.plan import ModelPlan
from kneo_serv.model.secret import Secrets
from kneo_serv.runtime.attempts import REAL_PACE, Pace, attempted
from kneo_serv.runtime.endpoint import reached
from kneo_serv.runtime.retry import RetryPolicy
from kneo_serv.runtime.telling import Telling

if TYPE_CHECKING:
    from kneo_serv.runtime.models import OpenedModel


class ModelRuntime:
    """Asks one model, one request per turn.

    Failures that may pass (429, 408, 5xx, no connection, a stream that breaks off) are tried again as the policy says.
    The model's own `timeout_seconds` takes the place of the policy's.
    """

    def __init__(
        self,
        *,
        model: ModelPlan,
        environ: Mapping[str, str],
        policy: RetryPolicy,
        secrets: Secrets | None = None,
        pace: Pace = REAL_PACE,
    ) -> None:
        """Note what to ask and how; nothing is imported, looked up or opened before the first turn."""
        self._model = model
        self._environ = environ
        self._secrets = secrets or Secrets(environ)
        self._policy = replace(policy, timeout_seconds=model.timeout_seconds or policy.timeout_seconds)
        self._pace = pace
        self._opened: OpenedModel | None = None
        self._opening = asyncio.Lock()

    async def turn(self, request: TurnRequest) -> Turn:
        """The model's answer. With `on_text` it is heard while it comes, and is the same in the end.

        Raises:
            MissingSecretError: There is no API key; the text names the variable.
            ProviderError: The provider refused, or could not be reached in time.
            MissingExtraError: The provider's library is not installed.
        """
        opened = await self._open()
        from kneo_serv.runtime.turns import ask  # imported by now

        telling = Telling(request.on_text) if request.on_text is not None else None
        return await attempted(
            lambda: ask(opened, request, telling), policy=self._policy, provider=self._model.provider, pace=self._pace
        )

    async def aclose(self) -> None:
        """Close the connections."""
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.aclose()

    async def _open(self) -> "OpenedModel":
        async with self._opening:
            if self._opened is None:
                reached(self._model, self._secrets)  # told before anything is imported
                # The libraries take a second or more to import; other runs on this loop go on meanwhile.
                self._opened = await asyncio.to_thread(self._open_now)
            return self._opened

    def _open_now(self) -> "OpenedModel":
        importlib.import_module("kneo_serv.runtime.turns")
        from kneo_serv.runtime.models import open_model

        return open_model(
            self._model,
            environ=self._environ,
            secrets=self._secrets,
            timeout_seconds=self._policy.timeout_seconds,
        )
