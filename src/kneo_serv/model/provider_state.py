"""How a provider of models fares, as all processes of a fleet know it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

PROVIDER = "provider"
"""Kind of the documents that hold such states, each under the provider's name."""

RATE = "provider_rate"
"""Kind of the documents that say when a provider may be asked next: a moment, in seconds since the epoch."""

NEEDS_AGENT = "agent:"
NEEDS_PROVIDER = "provider:"
"""How a need of a run begins: the name of an agent or provider that it cannot do without follows."""


class Standing(StrEnum):
    """Whether a provider is asked."""

    OPEN = "open"
    """It is."""
    PAUSED = "paused"
    """It failed too often, and is left alone until a moment."""
    PROBING = "probing"
    """That moment has passed: one run asks it, and its answer decides."""
    HELD = "held"
    """Somebody paused it by hand, until they say otherwise."""


@dataclass(frozen=True, slots=True)
class ProviderState:
    """What is known of one provider. Moments are seconds since the epoch."""

    name: str
    failures: int = 0
    """Questions given up since `failing_since`, with no answer in between."""
    failing_since: float | None = None
    pauses: int = 0
    """How often in a row it was paused; 0 while it is well."""
    paused_until: float | None = None
    probe_until: float | None = None
    """Until when the one who asks it on trial has it to themselves."""
    held: bool = False
    reason: str | None = None
    """Why it is paused or held, without secrets."""
    actor: str | None = None
    """Who holds it."""
    changed_at: float | None = None

    def standing(self, now: float) -> Standing:
        """Whether it is asked now."""
        if self.held:
            return Standing.HELD
        if self.paused_until is None:
            return Standing.OPEN
        return Standing.PAUSED if now < self.paused_until else Standing.PROBING

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def provider_state(name: str, data: Mapping[str, Any] | None) -> ProviderState:
    """The state in a document; one that is well where there is none. What a newer version adds is passed over."""
    known = {field.name for field in fields(ProviderState)} - {"name"}
    return ProviderState(name, **{key: value for key, value in (data or {}).items() if key in known})
