"""Doing what the engine decided: functions, model turns and tool calls. Errors become outcomes here."""

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any, assert_never

from kneo_serv.engine import CallFunction, CallTool, CheckGuardrail, Effect, Failure, RunAgentTurn
from kneo_serv.engine.steps import TOOL_POLICY_DENIED
from kneo_serv.errors import GuardrailViolation, ProviderPausedError, StepTimeoutError, ToolPolicyViolation
from kneo_serv.model.ids import StepKey
from kneo_serv.model.plan import Plan, Step
from kneo_serv.observe import current_trace, redact_error
from kneo_serv.platform.aides import Aides
from kneo_serv.platform.breaker import Providers
from kneo_serv.platform.equipment import Equipment, Runtimes
from kneo_serv.platform.guarding import judge
from kneo_serv.platform.leg import Leg
from kneo_serv.platform.memory import Memories
from kneo_serv.platform.options import PlatformOptions
from kneo_serv.platform.outcome import Checked, Lost, Outcome, Returned
from kneo_serv.platform.output_size import check_size
from kneo_serv.platform.speech import Speech
from kneo_serv.platform.toolcalls import ToolCalls
from kneo_serv.platform.turns import Turns
from kneo_serv.platform.wrapping import Wrapping
from kneo_serv.tools import CallContext, HandlerPool, ToolRegistry, call_scope
from kneo_serv.tools.pool import is_async


class Performer:
    """Performs effects. An error of a function, model or tool is an outcome; only cancellation passes through."""

    def __init__(
        self,
        *,
        tools: ToolRegistry,
        runtimes: Runtimes,
        pool: HandlerPool,
        options: PlatformOptions,
        speech: Speech,
        wrapping: Wrapping | None = None,
        providers: Providers | None = None,
    ) -> None:
        wrapping = wrapping or Wrapping()
        self._pool = pool
        self._options = options
        self._equipment = Equipment(tools=tools, runtimes=runtimes, pool=pool, mcp=options.mcp, providers=providers)
        # Whoever looks at a text for a step has nobody who could wait for it in its place.
        waiting = partial(self._equipment.runtime, patient=True)
        self._aides = Aides(pool=pool, load=self._equipment.function, runtime=waiting, wrapping=wrapping)
        self._calls = ToolCalls(self._equipment, wrapping)
        self._turns = Turns(
            self._equipment, Memories(self._aides), self._calls, pool=pool, speech=speech, wrapping=wrapping
        )

    async def perform(self, plan: Plan, leg: Leg, effect: Effect) -> Outcome:
        """Does it, and says what came of it."""
        match effect:
            case CallFunction():
                return await self._function(plan, leg, effect)
            case RunAgentTurn():
                try:
                    return await self._turns.perform(plan, leg, effect)
                except Exception as error:  # noqa: BLE001 - whatever a provider raises is the step's failure
                    return self._lost(effect.key, effect.step, effect.attempt, error)
            case CallTool():
                return await self._calls.perform(plan, leg, effect)
            case CheckGuardrail():
                return Checked(effect, await judge(self._aides, plan, leg.run_id, leg.fence, effect))
            case _:
                assert_never(effect)

    async def close(self) -> None:
        """Lets go of connections to providers and MCP servers."""
        await self._equipment.close()

    async def _function(self, plan: Plan, leg: Leg, effect: CallFunction) -> Outcome:
        name, limit = effect.step.ref, effect.step.timeout_seconds
        context = CallContext(
            run_id=leg.run_id,
            step_key=effect.key,
            name=name,
            idempotency_key=f"{leg.run_id}:{effect.key}:0",
            attempt=effect.attempt,
            fence=leg.fence,
            trace=current_trace(),
        )
        try:
            function = await self._equipment.imported(plan.functions[name].implementation, timeout=limit)
            with call_scope(context):
                call = self._pool.run(function, effect.text, timeout=limit, name=name, entry=leg.check)
                value = await (call if is_async(function) else self._patiently(call))
            text = value if isinstance(value, str) else str(value)
            check_size(plan, text)
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

    def _lost(self, key: StepKey, step: Step, attempt: int, error: Exception) -> Lost:
        failure = Failure(
            key,
            TOOL_POLICY_DENIED if isinstance(error, ToolPolicyViolation) else type(error).__name__,
            redact_error(str(error)) or type(error).__name__,
            violation=isinstance(error, ToolPolicyViolation | GuardrailViolation),
            # A time-out of the function's own, of a request that it made, is a failure like any other.
            final=isinstance(error, StepTimeoutError) and not self._options.retry_on_timeout,
            uncertain=isinstance(error, StepTimeoutError),
            not_before=error.until if isinstance(error, ProviderPausedError) else None,
        )
        return Lost(step.id, attempt, failure)
