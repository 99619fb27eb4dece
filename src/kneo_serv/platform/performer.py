"""Doing what the engine decided: functions, model turns and tool calls. Errors become outcomes here."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, assert_never

from kneo_serv.engine import CallFunction, CallTool, Effect, Failure, RunAgentTurn
from kneo_serv.errors import StepTimeoutError, ToolError, ToolPolicyViolation
from kneo_serv.model import event as ev
from kneo_serv.model.ids import RunId, StepKey
from kneo_serv.model.message import Message, Role, Turn, TurnRequest
from kneo_serv.model.plan import AgentPlan, Plan, Step
from kneo_serv.observe import redact_error
from kneo_serv.platform.options import PlatformOptions
from kneo_serv.platform.outcome import Lost, Outcome, Returned, Spoken, ToolAnswered
from kneo_serv.runtime import Runtime
from kneo_serv.tools import CallContext, HandlerPool, Toolbox, ToolRegistry, call_scope, load_callable


class Runtimes(Protocol):
    """Who makes the runtime that answers for an agent."""

    def create(self, agent: AgentPlan) -> Runtime:
        """A runtime for this agent. Raises ProviderError when there is none."""
        ...


class Performer:
    """Performs effects. An error of a function, model or tool is an outcome; only cancellation passes through."""

    def __init__(self, *, tools: ToolRegistry, runtimes: Runtimes, pool: HandlerPool, options: PlatformOptions) -> None:
        self._tools = tools
        self._runtimes = runtimes
        self._pool = pool
        self._options = options
        self._made: dict[tuple[str, str], Runtime] = {}
        self._functions: dict[str, Callable[..., Any]] = {}
        self._toolboxes: dict[str, Toolbox] = {}

    async def perform(self, plan: Plan, run_id: RunId, fence: int, effect: Effect) -> Outcome:
        """Does it, and says what came of it."""
        match effect:
            case CallFunction():
                return await self._function(plan, run_id, fence, effect)
            case RunAgentTurn():
                return await self._turn(plan, run_id, effect)
            case CallTool():
                return await self._tool(plan, run_id, fence, effect)
            case _:
                assert_never(effect)

    async def close(self) -> None:
        """Lets go of connections to providers."""
        for runtime in self._made.values():
            await runtime.aclose()
        self._made.clear()

    async def _function(self, plan: Plan, run_id: RunId, fence: int, effect: CallFunction) -> Outcome:
        name = effect.step.ref
        context = CallContext(
            run_id=run_id,
            step_key=effect.key,
            name=name,
            idempotency_key=f"{run_id}:{effect.key}:0",
            attempt=effect.attempt,
            fence=fence,
        )
        try:
            function = self._load(plan.functions[name].implementation)
            with call_scope(context):
                value = await self._pool.run(function, effect.text, timeout=effect.step.timeout_seconds, name=name)
            text = value if isinstance(value, str) else str(value)
            _check_size(plan, text)
        except Exception as error:  # noqa: BLE001 - whatever user code raises is the step's failure
            return self._lost(effect.key, effect.step, effect.attempt, error)
        return Returned(effect.key, effect.step.id, effect.attempt, text)

    async def _turn(self, plan: Plan, run_id: RunId, effect: RunAgentTurn) -> Outcome:
        agent = plan.agents[effect.agent]
        try:
            runtime = self._runtime(plan, effect.agent)
            request = TurnRequest(
                agent.name,
                (*_system(plan, agent), *effect.messages),
                self._toolbox(plan).definitions(agent.tools),
                f"{run_id}:{effect.key}:{effect.turn}",
            )
            turn = await _in_time(runtime.turn(request), effect.step)
            _check_size(plan, turn.text)
        except Exception as error:  # noqa: BLE001 - whatever a provider raises is the step's failure
            return self._lost(effect.key, effect.step, effect.attempt, error)
        return Spoken(effect.key, effect.step.id, effect.attempt, effect.turn, turn)

    async def _tool(self, plan: Plan, run_id: RunId, fence: int, effect: CallTool) -> Outcome:
        agent = plan.agents[effect.agent]
        call = effect.call
        context = CallContext(
            run_id=run_id,
            step_key=effect.key,
            name=call.name,
            idempotency_key=f"{run_id}:{effect.key}:{effect.number}",
            attempt=effect.attempt,
            fence=fence,
        )
        event: ev.ToolCallCompleted | ev.ToolCallFailed | ev.ToolPolicyDenied
        try:
            if call.invalid_arguments is not None:
                raise ToolError("the arguments are no JSON object")
            output = await self._toolbox(plan).call(
                call.name,
                call.arguments,
                policy=agent.tool_policy,
                visible=agent.tools,
                context=context,
                timeout=effect.step.timeout_seconds,
            )
            _check_size(plan, output)
            event = ev.ToolCallCompleted(effect.key, effect.step.id, call.id, call.name, output)
        except ToolPolicyViolation as refusal:
            event = ev.ToolPolicyDenied(effect.key, effect.step.id, call.id, call.name, str(refusal))
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is told to the model
            message = redact_error(str(error)) or type(error).__name__
            event = ev.ToolCallFailed(effect.key, effect.step.id, call.id, call.name, type(error).__name__, message)
        return ToolAnswered(effect.key, effect.step.id, effect.attempt, call.id, event)

    def _lost(self, key: StepKey, step: Step, attempt: int, error: Exception) -> Lost:
        failure = Failure(
            key,
            type(error).__name__,
            redact_error(str(error)) or type(error).__name__,
            violation=isinstance(error, ToolPolicyViolation),
            # A time-out of the function's own, of a request that it made, is a failure like any other.
            final=isinstance(error, StepTimeoutError) and not self._options.retry_on_timeout,
        )
        return Lost(step.id, attempt, failure)

    def _load(self, implementation: str) -> Callable[..., Any]:
        function = self._functions.get(implementation)
        if function is None:
            function = self._functions[implementation] = load_callable(implementation)
        return function

    def _runtime(self, plan: Plan, agent: str) -> Runtime:
        made = self._made.get((plan.hash, agent))
        if made is None:
            made = self._made[plan.hash, agent] = self._runtimes.create(plan.agents[agent])
        return made

    def _toolbox(self, plan: Plan) -> Toolbox:
        toolbox = self._toolboxes.get(plan.hash)
        if toolbox is None:
            toolbox = self._toolboxes[plan.hash] = Toolbox(plan.tools, self._tools, pool=self._pool)
        return toolbox


def _system(plan: Plan, agent: AgentPlan) -> tuple[Message, ...]:
    texts = [agent.system_prompt or "", *(plan.skills.get(name, "") for name in agent.skills)]
    text = "\n\n".join(part for part in texts if part)
    return (Message(Role.SYSTEM, text),) if text else ()


async def _in_time(answer: Awaitable[Turn], step: Step) -> Turn:
    try:
        async with asyncio.timeout(step.timeout_seconds) as scope:
            return await answer
    except TimeoutError:
        if not scope.expired():
            raise
        raise StepTimeoutError(
            f"The attempt took longer than its timeout of {step.timeout_seconds or 0:g} seconds."
        ) from None


def _check_size(plan: Plan, text: str) -> None:
    limit = plan.limits.max_output_bytes
    # A character takes at most four bytes, so that most texts need no encoding to be seen as small.
    if len(text) * 4 > limit and len(text.encode()) > limit:
        raise OutputTooLargeError(len(text.encode()), limit)


class OutputTooLargeError(ToolError):
    """A step or a tool gave back more than a run may hold."""

    code = "output_too_large"

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"The output has {size} bytes; at most {limit} are kept.")
        self.size = size
        self.limit = limit
