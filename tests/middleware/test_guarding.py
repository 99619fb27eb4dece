import logging
from dataclasses import replace

import pytest

from kneo_serv.errors import GuardrailViolation, InvalidRequestError, ToolPolicyViolation
from kneo_serv.middleware import (
    FunctionGuardrail,
    GuardrailResult,
    InputGuardrailMiddleware,
    KeywordGuardrail,
    OutputGuardrailMiddleware,
    RunContext,
    ToolResultGuardrailMiddleware,
    ToolResultGuardrailViolation,
)
from kneo_serv.model.message import Message, Role, Turn
from tests.middleware.calls import call, done, giving, question, saying

NO_TEA = KeywordGuardrail(keywords=["tea"])
HUSHED = FunctionGuardrail(fn=lambda text: GuardrailResult(text.islower(), "too loud", text.lower()))


def broken(text: str) -> bool:
    raise RuntimeError("the check is broken, key sk-12345678901234567890")


def test_a_question_that_passes_reaches_the_model_unchanged() -> None:
    model, asked = saying("yes")
    assert done(InputGuardrailMiddleware(NO_TEA).wrap_run(question("coffee?"), model)).text == "yes"
    assert asked == [question("coffee?")]


def test_a_question_that_does_not_pass_never_reaches_the_model() -> None:
    model, asked = saying("yes")
    with pytest.raises(GuardrailViolation) as caught:
        done(InputGuardrailMiddleware(NO_TEA).wrap_run(question("what of my tea, and mother's?"), model))
    assert asked == []
    assert str(caught.value) == "Guardrail 'KeywordGuardrail' failed: Blocked keywords found: ['tea']"
    assert "mother" not in str(caught.value)


def test_the_newest_question_is_looked_at_also_behind_the_answers_of_tools() -> None:
    model, asked = saying("yes")
    context = question("old", "LOUD")
    context = replace(context, messages=(*context.messages, Message(Role.TOOL, "RESULT", tool_call_id="1")))
    done(InputGuardrailMiddleware(HUSHED, action="revise").wrap_run(context, model))
    assert [message.content for message in asked[0].messages] == ["old", "loud", "RESULT"]


def test_a_conversation_without_a_question_passes() -> None:
    model, _ = saying("yes")
    assert done(InputGuardrailMiddleware(NO_TEA).wrap_run(question(), model)).text == "yes"


def test_an_answer_is_revised_or_refused() -> None:
    model, _ = saying("LOUD")
    assert done(OutputGuardrailMiddleware(HUSHED, action="revise").wrap_run(question("?"), model)).text == "loud"
    with pytest.raises(GuardrailViolation, match="too loud"):
        done(OutputGuardrailMiddleware(HUSHED).wrap_run(question("?"), model))


def test_a_revised_answer_takes_the_providers_own_form_with_it() -> None:
    async def model(context: RunContext) -> Turn:
        return Turn("LOUD", raw='{"content": "LOUD"}')

    turn = done(OutputGuardrailMiddleware(HUSHED, action="revise").wrap_run(question("?"), model))
    assert turn == Turn("loud", raw=None)


def test_what_does_not_pass_is_not_heard_while_it_comes() -> None:
    heard: list[str] = []

    async def model(context: RunContext) -> Turn:
        for piece in ("LO", "UD"):
            if context.config.on_text is not None:
                context.config.on_text(piece)
        return Turn("LOUD")

    context = question("?", on_text=heard.append)
    done(OutputGuardrailMiddleware(HUSHED, action="revise").wrap_run(context, model))
    assert heard == ["loud"]
    with pytest.raises(GuardrailViolation):
        done(OutputGuardrailMiddleware(HUSHED).wrap_run(context, model))
    assert heard == ["loud"]


def test_a_turn_without_text_is_not_looked_at() -> None:
    model, _ = saying("")
    assert done(OutputGuardrailMiddleware(FunctionGuardrail(fn=broken)).wrap_run(question("?"), model)) == Turn("")


def test_the_result_of_a_tool_is_withheld_and_the_call_is_no_denial() -> None:
    tool, called = giving("a cup of tea for the minister")
    with pytest.raises(ToolResultGuardrailViolation) as caught:
        done(ToolResultGuardrailMiddleware(NO_TEA).wrap_tool_call(call(), tool))
    assert len(called) == 1
    assert not isinstance(caught.value, ToolPolicyViolation)
    assert "Tool 'search' was called; its result is withheld" in str(caught.value)
    assert "minister" not in str(caught.value)


def test_the_result_of_a_tool_is_revised() -> None:
    tool, _ = giving("LOUD")
    assert done(ToolResultGuardrailMiddleware(HUSHED, action="revise").wrap_tool_call(call(), tool)).output == "loud"


def test_a_warning_lets_pass_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    tool, _ = giving("tea")
    with caplog.at_level(logging.WARNING, "kneo_serv.middleware"):
        assert done(ToolResultGuardrailMiddleware(NO_TEA, action="warn").wrap_tool_call(call(), tool)).output == "tea"
    assert "guardrail KeywordGuardrail: Blocked keywords found" in caplog.text


def test_a_check_that_fails_is_a_refusal_and_its_secret_stays_out_of_log_and_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model, asked = saying("yes")
    with pytest.raises(GuardrailViolation, match=r"The check itself failed \(RuntimeError\)") as caught:
        done(InputGuardrailMiddleware(FunctionGuardrail(fn=broken)).wrap_run(question("?"), model))
    assert asked == []
    assert "RuntimeError" in caplog.text
    assert "sk-1234" not in caplog.text + str(caught.value)


def test_each_guardrail_looks_at_what_the_one_before_it_left() -> None:
    shorter = FunctionGuardrail(fn=lambda text: GuardrailResult(len(text) < 3, "too long", text[:2]))
    model, _ = saying("LOUD")
    assert done(OutputGuardrailMiddleware(HUSHED, shorter, action="revise").wrap_run(question("?"), model)).text == "lo"


def test_no_guardrail_and_an_unknown_action_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match="At least one guardrail"):
        InputGuardrailMiddleware()
    with pytest.raises(InvalidRequestError, match="'drop' is no action of a guardrail; use one of block, revise, warn"):
        OutputGuardrailMiddleware(NO_TEA, action="drop")
