"""Shapes of requests about schedules, and of their answers."""

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import ConfigDict, Field

from kneo_serv.service.limits import RequestLimits
from kneo_serv.service.schemas.bounds import Bounds
from kneo_serv.service.schemas.shapes import Answered, Asked, ListQuery, Moment, NoQuery
from kneo_serv.service.schemas.specs import SpecPath

Overlap = Literal["skip", "queue", "allow", "cancel_previous"]
CatchUp = Literal["none", "one", "all"]

_SPEC: dict[str, Any] = {
    "version": "v1",
    "agent": {"name": "echo", "model": {"provider": "dummy", "name": "dummy"}},
}
_CREATE_EXAMPLE: dict[str, Any] = {
    "name": "morning-report",
    "cron": "30 7 * * MON-FRI",
    "timezone": "Europe/Berlin",
    "spec": _SPEC,
    "target": "agent",
    "input": "Summarize what happened overnight.",
}
_MAX_SECONDS = 315_360_000


class ScheduleChanges(Asked):
    """What can be said of a schedule; what is left out of a change stays as it is."""

    cron: str | None = Field(
        default=None, max_length=500, description="Minute, hour, day, month, weekday; or a word such as `@daily`."
    )
    timezone: str = Field(default="UTC", max_length=128, examples=["Europe/Berlin"], description="Of `cron`.")
    at: Moment | None = Field(
        default=None, description="The one moment, ISO 8601, instead of `cron`.", examples=["2030-01-01T09:00:00Z"]
    )
    spec_path: SpecPath | None = Field(default=None, examples=["research_agent.yaml"])
    spec: dict[str, Any] | None = Field(default=None, description="Wins over `spec_path`.", examples=[_SPEC])
    overlays: list[SpecPath] = Field(default_factory=list, description="Merged over the spec, in this order.")
    environment: str | None = Field(default=None, examples=["prod"])
    input: str = Field(default="", description="What each run starts with.")
    target: Literal["agent", "workflow"] = "workflow"
    session_id: str | None = None
    tags: list[str] = Field(default_factory=list)
    metadata: dict[str, Any] = Field(default_factory=dict, description="Of the runs.")
    timeout_seconds: float | None = Field(
        default=None, gt=0, le=_MAX_SECONDS, allow_inf_nan=False, description="Deadline of each run."
    )
    overlap: Overlap = Field(default="skip", description="What becomes of a moment while the last run has not ended.")
    catch_up: CatchUp = Field(default="one", description="What becomes of moments at which nobody was there.")
    jitter_seconds: float = Field(
        default=0.0, ge=0, le=3600, allow_inf_nan=False, description="Moments are kept up to so much later, by chance."
    )

    def check(self, limits: RequestLimits) -> None:
        """Raises RequestValidationError where something is larger than this service takes."""
        bounds = Bounds()
        for name, text in self._names():
            bounds.chars(name, text, limits.max_path_chars)
        bounds.chars("input", self.input, limits.max_input_chars)
        if self.spec is not None:
            bounds.json_bytes("spec", self.spec, limits.max_inline_spec_bytes)
        bounds.json_bytes("metadata", self.metadata, limits.max_metadata_bytes)
        for name, items in (("overlays", self.overlays), ("tags", self.tags)):
            bounds.items(name, items, limits.max_list_items)
            for number, item in enumerate(items):
                bounds.chars(name, item, limits.max_path_chars, number)
        bounds.check()

    def _names(self) -> Iterator[tuple[str, str | None]]:
        yield "spec_path", self.spec_path
        yield "environment", self.environment
        yield "session_id", self.session_id
        yield "at", self.at


class ScheduleCreateRequest(ScheduleChanges):
    """A new schedule: either `spec` or `spec_path`, and either `cron` or `at`."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": _CREATE_EXAMPLE})

    name: str = Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    paused: bool = Field(default=False, description="Whether it waits to be resumed.")


class SchedulePatchRequest(ScheduleChanges):
    """What is to be changed. A new `cron` takes the place of `at`, a new `spec` that of `spec_path`, and so on."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"cron": "0 6 * * *"}})


class ScheduleResponse(Answered):
    """A schedule as it stands; its texts hold no secrets. Moments are ISO texts in UTC."""

    name: str
    cron: str | None = None
    timezone: str = "UTC"
    at: str | None = None
    paused: bool = False
    next_due_at: str | None = None
    next_moments: list[str] | None = Field(
        default=None, description="The next five, as if it were not paused; not in lists."
    )
    overlap: str = "skip"
    catch_up: str = "one"
    jitter_seconds: float = 0.0
    spec_path: str | None = None
    inline_spec: bool = False
    spec: dict[str, Any] | None = Field(default=None, description="An inline spec; not in lists.")
    last_due_at: str | None = None
    last_fired_at: str | None = None
    last_run_id: str | None = None
    last_outcome: str | None = Field(default=None, examples=["started", "skipped", "missed", "failed"])
    last_error: str | None = None
    runs: int = 0
    missed: int = 0


class ScheduleListResponse(Answered):
    """A page of schedules, by name."""

    schedules: list[ScheduleResponse]
    count: int
    total: int = 0


class ScheduleTriggerResponse(Answered):
    """The run that was taken in; `GET /runs/{run_id}` tells how it goes."""

    run_id: str
    status: str = Field(examples=["running"])


class SchedulesQuery(ListQuery):
    """Which schedules."""

    paused: bool | None = None


class ScheduleQuery(NoQuery):
    """Whose schedule it is."""

    tenant: str | None = Field(
        default=None,
        max_length=128,
        description="For callers who see all tenants, where several have a schedule of this name; empty means none.",
    )


class ScheduleGetQuery(ScheduleQuery):
    """And how far one looks ahead."""

    moments: int = Field(default=5, ge=0, le=100, description="How many of the next moments are told.")


class ScheduleDeleteResponse(Answered):
    """The schedule that is gone."""

    name: str
    deleted: bool = True
