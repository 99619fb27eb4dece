"""The inventory of credentials: what is asked and answered."""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from kneo_serv.service.schemas.shapes import Answered, NoQuery

_EXAMPLE: dict[str, Any] = {
    "name": "provider:openai",
    "env_var": "OPENAI_API_KEY",
    "present": True,
    "status": "present",
    "value": "[REDACTED]",
    "expires_at": None,
    "last_checked": None,
}


class CredentialQuery(NoQuery):
    """Which credentials to look for."""

    providers: list[str] | None = Field(
        default=None,
        description="Providers, once for each. Without any: openai, openai-agents, anthropic, google, google-adk.",
    )
    extras: list[str] | None = Field(default=None, description="Further secrets by name, once for each.")
    include_service_tokens: bool = Field(default=True, description="Whether to look for those of the service itself.")


class CredentialEntry(Answered):
    """One credential, without its value."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"example": _EXAMPLE})

    name: str
    env_var: str = Field(description="The environment variable in which it is looked for.")
    present: bool
    status: Literal["present", "missing"]
    value: str | None = Field(default=None, description="`[REDACTED]` where there is one.")
    expires_at: float | None = Field(default=None, description="Not known: null.")
    last_checked: float | None = Field(default=None, description="Not checked with its provider: null.")


class CredentialInventory(Answered):
    """Credentials by section and name."""

    providers: dict[str, CredentialEntry]
    extra: dict[str, CredentialEntry]
    service_tokens: dict[str, CredentialEntry]


class CredentialInventoryResponse(Answered):
    """Which credentials the service has. Values are never told."""

    inventory: CredentialInventory
