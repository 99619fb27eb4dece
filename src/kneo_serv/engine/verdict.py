"""What a guardrail finds in a text, and what follows from it. Keywords and patterns are looked for right here."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kneo_serv.model.event import GuardrailOutcome
from kneo_serv.model.message import Usage
from kneo_serv.model.plan import Guardrail
from kneo_serv.model.quick import quick

MAX_SEARCHED = 1_000_000
"""Characters of a text in which patterns are looked for; a longer one does not pass."""

_EFFECTS = ("function", "agent")
_STAGE_NAMES = {"tool": "tool result"}


@quick
@dataclass(frozen=True, slots=True)
class Verdict:
    """What a guardrail says of a text. `reason` is for people and for a model that is asked again."""

    passed: bool
    reason: str | None = None
    revised_text: str | None = None
    usage: Usage = Usage()
    metadata: Mapping[str, Any] = field(default_factory=dict)


PASSED = Verdict(passed=True)


def is_effect(guardrail: Guardrail) -> bool:
    """Whether somebody outside has to look at the text: a function or an agent."""
    return guardrail.type in _EFFECTS


def look(guardrail: Guardrail, text: str) -> Verdict:
    """The verdict of a guardrail that needs nobody else. What it cannot read, or does not know, does not pass."""
    match guardrail.type:
        case "keyword":
            found = [word for word in _texts(guardrail, "keywords") if _pattern(guardrail, word).search(text)]
            return Verdict(passed=False, reason=f"Blocked keywords found: {found}") if found else PASSED
        case "regex":
            if len(text) > MAX_SEARCHED:
                return Verdict(passed=False, reason=f"The text is longer than {MAX_SEARCHED} characters")
            try:
                found = [pattern for pattern in _texts(guardrail, "patterns") if re.search(pattern, text)]
            except (re.error, OverflowError, RecursionError) as fault:
                return Verdict(passed=False, reason=f"A pattern is no regular expression: {fault}")
            return Verdict(passed=False, reason=f"Blocked patterns found: {found}") if found else PASSED
        case unknown:
            return Verdict(passed=False, reason=f"There is no guardrail type {unknown!r}")


def outcome_of(
    guardrail: Guardrail, stage: str, verdict: Verdict, text: str, *, may_retry: bool
) -> tuple[GuardrailOutcome, str | None]:
    """What follows from a verdict, and the text that goes on where it is another one."""
    if verdict.passed:
        return GuardrailOutcome.PASSED, None
    match guardrail.action:
        case "warn":
            return GuardrailOutcome.WARNED, None
        case "revise" if verdict.revised_text is not None:
            return GuardrailOutcome.REVISED, verdict.revised_text
        case "redact":
            return GuardrailOutcome.REVISED, _redacted(guardrail, stage, text)
        case "retry" if may_retry:
            return GuardrailOutcome.RETRY, None
        case "escalate" | "human_review":
            return GuardrailOutcome.REVIEW, None
        case _:
            return GuardrailOutcome.BLOCKED, None


def max_retries(guardrail: Guardrail) -> int:
    """How often a model is asked again because of this guardrail."""
    configured = guardrail.config.get("max_retries", 1)
    return configured if isinstance(configured, int) else 1


def failure(guardrail_id: str, reason: str) -> str:
    """The message of a step that fails because of a guardrail. It never holds the text itself."""
    return f"Guardrail {guardrail_id!r} failed: {reason}"


def _redacted(guardrail: Guardrail, stage: str, text: str) -> str:
    whole = f"[redacted by {_STAGE_NAMES.get(stage, stage)} guardrail]"
    replacement = guardrail.config.get("replacement")
    if not isinstance(replacement, str) or is_effect(guardrail) or len(text) > MAX_SEARCHED:
        return whole
    try:
        if guardrail.type == "keyword":
            patterns = [_pattern(guardrail, word) for word in _texts(guardrail, "keywords")]
        else:
            patterns = [re.compile(pattern) for pattern in _texts(guardrail, "patterns")]
    except (re.error, OverflowError, RecursionError):
        return whole
    for pattern in patterns:
        text = pattern.sub(lambda _: replacement, text)
    return text


def _pattern(guardrail: Guardrail, keyword: str) -> re.Pattern[str]:
    # Looking and replacing must agree on what counts as the same letter, so both go by one pattern.
    return re.compile(re.escape(keyword), 0 if guardrail.config.get("case_sensitive") is True else re.IGNORECASE)


def _texts(guardrail: Guardrail, name: str) -> list[str]:
    values = guardrail.config.get(name)
    return [str(value) for value in values if value] if isinstance(values, list | tuple) else []
