"""Middleware that lets texts pass, changes them, or refuses them."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum

from kneo_serv.errors import GuardrailViolation, InvalidRequestError, ToolError
from kneo_serv.middleware.guardrails import Guardrail, GuardrailResult
from kneo_serv.middleware.run import NextRun, RunContext
from kneo_serv.middleware.tool import NextCall, ToolCallContext
from kneo_serv.model.message import Message, Role, Turn
from kneo_serv.model.tool import ToolResult
from kneo_serv.observe import redact_error

log = logging.getLogger("kneo_serv.middleware")


class Action(StrEnum):
    """What follows when a text does not pass."""

    BLOCK = "block"
    REVISE = "revise"
    """The guardrail's `revised_text` goes on instead; without one the text is blocked."""
    WARN = "warn"
    """A line in the log, and the text goes on."""


class ToolResultGuardrailViolation(ToolError):
    """A tool was called and what it gave back was withheld; the model is told so, and not the text."""

    code = "tool_result_withheld"

    def __init__(self, message: str, *, tool_name: str, guardrail_id: str) -> None:
        super().__init__(message)
        self.tool_name = tool_name
        self.guardrail_id = guardrail_id


class _Checks:
    """Guardrails one after the other, each looking at what the one before it left."""

    def __init__(self, guardrails: Sequence[Guardrail], action: Action | str) -> None:
        if not guardrails:
            raise InvalidRequestError("At least one guardrail is needed.")
        self._guardrails = tuple(guardrails)
        try:
            self._action = Action(action)
        except ValueError:
            words = ", ".join(Action)
            raise InvalidRequestError(f"{action!r} is no action of a guardrail; use one of {words}.") from None

    async def _passed(self, text: str) -> tuple[str, str | None, str]:
        """The text that goes on; or the guardrail that refuses it, and why."""
        for guardrail in self._guardrails:
            name = type(guardrail).__name__
            found = await self._look(guardrail, text)
            if found.passed:
                continue
            reason = found.reason or "The text did not pass"
            if self._action is Action.WARN:
                log.warning("guardrail %s: %s", name, redact_error(reason))
            elif self._action is Action.REVISE and found.revised_text is not None:
                text = found.revised_text
            else:
                return text, name, reason
        return text, None, ""

    async def _look(self, guardrail: Guardrail, text: str) -> GuardrailResult:
        try:
            return await guardrail.check(text)
        except Exception as error:  # noqa: BLE001 - a check that cannot be made has not been passed
            fault = type(error).__name__
            log.warning("guardrail %s: %s: %s", type(guardrail).__name__, fault, redact_error(str(error)))
            return GuardrailResult(passed=False, reason=f"The check itself failed ({fault})")


class InputGuardrailMiddleware(_Checks):
    """Looks at what the model is asked (the newest message of the user) before each turn.

    A revised text is what the model sees; the journal keeps what was said. Raises GuardrailViolation at the turn, and
    InvalidRequestError for an unknown action.
    """

    def __init__(self, *guardrails: Guardrail, action: Action | str = Action.BLOCK) -> None:
        super().__init__(guardrails, action)

    async def wrap_run(self, ctx: RunContext, next_run: NextRun) -> Turn:
        """The model's answer to a question that passed."""
        place = _last_question(ctx.messages)
        if place is None:
            return await next_run(ctx)
        question = ctx.messages[place]
        text, refused_by, reason = await self._passed(question.content)
        if refused_by is not None:
            raise GuardrailViolation(refused_by, reason)
        if text == question.content:
            return await next_run(ctx)
        revised = replace(question, content=text)
        return await next_run(replace(ctx, messages=(*ctx.messages[:place], revised, *ctx.messages[place + 1 :])))


class OutputGuardrailMiddleware(_Checks):
    """Looks at the text of each turn. Nobody hears of it before it has passed: it is streamed in one piece then.

    Raises GuardrailViolation at the turn, and InvalidRequestError for an unknown action.
    """

    def __init__(self, *guardrails: Guardrail, action: Action | str = Action.BLOCK) -> None:
        super().__init__(guardrails, action)

    async def wrap_run(self, ctx: RunContext, next_run: NextRun) -> Turn:
        """An answer that passed."""
        turn = await next_run(replace(ctx, config=replace(ctx.config, on_text=None)))
        if not turn.text:
            return turn
        text, refused_by, reason = await self._passed(turn.text)
        if refused_by is not None:
            raise GuardrailViolation(refused_by, reason)
        if ctx.config.on_text is not None:
            ctx.config.on_text(text)
        # The provider's own form would bring the old text back into the conversation.
        return turn if text == turn.text else replace(turn, text=text, raw=None)


class ToolResultGuardrailMiddleware(_Checks):
    """Looks at what a tool gave back, before a model reads it.

    Raises ToolResultGuardrailViolation at the call (the model is told, and the run goes on), and InvalidRequestError
    for an unknown action.
    """

    def __init__(self, *guardrails: Guardrail, action: Action | str = Action.BLOCK) -> None:
        super().__init__(guardrails, action)

    async def wrap_tool_call(self, ctx: ToolCallContext, next_call: NextCall) -> ToolResult:
        """A result that passed."""
        result = await next_call(ctx)
        text, refused_by, reason = await self._passed(result.output)
        if refused_by is not None:
            raise ToolResultGuardrailViolation(
                f"Tool {ctx.tool_name!r} was called; its result is withheld by guardrail {refused_by!r}: {reason}",
                tool_name=ctx.tool_name,
                guardrail_id=refused_by,
            )
        return replace(result, output=text)


def _last_question(messages: Sequence[Message]) -> int | None:
    return next((place for place in reversed(range(len(messages))) if messages[place].role is Role.USER), None)
