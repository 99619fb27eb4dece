import re
from typing import Any

import pytest

from kneo_serv.errors import InvalidRequestError, StepError
from kneo_serv.middleware import AgentGuardrail, FunctionGuardrail, GuardrailResult, KeywordGuardrail, RegexGuardrail
from kneo_serv.middleware.guardrails import MAX_SEARCHED
from tests.middleware.calls import done


def test_keywords_are_found_in_any_case_unless_told_otherwise() -> None:
    loose, strict = KeywordGuardrail(keywords=["Tea"]), KeywordGuardrail(keywords=["Tea"], case_sensitive=True)
    assert done(loose.check("a cup of tea")) == GuardrailResult(False, "Blocked keywords found: ['Tea']")
    assert done(strict.check("a cup of tea")).passed
    assert not done(strict.check("Tea!")).passed


def test_keywords_are_plain_text_and_empty_ones_find_nothing() -> None:
    assert done(KeywordGuardrail(keywords=["a.c", ""]).check("abc")).passed


def test_patterns_are_searched_for_anywhere() -> None:
    guardrail = RegexGuardrail(patterns=[r"\d{3}-\d{4}", "secret"], flags=re.IGNORECASE)
    assert (
        done(guardrail.check("call 555-1234, SECRET")).reason
        == "Blocked patterns found: ['\\\\d{3}-\\\\d{4}', 'secret']"
    )
    assert done(guardrail.check("call me")).passed


def test_a_text_too_long_to_be_searched_does_not_pass() -> None:
    assert not done(RegexGuardrail(patterns=["x"]).check("a" * (MAX_SEARCHED + 1))).passed


def test_a_pattern_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(InvalidRequestError, match=r"'\(' is no regular expression"):
        RegexGuardrail(patterns=["("])


@pytest.mark.parametrize("kind", [KeywordGuardrail, RegexGuardrail])
def test_one_text_in_the_place_of_a_list_is_refused(kind: Any) -> None:
    name = "keywords" if kind is KeywordGuardrail else "patterns"
    with pytest.raises(InvalidRequestError, match=rf"write {name}=\['tea'\]"):
        kind(**{name: "tea"})


def test_a_function_says_yes_no_or_more() -> None:
    revised = GuardrailResult(False, "too loud", "hush")
    assert done(FunctionGuardrail(fn=lambda text: True).check("x")).passed
    assert done(FunctionGuardrail(fn=lambda text: False).check("x")).reason == "The function did not let it pass"
    assert done(FunctionGuardrail(fn=lambda text: revised).check("x")) is revised


def test_a_function_may_be_asynchronous() -> None:
    async def short(text: str) -> bool:
        return len(text) < 3

    assert done(FunctionGuardrail(fn=short).check("ab")).passed
    assert not done(FunctionGuardrail(fn=short).check("abc")).passed


def test_a_function_that_says_something_else_is_a_fault() -> None:
    odd: Any = lambda text: "fine"  # noqa: E731
    with pytest.raises(StepError, match="True, False or a GuardrailResult, not str"):
        done(FunctionGuardrail(fn=odd).check("x"))


@pytest.mark.parametrize(
    ("reply", "passed"), [("PASS", True), (" PASS: fine", True), ("PASSED", False), ("refused", False)]
)
def test_an_agent_lets_pass_with_the_word_pass(reply: str, passed: bool) -> None:
    async def agent(text: str) -> str:
        return reply

    result = done(AgentGuardrail(agent=agent).check("x"))
    assert result.passed is passed
    assert passed or (result.metadata["reply"] == reply and reply not in str(result.reason))
