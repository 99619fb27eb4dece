"""Model turns: what an agent is told, what it answers, and whether the answer is what was asked for."""

import asyncio
import json
import re
from collections import OrderedDict
from collections.abc import Awaitable

from kneo_serv.engine import RunAgentTurn
from kneo_serv.errors import StepTimeoutError
from kneo_serv.model.message import Turn, TurnRequest
from kneo_serv.model.plan import AgentPlan, Plan, Step, StrategyType
from kneo_serv.model.quick import replace
from kneo_serv.observe import current_trace
from kneo_serv.platform.aides import instructions
from kneo_serv.platform.equipment import Equipment
from kneo_serv.platform.leg import Leg
from kneo_serv.platform.memory import Asking, Conversation, Memories
from kneo_serv.platform.outcome import Spoken
from kneo_serv.platform.output_size import check_size
from kneo_serv.platform.span_facts import provider_of
from kneo_serv.platform.speech import Speech
from kneo_serv.platform.toolcalls import ToolCalls
from kneo_serv.platform.wrapping import Wrapping
from kneo_serv.tools import HandlerPool, OutputSchema

_FENCED = re.compile(r"\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*", re.DOTALL | re.IGNORECASE)
_SCHEMAS = 256
"""Compiled output schemas that are kept."""


class Turns:
    """Asks the models of agents."""

    def __init__(
        self,
        equipment: Equipment,
        memories: Memories,
        calls: ToolCalls,
        *,
        pool: HandlerPool,
        speech: Speech,
        wrapping: Wrapping,
    ) -> None:
        self._equipment = equipment
        self._memories = memories
        self._calls = calls
        self._pool = pool
        self._speech = speech
        self._wrapping = wrapping
        self._schemas: OrderedDict[tuple[str, str], OutputSchema] = OrderedDict()

    async def perform(self, plan: Plan, leg: Leg, effect: RunAgentTurn) -> Spoken:
        """One turn. Raises whatever the provider, or the agent's memory, raises."""
        agent = plan.agents[effect.agent]
        told_first = instructions(plan, agent, planning=effect.planning, outline=effect.outline)
        said = Conversation(told_first, tuple(leg.history.get(agent.name, ())), effect.messages)
        asking = Asking(leg.run_id, effect.key, effect.attempt, leg.fence, effect.step.timeout_seconds)
        runtime = self._equipment.runtime(plan, effect.agent)
        told = await self._memories.remember(plan, agent.memory, said, asking)
        limit = effect.step.timeout_seconds
        tools = () if effect.planning else await self._equipment.toolbox(plan).described(agent.tools, timeout=limit)
        request = TurnRequest(
            agent.name,
            told.messages,
            (*tools, *effect.transfers),
            f"{leg.run_id}:{effect.key}:{effect.attempt}:{effect.turn}",
            output_schema=None if effect.planning else agent.output_schema,
            parallel_tool_calls=agent.strategy.parallel_tool_calls,
            on_text=self._speech.voice(plan, leg.run_id, effect),
            max_requests=agent.strategy.max_iterations,
            headers=current_trace(),
            call_tool=self._calls.inner_caller(plan, leg, effect),
        )
        about = {
            "run_id": leg.run_id,
            "step_id": effect.step.id,
            "step_key": effect.key,
            "attempt": effect.attempt,
            "turn": effect.turn,
        }
        turn = await _in_time(self._wrapping.turn(agent, request, runtime.turn, about), effect.step)
        check_size(plan, turn.text)
        turn = replace(turn, usage=turn.usage + told.usage)
        metadata = {**(told.metadata or {}), **_asked(agent)}
        spoken = Spoken(effect.key, effect.step.id, effect.attempt, effect.turn, turn, metadata)
        return spoken if effect.planning else await self._judged(plan, effect, agent, spoken)

    async def _judged(self, plan: Plan, effect: RunAgentTurn, agent: AgentPlan, spoken: Spoken) -> Spoken:
        turn = spoken.turn
        handed_over = {tool.name for tool in effect.transfers} & {call.name for call in turn.tool_calls}
        if handed_over:
            return spoken
        if turn.tool_calls and agent.strategy.type is not StrategyType.SIMPLE:
            approvals, admitted = await self._calls.sorted_out(plan, agent, turn.tool_calls)
            return replace(spoken, approvals=approvals, admitted=admitted)
        if agent.output_schema is None:
            return spoken
        text, misfit = await self._fitted(plan, effect.agent, agent, turn.text)
        return replace(spoken, turn=replace(turn, text=text), misfit=misfit)

    async def _fitted(self, plan: Plan, key: str, agent: AgentPlan, text: str) -> tuple[str, str | None]:
        """The answer as bare JSON text, and what of it does not fit the agent's schema."""
        fenced = _FENCED.fullmatch(text)
        bare = fenced.group(1) if fenced is not None else text.strip()
        try:
            value = json.loads(bare)
        except (ValueError, RecursionError):
            return text, "it is no JSON."
        schema = self._schemas.get((plan.hash, key))
        if schema is None:
            schema = self._schemas[plan.hash, key] = OutputSchema(agent.output_schema or {})
            if len(self._schemas) > _SCHEMAS:
                self._schemas.popitem(last=False)
        misfit = await self._pool.run(schema.misfit, value, name=f"The check of the answer of {agent.name!r}")
        return bare, None if misfit is None else f"{misfit}."


def _asked(agent: AgentPlan) -> dict[str, str]:
    """Who is asked, as the trace tells it; no mode where there are two that may answer."""
    mode, fallback = agent.runtime.preferred_mode, agent.runtime.fallback_mode
    told = {"model_provider": provider_of(agent)}
    return told if fallback not in (None, mode) else told | {"runtime_mode": mode.value}


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
