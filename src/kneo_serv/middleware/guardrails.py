"""Checks of a text, for middleware and for code of your own."""

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from kneo_serv.errors import InvalidRequestError, StepError

MAX_SEARCHED = 1_000_000
"""Characters of a text in which patterns are looked for; a longer one does not pass."""

_PASS = re.compile(r"\s*PASS\b")


@dataclass(frozen=True, slots=True)
class GuardrailResult:
    """What a guardrail says of a text. `reason` is for people; `revised_text` would pass instead."""

    passed: bool
    reason: str | None = None
    revised_text: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


PASSED = GuardrailResult(passed=True)


class Guardrail(Protocol):
    """Looks at a text."""

    async def check(self, text: str) -> GuardrailResult:
        """Whether it passes. A check that raises is a check that did not pass."""
        ...


class KeywordGuardrail:
    """Refuses a text that holds one of some words, anywhere in it."""

    def __init__(self, *, keywords: Sequence[str], case_sensitive: bool = False) -> None:
        _refuse_text(keywords, "keywords")
        flags = 0 if case_sensitive else re.IGNORECASE
        self._patterns = {word: re.compile(re.escape(word), flags) for word in keywords if word}

    async def check(self, text: str) -> GuardrailResult:
        """The words that were found are the reason."""
        found = [word for word, pattern in self._patterns.items() if pattern.search(text)]
        return GuardrailResult(passed=False, reason=f"Blocked keywords found: {found}") if found else PASSED


class RegexGuardrail:
    """Refuses a text in which one of some patterns is found. `flags` are those of `re`.

    Raises:
        InvalidRequestError: a pattern is no regular expression.
    """

    def __init__(self, *, patterns: Sequence[str], flags: int = 0) -> None:
        _refuse_text(patterns, "patterns")
        self._patterns: list[re.Pattern[str]] = []
        for pattern in patterns:
            try:
                self._patterns.append(re.compile(pattern, flags))
            except (re.error, OverflowError, RecursionError) as fault:
                raise InvalidRequestError(f"{pattern!r} is no regular expression: {fault}") from None

    async def check(self, text: str) -> GuardrailResult:
        """The patterns that were found are the reason."""
        if len(text) > MAX_SEARCHED:
            return GuardrailResult(passed=False, reason=f"The text is longer than {MAX_SEARCHED} characters")
        found = [pattern.pattern for pattern in self._patterns if pattern.search(text)]
        return GuardrailResult(passed=False, reason=f"Blocked patterns found: {found}") if found else PASSED


class FunctionGuardrail:
    """Asks a function: text in; True, False or a `GuardrailResult` out. A sync one runs on the loop: no blocking."""

    def __init__(
        self, *, fn: Callable[[str], bool | GuardrailResult | Awaitable[bool] | Awaitable[GuardrailResult]]
    ) -> None:
        self._fn = fn

    async def check(self, text: str) -> GuardrailResult:
        """What the function says; an error of its own comes through. Raises StepError for any other value."""
        value = self._fn(text)
        said = await value if inspect.isawaitable(value) else value
        if isinstance(said, GuardrailResult):
            return said
        if isinstance(said, bool):
            return PASSED if said else GuardrailResult(passed=False, reason="The function did not let it pass")
        raise StepError(f"A guardrail function gives True, False or a GuardrailResult, not {type(said).__name__}.")


class AgentGuardrail:
    """Asks a model: an async function that sends it the text and gives its reply. A reply that begins PASS passes."""

    def __init__(self, *, agent: Callable[[str], Awaitable[str]]) -> None:
        self._agent = agent

    async def check(self, text: str) -> GuardrailResult:
        """The reply stands in the metadata only, since it may quote the text."""
        reply = await self._agent(text)
        if _PASS.match(reply):
            return PASSED
        return GuardrailResult(passed=False, reason="The agent did not let it pass", metadata={"reply": reply})


def _refuse_text(words: Sequence[str], name: str) -> None:
    if isinstance(words, str):
        raise InvalidRequestError(f"{name} is a list of texts, not one text: write {name}=[{words!r}].")
