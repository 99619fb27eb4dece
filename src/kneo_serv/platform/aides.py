"""Functions and agents that are asked beside a step: about a text that has to pass, or for what to remember."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from kneo_serv.errors import StepError, StepTimeoutError
from kneo_serv.model.message import Message, Role, Turn, TurnRequest
from kneo_serv.model.plan import AgentPlan, Plan
from kneo_serv.observe import current_trace
from kneo_serv.platform.wrapping import Wrapping
from kneo_serv.runtime import Runtime
from kneo_serv.tools import CallContext, HandlerPool, call_scope


class Aides:
    """Who is asked beside a step. What they raise is raised to the caller."""

    def __init__(
        self,
        *,
        pool: HandlerPool,
        load: Callable[[str], Callable[..., Any]],
        runtime: Callable[[Plan, str], Runtime],
        wrapping: Wrapping | None = None,
    ) -> None:
        self._pool = pool
        self._load = load
        self._runtime = runtime
        self._wrapping = wrapping or Wrapping()

    async def call(
        self, plan: Plan, name: str, text: str, *, context: CallContext, timeout: float | None, **options: Any
    ) -> Any:
        """What a function of the plan makes of a text."""
        function = self._load(plan.functions[name].implementation)
        with call_scope(context):
            wanted = partial(function, **options) if options else function
            return await self._pool.run(wanted, text, timeout=timeout, name=name)

    async def ask(self, plan: Plan, name: str, text: str, *, key: str, timeout: float | None) -> Turn:
        """What an agent of the plan answers to a text, in one turn and without its tools.

        Raises:
            StepError: a workflow answers for the agent, which takes more than one turn.
            StepTimeoutError: it took longer than `timeout` seconds.
        """
        agent = plan.agents[name]
        if agent.as_agent is not None:
            raise StepError(f"Agent {agent.name!r} is backed by a workflow and cannot be asked beside a step.")
        messages = (*instructions(plan, agent), Message(Role.USER, text))
        try:
            async with asyncio.timeout(timeout) as scope:
                request = TurnRequest(agent.name, messages, (), key, headers=current_trace())
                return await self._wrapping.turn(agent, request, self._runtime(plan, name).turn, {})
        except TimeoutError:
            if not scope.expired():
                raise
            raise StepTimeoutError(f"Agent {agent.name!r} took longer than {timeout or 0:g} seconds.") from None


_PLANNING = (
    "Before anything is done: write a short plan, step by step, of how to answer what you are asked. Name the tools "
    "that each step needs. Write nothing but the plan; you carry it out afterwards."
)


def instructions(
    plan: Plan, agent: AgentPlan, *, planning: bool = False, outline: str | None = None
) -> tuple[Message, ...]:
    """What the agent is told before anything else: its system prompt, the texts of its skills, and its own plan.

    An agent that is `planning` is told so, and which tools it will have.
    """
    texts = [agent.system_prompt or "", *(plan.skills.get(name, "") for name in agent.skills)]
    if planning:
        tools = [plan.tools[name].definition for name in agent.tools if name in plan.tools]
        offered = "\n".join(f"- {tool.name}: {tool.description}" for tool in tools)
        texts += [_PLANNING, f"Tools:\n{offered}" if offered else ""]
    if outline:
        texts.append(f"This is your plan. Carry it out, and then answer.\n{outline}")
    text = "\n\n".join(part for part in texts if part)
    return (Message(Role.SYSTEM, text),) if text else ()
