"""Where middleware stands: around each model turn of an agent and each tool call that its guard lets pass."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from kneo_serv.errors import InvalidRequestError, ToolError, ToolPolicyViolation
from kneo_serv.middleware import (
    RunConfig,
    RunContext,
    RunMiddleware,
    ToolCallContext,
    ToolMiddleware,
    check,
    compose_run_middlewares,
    compose_tool_middlewares,
)
from kneo_serv.model.message import TextListener, ToolCall, Turn, TurnRequest, Usage
from kneo_serv.model.plan import AgentPlan
from kneo_serv.model.quick import replace
from kneo_serv.model.tool import Effect, ToolResult
from kneo_serv.tools import CallContext, Toolbox, call_scope

type AnyMiddleware = RunMiddleware | ToolMiddleware


class Wrapping:
    """The middlewares of one platform: those around everything, and those that agents list by name.

    Raises:
        InvalidRequestError: something is no middleware, or one of its methods is not async.
    """

    def __init__(
        self,
        *,
        run: Sequence[RunMiddleware] = (),
        tool: Sequence[ToolMiddleware] = (),
        named: Mapping[str, AnyMiddleware] | None = None,
    ) -> None:
        for around_turns in run:
            check(around_turns, "wrap_run")
        for around_calls in tool:
            check(around_calls, "wrap_tool_call")
        self._run = tuple(run)
        self._tool = tuple(tool)
        self._named: dict[str, AnyMiddleware] = dict(named or {})
        for listed in self._named.values():
            check(listed, "wrap_run", "wrap_tool_call")

    @property
    def names(self) -> frozenset[str]:
        """What agents may list."""
        return frozenset(self._named)

    async def turn(
        self,
        agent: AgentPlan,
        request: TurnRequest,
        ask: Callable[[TurnRequest], Awaitable[Turn]],
        metadata: Mapping[str, Any],
    ) -> Turn:
        """The answer to one question. What the model's answers took counts, whatever becomes of them on the way.

        Raises:
            InvalidRequestError: the agent lists a middleware that is not here.
        """
        around = (*self._run, *self._listed(agent, "wrap_run"))
        if not around:
            return await ask(request)
        spent = Usage()
        heard = _Heard(request.on_text) if request.on_text is not None else None

        async def reach(context: RunContext) -> Turn:
            nonlocal spent
            config = context.config
            if heard is not None:
                heard.void()
            turn = await ask(
                replace(
                    request,
                    messages=context.messages,
                    tools=config.tools,
                    output_schema=config.output_schema,
                    parallel_tool_calls=config.parallel_tool_calls,
                    on_text=config.on_text,
                )
            )
            spent = spent + turn.usage
            return turn

        context = RunContext(
            request.messages,
            RunConfig(
                agent.name,
                agent.model.provider if agent.model else None,
                agent.model.name if agent.model else None,
                request.tools,
                request.output_schema,
                request.parallel_tool_calls,
                heard,
            ),
            {**metadata, "idempotency_key": request.idempotency_key},
            request.headers,
        )
        turn = await compose_run_middlewares(cast("Sequence[RunMiddleware]", around), reach)(context)
        if heard is not None:
            heard.settle(turn.text)
        return replace(turn, usage=_at_least(turn.usage, spent))

    async def tool_call(
        self,
        agent: AgentPlan,
        call: ToolCall,
        toolbox: Toolbox,
        reach_tool: Callable[[Mapping[str, Any]], Awaitable[str]],
        *,
        context: CallContext,
    ) -> str:
        """What the tool, or a middleware in its place, answers; raises as `reach_tool`, and what middleware raises.

        `reach_tool` calls the tool behind its guard, with these arguments.

        Raises:
            ToolError: a middleware failed with what the tool had answered already, or began a `once` tool again.
        """
        around = (*self._tool, *self._listed(agent, "wrap_tool_call"))
        if not around:
            return await reach_tool(call.arguments)
        admitted = await toolbox.admit(call.name, call.arguments, policy=agent.tool_policy, visible=agent.tools)
        definition = toolbox.definition(call.name)
        begun = False
        answered = False
        own_fault: BaseException | None = None

        async def reach(inner: ToolCallContext) -> ToolResult:
            nonlocal begun, answered, own_fault
            if inner.tool_name != call.name:
                raise ToolError(f"A middleware may change the arguments of tool {call.name!r}, not the tool.")
            if begun and definition.effect is Effect.ONCE:
                raise ToolError(f"Tool {call.name!r} has the effect `once`, so a middleware may not call it again.")
            begun = True
            try:
                output = await reach_tool(inner.args)
            except BaseException as error:
                own_fault = error
                raise
            answered = True
            return ToolResult(call.name, output, tool_call_id=call.id)

        metadata = {
            "run_id": context.run_id,
            "step_key": context.step_key,
            "attempt": context.attempt,
            "agent": agent.name,
            "tool_call_id": call.id,
            "idempotency_key": context.idempotency_key,
            "capabilities": tuple(capability.value for capability in definition.capabilities),
            "effect": None if definition.effect is None else definition.effect.value,
        }
        composed = compose_tool_middlewares(cast("Sequence[ToolMiddleware]", around), reach)
        try:
            with call_scope(context):
                result = await composed(ToolCallContext(call.name, admitted, metadata))
        except ToolPolicyViolation as refusal:
            if answered:  # what has happened is not history as a call that was denied
                raise ToolError(f"Tool {call.name!r} was called, and its answer refused: {refusal}") from refusal
            raise
        except Exception as error:
            if answered and error is not own_fault and not isinstance(error, ToolError):
                fault = f"{type(error).__name__}: {error}"
                raise ToolError(
                    f"Tool {call.name!r} was called; a middleware failed with its answer: {fault}"
                ) from error
            raise
        return result.output

    def _listed(self, agent: AgentPlan, method: str) -> Iterable[AnyMiddleware]:
        missing = [name for name in agent.middleware if name not in self._named]
        if missing:
            # A middleware may be a guard, so nothing goes past one that is not there.
            known = ", ".join(sorted(self._named)) or "none"
            raise InvalidRequestError(
                f"Agent {agent.name!r} lists the middleware {missing[0]!r}, which is not here (available: {known}). "
                f"Give it to the platform: PlatformManager(..., middlewares={{{missing[0]!r}: ...}})."
            )
        return [self._named[name] for name in agent.middleware if hasattr(self._named[name], method)]


class _Heard:
    """A listener that in the end has heard the text of the turn, whatever middlewares made of the model's answers."""

    def __init__(self, listener: TextListener) -> None:
        self._listener = listener
        self._pieces: list[str] = []

    def __call__(self, piece: str) -> None:
        if piece:
            self._pieces.append(piece)
        else:
            self._pieces.clear()
        self._listener(piece)

    def void(self) -> None:
        """The model is asked once more, so the answer begins again."""
        if self._pieces:
            self("")

    def settle(self, text: str) -> None:
        """The answer is this text. Where nothing was heard of it, nothing is said now."""
        if self._pieces and "".join(self._pieces) != text:
            self.void()
            if text:
                self(text)


def _at_least(told: Usage, spent: Usage) -> Usage:
    """What a middleware says was used, and never less than what the model's own answers took."""
    return Usage(
        max(told.input_tokens, spent.input_tokens),
        max(told.output_tokens, spent.output_tokens),
        max(told.requests, spent.requests),
        max(told.cached_tokens, spent.cached_tokens),
        max(told.cost_usd, spent.cost_usd),
        max(told.unpriced, spent.unpriced),
    )
