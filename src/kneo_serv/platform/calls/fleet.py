"""Calls about the fleet: its limits, and the providers that are paused."""

from collections.abc import Mapping
from typing import Any

from kneo_serv.model.limits import Limits, limits_from
from kneo_serv.model.provider_state import ProviderState
from kneo_serv.platform.calls.calling import Calling
from kneo_serv.platform.platform import Platform
from kneo_serv.platform.views.provider import provider_view


class FleetCalls(Calling):
    """Reading and setting what holds for all processes on the store."""

    def get_limits(self) -> Limits:
        """The limits that hold now."""
        return self._do(lambda platform: platform.fleet.limits())

    def set_limits(self, limits: Limits | Mapping[str, Any], *, actor: str | None = None) -> tuple[Limits, Limits]:
        """Has these limits hold from now on, whatever held before; the previous ones and the new ones.

        Raises:
            InvalidRequestError: they have another form than docs/workers.md tells.
        """
        new = limits if isinstance(limits, Limits) else limits_from(limits)
        return self._do(lambda platform: platform.fleet.set_limits(new, actor=actor)), new

    def list_providers(self) -> list[dict[str, Any]]:
        """The providers that failed lately, are paused, or are bounded, by name."""
        return self._do(lambda platform: platform.fleet.provider_views())

    def pause_provider(self, name: str, *, reason: str | None = None, actor: str | None = None) -> dict[str, Any]:
        """Has nobody ask the provider until it is resumed; runs that need it wait. Raises InvalidRequestError."""
        return self._change(lambda platform: platform.fleet.providers.hold(name, reason=reason, actor=actor))

    def resume_provider(self, name: str, *, actor: str | None = None) -> dict[str, Any]:
        """Has the provider asked again, whatever it failed before. Raises InvalidRequestError."""
        return self._change(lambda platform: platform.fleet.providers.resume(name, actor=actor))

    def _change(self, change: Any) -> dict[str, Any]:
        async def shown(platform: Platform) -> dict[str, Any]:
            state: ProviderState = await change(platform)
            return provider_view(state, await platform.store.now())

        return self._do(shown)
