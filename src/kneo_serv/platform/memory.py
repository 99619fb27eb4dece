"""Memory: what of the conversation so far an agent is told.

A conversation has three parts: what the agent is instructed, what it and its users said in earlier runs of the session,
and the step at hand. The last one begins with the step's input and is never cut between a wish to call tools and the
answers to it. Summaries and retrievals happen inside the model turn and are repeated when a crash repeats it.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kneo_serv.middleware.memory import grouped, newest, system_places
from kneo_serv.model.ids import RunId, StepKey
from kneo_serv.model.message import Message, Role, Usage
from kneo_serv.model.plan import Memory, Plan
from kneo_serv.platform.aides import Aides
from kneo_serv.tools import CallContext

_MAX_MESSAGES = 20
_TOP_K = 5
_KEPT = 256
"""Summaries and retrievals that are kept for the next turns of their steps."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """What an agent could be told."""

    instructions: tuple[Message, ...]
    history: tuple[Message, ...]
    step: tuple[Message, ...]
    """The input, what the model said, and what tools answered."""

    @property
    def messages(self) -> tuple[Message, ...]:
        """All of it in order."""
        return (*self.instructions, *self.history, *self.step)


@dataclass(frozen=True, slots=True)
class Remembered:
    """What an agent is told, what the memory cost, and what is to be told of it."""

    messages: tuple[Message, ...]
    usage: Usage = Usage()
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Asking:
    """For whom a memory is asked. `timeout` in seconds."""

    run_id: RunId
    key: StepKey
    attempt: int
    fence: int
    timeout: float | None


class Memories:
    """The memory policies of agents."""

    def __init__(self, aides: Aides) -> None:
        self._aides = aides
        self._kept: OrderedDict[tuple[str, ...], str] = OrderedDict()

    async def remember(
        self, plan: Plan, memory: Memory | None, conversation: Conversation, asking: Asking
    ) -> Remembered:
        """What the policy leaves of a conversation; all of it without one. Raises what its function or agent raises."""
        if memory is None:
            return Remembered(conversation.messages)
        usage = Usage()
        match memory.policy:
            case "sliding_window":
                messages = _window(conversation, memory.config)
            case "summary":
                messages, usage = await self._summary(plan, memory, conversation, asking)
            case "retrieval":
                messages, usage = await self._retrieval(plan, memory, conversation, asking)
            case _:
                messages = conversation.messages
        before, after = len(conversation.messages), len(messages)
        note = {"policy": memory.policy, "before_message_count": before, "after_message_count": after}
        return Remembered(messages, usage, {"memory": note})

    async def _summary(
        self, plan: Plan, memory: Memory, conversation: Conversation, asking: Asking
    ) -> tuple[tuple[Message, ...], Usage]:
        if not conversation.history:
            return conversation.messages, Usage()
        lines = "\n".join(f"{message.role.value}: {message.content}" for message in conversation.history)
        text, usage = await self._consult(plan, memory, lines, asking, {})
        summary = Message(Role.SYSTEM, f"Summary of the conversation so far:\n{text}")
        return (*conversation.instructions, summary, *conversation.step), usage

    async def _retrieval(
        self, plan: Plan, memory: Memory, conversation: Conversation, asking: Asking
    ) -> tuple[tuple[Message, ...], Usage]:
        top_k = _count(memory.config, "top_k", _TOP_K)
        question = conversation.step[0].content if conversation.step else ""
        text, usage = await self._consult(plan, memory, question, asking, {"top_k": top_k})
        if not text:
            return conversation.messages, usage
        found = Message(Role.SYSTEM, f"What is known about this:\n{text}")
        return (*conversation.instructions, found, *conversation.history, *conversation.step), usage

    async def _consult(
        self, plan: Plan, memory: Memory, text: str, asking: Asking, options: Mapping[str, Any]
    ) -> tuple[str, Usage]:
        """What the memory's function or agent answers; asked once for all turns of a step's attempt."""
        name = memory.ref or ""
        place = (asking.run_id, asking.key, str(asking.attempt), name)
        kept = self._kept.get(place)
        if kept is not None:
            return kept, Usage()
        usage = Usage()
        if name in plan.functions:
            context = CallContext(
                run_id=asking.run_id,
                step_key=asking.key,
                name=name,
                idempotency_key=f"{asking.run_id}:{asking.key}:memory",
                attempt=asking.attempt,
                fence=asking.fence,
            )
            value = await self._aides.call(plan, name, text, context=context, timeout=asking.timeout, **options)
            answer = "\n".join(_lines(value))
        else:
            turn = await self._aides.ask(
                plan, name, text, key=f"{asking.run_id}:{asking.key}:memory", timeout=asking.timeout
            )
            answer, usage = turn.text, turn.usage
        self._kept[place] = answer
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return answer, usage


def _window(conversation: Conversation, config: Mapping[str, Any]) -> tuple[Message, ...]:
    """The newest messages up to the limit, with what must not be cut: instructions, the step's input, and pairs."""
    limit = _count(config, "max_messages", _MAX_MESSAGES)
    preserve = config.get("preserve_system_messages", True) is not False
    groups = [*grouped(conversation.instructions), *grouped(conversation.history), *grouped(conversation.step)]
    first = len(groups) - len(grouped(conversation.step))
    always = {first} if conversation.step else set()
    if preserve:
        always |= system_places(groups)
    return newest(groups, limit=limit, always=always)


def _count(config: Mapping[str, Any], name: str, default: int) -> int:
    value = config.get(name, default)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else default


def _lines(value: Any) -> Sequence[str]:
    """What a function gave back as lines: a text, or a list of texts or of `{text}` and `{content}`."""
    if value is None:
        return ()
    items = value if isinstance(value, list | tuple) else [value]
    return [
        str(item.get("text", item.get("content", item))) if isinstance(item, Mapping) else str(item) for item in items
    ]
