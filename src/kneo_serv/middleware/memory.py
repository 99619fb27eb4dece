"""What of a conversation a model is told: transforms of its messages, and the middleware that applies one."""

import inspect
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from kneo_serv.errors import InvalidRequestError
from kneo_serv.middleware.run import NextRun, RunContext
from kneo_serv.model.message import Message, Role, Turn


class MemoryTransform(Protocol):
    """Makes of a conversation what the model is told of it."""

    async def transform(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """The messages that are sent. A wish to call tools and the answers to it stay together."""
        ...


class MemoryMiddleware:
    """Sends the model what a transform leaves of the conversation. The journal keeps all of it."""

    def __init__(self, transform: MemoryTransform) -> None:
        self._transform = transform

    async def wrap_run(self, ctx: RunContext, next_run: NextRun) -> Turn:
        """The model's answer to what is left."""
        return await next_run(replace(ctx, messages=tuple(await self._transform.transform(ctx.messages))))


class FullHistoryTransform:
    """All of it."""

    async def transform(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """The same messages."""
        return messages


class SlidingWindowTransform:
    """The newest messages, at most `max_messages` of them, and always the newest question.

    System messages count and are kept first, unless `preserve_system_messages` is False. Raises InvalidRequestError
    for a window below 1.
    """

    def __init__(self, *, max_messages: int, preserve_system_messages: bool = True) -> None:
        if max_messages < 1:
            raise InvalidRequestError(f"max_messages must be at least 1, not {max_messages}.")
        self._max_messages = max_messages
        self._preserve = preserve_system_messages

    async def transform(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """The newest ones, in their order."""
        groups = grouped(messages)
        questions = [place for place, group in enumerate(groups) if group[0].role is Role.USER]
        always = set(questions[-1:])
        if self._preserve:
            always |= system_places(groups)
        return newest(groups, limit=self._max_messages, always=always)


class SummaryTransform:
    """A summary in the place of everything before the newest question. Made anew for each turn.

    `summarizer` gets the older messages as lines `role: text` and gives a text; it may be async.
    """

    def __init__(self, *, summarizer: Callable[[str], str | Awaitable[str]]) -> None:
        self._summarizer = summarizer

    async def transform(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """System messages, the summary, the newest question and what followed it."""
        system, older, step = _parts(messages)
        if not older:
            return messages
        lines = "\n".join(f"{message.role.value}: {message.content}" for message in older)
        value = self._summarizer(lines)
        text = await value if inspect.isawaitable(value) else value
        return (*system, Message(Role.SYSTEM, f"Summary of the conversation so far:\n{text}"), *step)


class RetrievalMemoryTransform:
    """What is known about the newest question, in front of the conversation. Looked up anew for each turn.

    `retriever` is called as `retriever(question, top_k)` and gives texts; it may be async.
    """

    def __init__(
        self, *, retriever: Callable[[str, int], Sequence[str] | Awaitable[Sequence[str]]], top_k: int = 5
    ) -> None:
        self._retriever = retriever
        self._top_k = top_k

    async def transform(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """The same messages, with one more behind those of the system where something was found."""
        system, older, step = _parts(messages)
        if not step:
            return messages
        value = self._retriever(step[0].content, self._top_k)
        found = list(await value if inspect.isawaitable(value) else value)[: self._top_k]
        if not found:
            return messages
        told = Message(Role.SYSTEM, "What is known about this:\n" + "\n".join(found))
        return (*system, told, *older, *step)


def grouped(messages: Iterable[Message]) -> list[tuple[Message, ...]]:
    """The messages, each wish to call tools together with the answers to it."""
    groups: list[tuple[Message, ...]] = []
    for message in messages:
        if message.role is Role.TOOL and groups:
            groups[-1] = (*groups[-1], message)
        else:
            groups.append((message,))
    return groups


def system_places(groups: Sequence[tuple[Message, ...]]) -> set[int]:
    """Where the messages of the system stand."""
    return {place for place, group in enumerate(groups) if group[0].role is Role.SYSTEM}


def newest(groups: Sequence[tuple[Message, ...]], *, limit: int, always: Collection[int]) -> tuple[Message, ...]:
    """The newest groups within `limit` messages, beside those at the places `always`, in their order."""
    room = limit - sum(len(groups[place]) for place in always)
    kept = set(always)
    for place in range(len(groups) - 1, -1, -1):
        if place in always:
            continue
        # The newest is kept whatever it weighs: without the answers of its tools a model would ask for them again.
        if len(groups[place]) > room and place != len(groups) - 1:
            break
        room -= len(groups[place])
        kept.add(place)
    return tuple(message for place in sorted(kept) for message in groups[place])


def _parts(
    messages: tuple[Message, ...],
) -> tuple[tuple[Message, ...], tuple[Message, ...], tuple[Message, ...]]:
    """System messages, what was said before the newest question, and that question with what followed."""
    first = next((place for place in reversed(range(len(messages))) if messages[place].role is Role.USER), None)
    before = messages if first is None else messages[:first]
    system = tuple(message for message in before if message.role is Role.SYSTEM)
    older = tuple(message for message in before if message.role is not Role.SYSTEM)
    return system, older, () if first is None else messages[first:]
