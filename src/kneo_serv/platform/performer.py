"""Doing what the engine decided: functions, model turns and tool calls. Errors become outcomes here."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any, Protocol, assert_never

from kneo_serv.engine import CallFunction, CallTool, CheckGuardrail, Effect, Failure, RunAgentTurn
from kneo_serv.errors import StepTimeoutError, ToolError, ToolPolicyViolation
from kneo_serv.model import event as ev
from kneo_serv.model.ids import RunId, StepKey
from kneo_serv.model.message import Turn, TurnRequest
from kneo_serv.model.plan import AgentPlan, Plan, Step
from kneo_serv.observe import redact_error
from kneo_serv.platform.aides import Aides, instructions
from kneo_serv.platform.guarding import judge
from kneo_serv.platform.memory import Asking, Conversation, Memories
from kneo_serv.platform.options import PlatformOptions
from kneo_serv.platform.outcome import Checked, Lost, Outcome, Returned, Spoken, ToolAnswered
from kneo_serv.platform.sessions import History
from kneo_serv.runtime import Runtime
from kneo_serv.tools import CallContext, HandlerPool, Toolbox, ToolRegistry, call_scope, load_callable
from kneo_serv.tools.mcp import McpServers, McpTools
from kneo_serv.tools.pool import is_async


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
        self._aides = Aides(pool=pool, load=self._load, runtime=self._runtime)
        self._memories = Memories(self._aides)
        self._mcp = McpServers(options.mcp, pool=pool)

    async def perform(
        self, plan: Plan, run_id: RunId, fence: int, effect: Effect, *, history: History | None = None
    ) -> Outcome:
        """Does it, and says what came of it. `history` is what the run's session holds from earlier runs."""
        match effect:
            case CallFunction():
                return await self._function(plan, run_id, fence, effect)
            case RunAgentTurn():
                return await self._turn(plan, run_id, fence, effect, history or {})
            case CallTool():
                return await self._tool(plan, run_id, fence, effect)
            case CheckGuardrail():
                return Checked(effect, await judge(self._aides, plan, run_id, fence, effect))
            case _:
                assert_never(effect)

    async def close(self) -> None:
        """Lets go of connections to providers and MCP servers."""
        await self._mcp.close()
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
            function = await self._imported(plan.functions[name].implementation, effect.step)
            with call_scope(context):
                call = self._pool.run(function, effect.text, timeout=effect.step.timeout_seconds, name=name)
                value = await (call if is_async(function) else self._patiently(call))
            text = value if isinstance(value, str) else str(value)
            _check_size(plan, text)
        except Exception as error:  # noqa: BLE001 - whatever user code raises is the step's failure
            return self._lost(effect.key, effect.step, effect.attempt, error)
        return Returned(effect.key, effect.step.id, effect.attempt, text)

    async def _patiently(self, call: Coroutine[Any, Any, Any]) -> Any:
        """What a function in a thread gives back. No cancel stops it: it gets the grace to come to its end itself."""
        inner = asyncio.ensure_future(call)
        try:
            return await asyncio.shield(inner)
        except asyncio.CancelledError:
            await asyncio.wait({inner}, timeout=self._options.grace_seconds)
            if inner.done() and not inner.cancelled():
                return inner.result()
            inner.cancel()
            await asyncio.gather(inner, return_exceptions=True)
            raise

    async def _imported(self, implementation: str, step: Step) -> Callable[..., Any]:
        """The function, imported in a thread, since what a module does at import may take its time."""
        if implementation not in self._functions:
            self._functions[implementation] = await self._pool.run(
                load_callable, implementation, timeout=step.timeout_seconds, name=f"Importing {implementation!r}"
            )
        return self._functions[implementation]

    async def _turn(self, plan: Plan, run_id: RunId, fence: int, effect: RunAgentTurn, history: History) -> Outcome:
        agent = plan.agents[effect.agent]
        said = Conversation(instructions(plan, agent), tuple(history.get(agent.name, ())), effect.messages)
        asking = Asking(run_id, effect.key, effect.attempt, fence, effect.step.timeout_seconds)
        try:
            runtime = self._runtime(plan, effect.agent)
            told = await self._memories.remember(plan, agent.memory, said, asking)
            request = TurnRequest(
                agent.name,
                told.messages,
                (*await self._toolbox(plan).described(agent.tools), *effect.transfers),
                f"{run_id}:{effect.key}:{effect.attempt}:{effect.turn}",
            )
            turn = await _in_time(runtime.turn(request), effect.step)
            _check_size(plan, turn.text)
        except Exception as error:  # noqa: BLE001 - whatever a provider raises is the step's failure
            return self._lost(effect.key, effect.step, effect.attempt, error)
        turn = replace(turn, usage=turn.usage + told.usage)
        return Spoken(effect.key, effect.step.id, effect.attempt, effect.turn, turn, told.metadata or {})

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
            uncertain=isinstance(error, StepTimeoutError),
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
            mcp = McpTools(self._mcp, plan.mcp_servers, pool=self._pool)
            toolbox = self._toolboxes[plan.hash] = Toolbox(plan.tools, self._tools, pool=self._pool, mcp=mcp)
        return toolbox


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
