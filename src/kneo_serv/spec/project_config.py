"""The project config: names, default spec, overlays, and what is filled in where a spec is silent."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from kneo_serv.spec.environment_policy import EnvironmentPolicy
from kneo_serv.spec.models.agent import Mode, RuntimePreferencesSpec


class _Open(BaseModel):
    """A block in which unknown keys are passed over, so that configs of other versions still read."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


class ProjectBlock(_Open):
    """Who this is."""

    name: str
    owner: str | None = None
    description: str | None = None
    default_environment: str = "dev"
    tags: list[str] = Field(default_factory=list)


class ServiceBlock(_Open):
    """Where the service is. Times in seconds."""

    default_url: str | None = None
    timeout_seconds: float = 120
    headers: dict[str, str] = Field(default_factory=dict)


class LocalBlock(_Open):
    """Where local state lies, relative to the project root."""

    state_path: str = ".kneo/kneo_runs.sqlite"
    artifact_path: str = ".kneo/artifacts"
    log_path: str = ".kneo/logs"
    cache_path: str = ".kneo/cache"
    create_missing_dirs: bool = True


class SpecsBlock(_Open):
    """Which spec is meant when none is named, and what is laid over it in which environment."""

    default_spec: str | None = None
    overlays: dict[str, list[str]] = Field(default_factory=dict)
    include_paths: list[str] = Field(default_factory=list)
    validate_on_run: bool = True


class PlatformBlock(_Open):
    """Code of the project that the platform is made with, by import path; modules are found from the project root."""

    tools: list[str] = Field(default_factory=list)
    """Functions that are called with the ToolRegistry."""
    factory: str | None = None
    """Function that returns the PlatformManager."""


class RuntimeDefaults(RuntimePreferencesSpec):
    """Fills `agent.runtime_preferences`."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    preferred_mode: Mode | None = "bridge"
    allowed_modes: list[Mode] = ["bridge"]  # noqa: RUF012 - pydantic copies defaults


class ModelDefaults(_Open):
    """Fills `agent.model`."""

    provider: str | None = None
    name: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    timeout_seconds: float | None = None
    extra: dict[str, Any] = Field(default_factory=dict)


class SecretsBlock(_Open):
    """Which environment variables hold which secrets."""

    provider_env: dict[str, str] = Field(default_factory=dict)
    extra_env: dict[str, str] = Field(default_factory=dict)


class RetentionBlock(_Open):
    """After how many days things are removed; None keeps them."""

    runs_days: float | None = Field(default=None, ge=0)
    checkpoints_days: float | None = Field(default=None, ge=0)
    queue_days: float | None = Field(default=None, ge=0)
    continuations_days: float | None = Field(default=None, ge=0)
    audit_days: float | None = Field(default=None, ge=0)
    idempotency_days: float | None = Field(default=None, ge=0)
    artifacts_days: float | None = Field(default=None, ge=0)
    logs_days: float | None = Field(default=None, ge=0)


class EnvironmentBlock(_Open):
    """One environment: what is merged under every spec, and what it demands."""

    defaults: dict[str, Any] = Field(default_factory=dict)
    policy_enforcement: EnvironmentPolicy | None = None


class ProjectConfig(_Open):
    """The whole config file."""

    project: ProjectBlock
    service: ServiceBlock = ServiceBlock()
    local: LocalBlock = LocalBlock()
    specs: SpecsBlock = SpecsBlock()
    platform: PlatformBlock = PlatformBlock()
    runtime_defaults: RuntimeDefaults | None = None
    model_defaults: dict[str, ModelDefaults] = Field(default_factory=dict)
    policy_defaults: dict[str, Any] = Field(default_factory=dict)
    secrets: SecretsBlock = SecretsBlock()
    retention: RetentionBlock = RetentionBlock()
    environments: dict[str, EnvironmentBlock] = Field(default_factory=dict)
