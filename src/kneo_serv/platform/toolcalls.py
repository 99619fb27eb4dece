"""Tool calls: behind the guard, with the approval that they need, and told to the model whatever comes of them."""

import json
import logging
from collections.abc import Mapping
from typing import Any

from kneo_serv.engine import CallTool, RunAgentTurn, approval_digest
from kneo_serv.engine.expressions import ExpressionError, is_true
from kneo_serv.errors import (
    KneoError,
    MissingExtraError,
    StepTimeoutError,
    ToolError,
    ToolOutcomeUnknownError,
    ToolPolicyViolation,
    ToolUnavailableError,
)
from kneo_serv.model import event as ev
from kneo_serv.model.ids import StepKey
from kneo_serv.model.message import ToolCall, ToolCaller
from kneo_serv.model.plan import AgentPlan, Plan, Step
from kneo_serv.model.quick import replace
from kneo_serv.model.run import CallPhase, CallState
from kneo_serv.model.tool import ALWAYS, NEVER, OnDeny
from kneo_serv.observe import current_trace, redact_error
from kneo_serv.platform.equipment import Equipment
from kneo_serv.platform.leg import LeaseLostError, Leg
from kneo_serv.platform.outcome import InnerCall, ToolAnswered
from kneo_serv.platform.output_size import check_size
from kneo_serv.platform.wrapping import Wrapping
from kneo_serv.tools import CallContext

log = logging.getLogger("kneo_serv.platform")

type Ended = ev.ToolCallCompleted | ev.ToolCallFailed | ev.ToolPolicyDenied


class ToolCalls:
    """Calls the tools that models ask for."""

    def __init__(self, equipment: Equipment, wrapping: Wrapping) -> None:
        self._equipment = equipment
        self._wrapping = wrapping

    async def perform(self, plan: Plan, leg: Leg, effect: CallTool) -> ToolAnswered:
        """One call that the engine decided on. Whatever the handler raises is told to the model."""
        agent, call = plan.agents[effect.agent], effect.call
        agreed = effect.approved == approval_digest(plan, effect.key, effect.number, call)
        context = _context(leg, effect.key, effect.attempt, call, effect.number)
        event = await self._call(plan, agent, effect.step, call, context, leg, agreed=agreed)
        return ToolAnswered(effect.key, effect.step.id, effect.attempt, call.id, event)

    async def sorted_out(
        self, plan: Plan, agent: AgentPlan, calls: tuple[ToolCall, ...]
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Ids of the wishes that a person has to agree to, and of those that an agent answers.

        What the guard refuses is in neither: it is refused when it is called, and nobody need be asked about it.
        """
        approvals: list[str] = []
        admitted: list[str] = []
        for call in calls:
            tool = plan.tools.get(call.name)
            asks = needs_approval(plan, agent, call)
            nested = tool is not None and tool.agent is not None
            if (asks or nested) and await self._is_admitted(plan, agent, call):
                approvals += [call.id] if asks else []
                admitted += [call.id] if nested else []
        return tuple(approvals), tuple(admitted)

    def inner_caller(self, plan: Plan, leg: Leg, effect: RunAgentTurn) -> ToolCaller:
        """What a runtime with a loop of its own calls tools with, within the turn of `effect`.

        Each call is journaled before it begins. What an interrupted try of the same turn has finished is not called
        again: the answer that it got then is given once more, to the same tool with the same arguments.
        """
        agent = plan.agents[effect.agent]
        settled: dict[str, list[CallState]] = {}
        for state in effect.settled:
            settled.setdefault(_content(state.call), []).append(state)
        number = effect.call_count

        async def call_tool(wish: ToolCall) -> str:
            nonlocal number
            if known := settled.get(_content(wish)):
                return _told(known.pop(0))
            number += 1
            call = ToolCall(f"inner_{number}", wish.name, wish.arguments, wish.invalid_arguments)
            at = (effect.key, effect.step.id, effect.attempt)
            started = ev.ToolCallStarted(effect.key, effect.step.id, call.id, call.name, number, inner=call)
            if not await leg.note(InnerCall(*at, started)):
                raise LeaseLostError
            with leg.active(CallTool(effect.key, effect.step, effect.attempt, effect.agent, call, number)):
                context = _context(leg, effect.key, effect.attempt, call, number)
                event = await self._call(plan, agent, effect.step, call, context, leg, agreed=False)
            await leg.note(InnerCall(*at, event))
            match event:
                case ev.ToolCallCompleted(output=output):
                    return output
                case ev.ToolPolicyDenied(reason=reason) if agent.tool_policy.on_deny is OnDeny.FAIL:
                    raise ToolPolicyViolation(reason, tool_name=call.name)
                case ev.ToolPolicyDenied(reason=reason):
                    return f"Error: {reason}"
                case ev.ToolCallFailed(message=message):
                    if agent.strategy.stop_on_tool_error:
                        raise ToolError(f"Tool {call.name}: {message}")
                    return f"Error: {message}"

        return call_tool

    async def _call(
        self, plan: Plan, agent: AgentPlan, step: Step, call: ToolCall, context: CallContext, leg: Leg, *, agreed: bool
    ) -> Ended:
        key, step_id = context.step_key, step.id
        toolbox = self._equipment.toolbox(plan)

        async def reach(arguments: Mapping[str, Any]) -> str:
            asked = replace(call, arguments=arguments)
            if arguments != call.arguments and (agreed or needs_approval(plan, agent, asked)):
                raise ToolPolicyViolation(
                    f"Tool {call.name!r} was not called: a middleware changed arguments that a person has to agree to.",
                    tool_name=call.name,
                )
            return await toolbox.call(
                call.name,
                arguments,
                policy=agent.tool_policy,
                visible=agent.tools,
                context=context,
                timeout=step.timeout_seconds,
                entry=leg.check,
            )

        try:
            if call.invalid_arguments is not None:
                raise ToolError("the arguments are no JSON object")
            if not agreed and needs_approval(plan, agent, call):
                await toolbox.admit(call.name, call.arguments, policy=agent.tool_policy, visible=agent.tools)
                raise ToolPolicyViolation(
                    f"Tool {call.name!r} was not called: a person has to agree to it, and nobody was asked.",
                    tool_name=call.name,
                )
            output = await self._wrapping.tool_call(agent, call, toolbox, reach, context=context)
            check_size(plan, output)
            return ev.ToolCallCompleted(key, step_id, call.id, call.name, output)
        except ToolPolicyViolation as refusal:
            return ev.ToolPolicyDenied(key, step_id, call.id, call.name, str(refusal))
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is told to the model
            message = redact_error(str(error)) or type(error).__name__
            return ev.ToolCallFailed(
                key,
                step_id,
                call.id,
                call.name,
                type(error).__name__,
                message,
                uncertain=isinstance(error, StepTimeoutError | ToolOutcomeUnknownError),
                unavailable=isinstance(error, ToolUnavailableError | MissingExtraError),
            )

    async def _is_admitted(self, plan: Plan, agent: AgentPlan, call: ToolCall) -> bool:
        if call.invalid_arguments is not None:
            return False
        try:
            await self._equipment.toolbox(plan).admit(
                call.name, call.arguments, policy=agent.tool_policy, visible=agent.tools
            )
        except KneoError:
            return False
        return True


def needs_approval(plan: Plan, agent: AgentPlan, call: ToolCall) -> bool:
    """Whether a person has to agree to this call. A rule that cannot be decided says yes."""
    tool = plan.tools.get(call.name)
    rules = (tool.definition.approval if tool is not None else NEVER, agent.tool_policy.approval.get(call.name, NEVER))
    return any(_says_so(rule, call.name, call.arguments) for rule in rules)


def _says_so(rule: str, name: str, arguments: Mapping[str, Any]) -> bool:
    if rule in (NEVER, ALWAYS):
        return rule == ALWAYS
    try:
        return is_true(rule, {"tool": name, "arguments": arguments})
    except ExpressionError as fault:
        log.warning("the approval of tool %s cannot be decided, so a person is asked: %s", name, fault)
        return True


def _context(leg: Leg, key: StepKey, attempt: int, call: ToolCall, number: int) -> CallContext:
    return CallContext(
        run_id=leg.run_id,
        step_key=key,
        name=call.name,
        idempotency_key=f"{leg.run_id}:{key}:{number}",
        attempt=attempt,
        fence=leg.fence,
        trace=current_trace(),
    )


def _content(call: ToolCall) -> str:
    return json.dumps([call.name, call.arguments, call.invalid_arguments], sort_keys=True, ensure_ascii=False)


def _told(state: CallState) -> str:
    return state.output if state.phase is CallPhase.DONE else f"Error: {state.output}"
