"""A provider, as it is told."""

from typing import Any

from kneo_serv.model.limits import Limits
from kneo_serv.model.provider_state import ProviderState
from kneo_serv.platform.views.bounds import iso


def provider_view(state: ProviderState, now: float, limits: Limits | None = None) -> dict[str, Any]:
    """How it stands (`open`, `paused`, `probing`, `held`), since when and why, and what bounds it."""
    bound = (limits or Limits()).bound("providers", state.name)
    return {
        "name": state.name,
        "standing": state.standing(now).value,
        "failures": state.failures,
        "pauses": state.pauses,
        "paused_until": iso(state.paused_until),
        "reason": state.reason,
        "actor": state.actor,
        "changed_at": iso(state.changed_at),
        "running": bound.running,
        "requests_per_minute": bound.requests_per_minute,
    }
