"""Policies of environments: what is asked and answered."""

from typing import Any

from pydantic import ConfigDict, Field

from kneo_serv.service.schemas.shapes import Answered, Asked, Texts

_EXAMPLE: dict[str, Any] = {
    "enabled": True,
    "fail_on_warnings": False,
    "blocked_diagnostic_codes": ["W_EFFECT_UNDECLARED"],
    "require_human_review": True,
    "require_tool_permissions": True,
    "deny_unrestricted_tools": False,
    "require_guardrails": False,
}


class EnvironmentPolicyRequest(Asked):
    """The whole policy of an environment: what is left out has its default, whatever held before."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": _EXAMPLE})

    enabled: bool = Field(default=True, description="Off: the environment demands nothing.")
    fail_on_warnings: bool = Field(default=False, description="Specs with warnings are refused.")
    blocked_diagnostic_codes: Texts = Field(
        default_factory=list, description="Specs with a finding of one of these codes are refused."
    )
    require_human_review: bool = Field(default=False, description="A workflow must have a human step.")
    require_tool_permissions: bool = Field(default=False, description="Agents with tools must say what these may do.")
    deny_unrestricted_tools: bool = Field(default=False, description="Agents whose tools may do all are refused.")
    require_guardrails: bool = Field(default=False, description="A guardrail must be there.")


class EnvironmentPolicyResponse(Answered):
    """The policy of one environment."""

    environment: str
    policy: dict[str, Any] | None = Field(default=None, description="Null where none is set: nothing is demanded.")
    previous_policy: dict[str, Any] | None = Field(default=None, description="What held before; null in a reading.")


class EnvironmentPolicyListResponse(Answered):
    """All policies that are set."""

    policies: dict[str, dict[str, Any]] = Field(description="By environment.")
    count: int


class EnvironmentPolicyPreviewResponse(Answered):
    """What a policy would change, without setting it."""

    environment: str
    diff: dict[str, dict[str, Any]] = Field(
        description="By field that would change: `from` (null where no policy is set) and `to`."
    )
    affected_run_ids: list[str] = Field(description="Of the environment's newest runs, those that it would refuse.")
    newly_blocking: list[str] = Field(description="Those among them that are not refused today.")
    runs_evaluated: int = Field(description="How many of the newest runs were looked at, 500 at most.")
