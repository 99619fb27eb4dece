"""The limits and providers of a fleet: what is asked and answered."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from kneo_serv.service.schemas.shapes import Answered, Asked

_EXAMPLE: dict[str, Any] = {
    "queues": {"batch": {"running": 4, "waiting": 10_000}},
    "tenants": {"*": {"running": 10, "waiting": 1_000}, "acme": {"running": 50}},
    "agents": {"researcher": {"running": 2}},
    "providers": {"openai": {"running": 20, "requests_per_minute": 600}},
}

type Number = Annotated[int, Field(ge=0, le=1_000_000_000)]


class LineBound(Asked):
    """What a queue or tenant may have at a time."""

    running: Number | None = Field(default=None, description="Runs that are executed at once.")
    waiting: Number | None = Field(default=None, description="Runs that wait; more are refused as `queue_full`.")


class AgentBound(Asked):
    """What an agent may have at a time."""

    running: Number | None = Field(default=None, description="Runs with this agent that are executed at once.")


class ProviderBound(Asked):
    """What a provider may have at a time."""

    running: Number | None = Field(default=None, description="Runs that need it and are executed at once.")
    requests_per_minute: float | None = Field(default=None, gt=0, le=1_000_000_000, allow_inf_nan=False)


class LimitsRequest(Asked):
    """All limits. The name `*` stands for each one that is not named, and bounds each for itself."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": _EXAMPLE})

    queues: dict[str, LineBound] = Field(default_factory=dict)
    tenants: dict[str, LineBound] = Field(default_factory=dict)
    agents: dict[str, AgentBound] = Field(default_factory=dict)
    providers: dict[str, ProviderBound] = Field(default_factory=dict)


class LimitsResponse(Answered):
    """The limits that hold."""

    limits: dict[str, dict[str, dict[str, float]]] = Field(description="By kind and name.")
    previous_limits: dict[str, dict[str, dict[str, float]]] | None = Field(
        default=None, description="What held before; null in a reading."
    )


class ProviderPauseRequest(Asked):
    """Why a provider is paused."""

    reason: str | None = Field(default=None, max_length=500)


class ProviderResponse(Answered):
    """How a provider stands."""

    name: str
    standing: str = Field(examples=["paused"], description="`open`, `paused`, `probing` or `held` (by hand).")
    failures: int = Field(default=0, description="Questions given up lately, with no answer in between.")
    pauses: int = Field(default=0, description="How often in a row it was paused.")
    paused_until: str | None = None
    reason: str | None = None
    actor: str | None = Field(default=None, description="Who holds it.")
    changed_at: str | None = None
    running: int | None = Field(default=None, description="Its bound of runs at work.")
    requests_per_minute: float | None = Field(default=None, description="Its bound of questions.")


class ProviderListResponse(Answered):
    """Providers, by name."""

    providers: list[ProviderResponse]
    count: int
