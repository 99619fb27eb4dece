"""What guardrails say."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from kneo_serv.model.ids import StepKey
from kneo_serv.model.message import Usage
from kneo_serv.model.quick import quick


class GuardrailOutcome(StrEnum):
    """What follows when a guardrail has looked at a text."""

    PASSED = "passed"
    WARNED = "warned"
    """It goes on as it is, although it did not pass."""
    REVISED = "revised"
    """Another text goes on in its place."""
    RETRY = "retry"
    """The model is asked again."""
    REVIEW = "review"
    """A person is asked."""
    BLOCKED = "blocked"
    """The step fails."""


@quick
@dataclass(frozen=True, slots=True)
class GuardrailStarted:
    """A function or an agent is looking at a text. `place` counts the guardrails of the text from 0."""

    KIND: ClassVar[str] = "guardrail_started"
    VERSION: ClassVar[int] = 1
    key: StepKey
    step_id: str
    guardrail_id: str
    stage: str
    place: int = 0
    call_id: str | None = None
    """The tool call whose result is looked at."""


@quick
@dataclass(frozen=True, slots=True)
class GuardrailApplied:
    """A guardrail looked at a text. One that needs no effect is told only where the text did not pass."""

    KIND: ClassVar[str] = "guardrail_applied"
    VERSION: ClassVar[int] = 1
    key: StepKey
    step_id: str
    guardrail_id: str
    stage: str
    action: str
    passed: bool
    reason: str | None = None
    revised_text: str | None = None
    outcome: GuardrailOutcome = GuardrailOutcome.PASSED
    place: int = 0
    call_id: str | None = None
    assignee: str | None = None
    """Who is to review the text, where somebody is named."""
    usage: Usage = Usage()
    """Of an agent that looked at it."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What a function had to say beside its verdict."""
