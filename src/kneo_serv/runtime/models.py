"""A model opened through pydantic-ai, by our rules for keys and addresses. Imports the model library: load it late."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from importlib import import_module
from typing import cast

from pydantic_ai.messages import ModelResponse
from pydantic_ai.models import Model
from pydantic_ai.settings import ModelSettings

from kneo_serv.model.message import Usage
from kneo_serv.model.plan import ModelPlan
from kneo_serv.model.secret import Secrets
from kneo_serv.runtime.conversation import as_turn
from kneo_serv.runtime.endpoint import reached
from kneo_serv.runtime.failures import Failures
from kneo_serv.runtime.openers import Opened, Opening
from kneo_serv.runtime.prices import Sale, list_price
from kneo_serv.runtime.providers import Provider


class OpenedModel:
    """A model of the library and what belongs to it. Used on one event loop; made by `open_model`."""

    def __init__(self, plan: ModelPlan, provider: Provider, opened: Opened, failures: Failures) -> None:
        self.plan = plan
        self.provider = provider
        self.model: Model = opened.model
        self.settings: ModelSettings = opened.settings
        """What goes along with every request: the fields of the plan, in the library's words."""
        self._close = opened.close
        self._failures = failures

    def translated(self) -> AbstractContextManager[None]:
        """Within it, the library's errors become `Setback` (it may pass) or ProviderError, and never hold the key."""
        return self._failures.translated()

    def settings_for(self, headers: Mapping[str, str], *, parallel_tool_calls: bool = True) -> ModelSettings:
        """The settings of one request. What the provider's API has no place for is left out."""
        settings = dict(self.settings)
        if headers and self._takes("extra_headers"):
            settings["extra_headers"] = dict(headers)
        if not parallel_tool_calls and self._takes("parallel_tool_calls"):
            settings["parallel_tool_calls"] = False
        return cast("ModelSettings", settings)

    def usage(self, response: ModelResponse) -> Usage:
        """What the answer took, and what that costs by list price."""
        told = response.usage
        usage = as_turn(response).usage
        if self.provider.free or not usage.total_tokens:
            return usage
        names = dict.fromkeys(name for name in (response.model_name, self.plan.name) if name)
        sale = Sale(
            # The bare name: "openai-responses" is sold at the prices of "openai".
            provider=self.model.system,
            url=response.provider_url,
            models=tuple(names),
            at=response.timestamp,
            details=response.provider_details,
        )
        price = list_price(told, sale)
        return replace(usage, unpriced=1) if price is None else replace(usage, cost_usd=price)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._close()

    def _takes(self, setting: str) -> bool:
        profile = cast("Mapping[str, object]", self.model.profile)
        by_profile = cast("tuple[str, ...]", profile.get("openai_unsupported_model_settings", ()))
        return setting not in self.model.unsupported_settings and setting not in by_profile


def open_model(
    model: ModelPlan,
    *,
    environ: Mapping[str, str],
    secrets: Secrets | None = None,
    timeout_seconds: float | None,
) -> OpenedModel:
    """Import the provider's library and make a client for this model. Nothing is asked yet.

    It takes a second or more the first time, so that it is called in a thread where an event loop is running.

    Args:
        model: Which model, and how it is asked.
        environ: Where keys and addresses are looked up.
        secrets: What the project config says about variables; its environment takes the place of `environ`.
        timeout_seconds: Bound of one request; None leaves it to the provider's library.

    Raises:
        MissingExtraError: The provider's libraries are not installed; the text holds the command.
        MissingSecretError: There is no key; the text names the variable.
        ProviderError: There is no such provider, or the model cannot be asked as the spec says.
    """
    known = secrets or Secrets(environ)
    endpoint, key = reached(model, known)
    module, _, function = endpoint.provider.opener.partition(":")
    failures = Failures(model, endpoint, key)
    with failures.translated():
        opened = getattr(import_module(module), function)(Opening(model, endpoint, key, known, timeout_seconds))
    return OpenedModel(model, endpoint.provider, opened, failures)
