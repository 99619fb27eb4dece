"""Contexts and ends of chains for the tests in here."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from kneo_serv.middleware import RunConfig, RunContext, ToolCallContext
from kneo_serv.model.message import Message, Role, Turn
from kneo_serv.model.tool import ToolResult


def question(*texts: str, **config: Any) -> RunContext:
    """A conversation of users' messages; the last one is the newest."""
    return RunContext(tuple(Message(Role.USER, text) for text in texts), RunConfig("helper", **config))


def call(name: str = "search", **args: Any) -> ToolCallContext:
    return ToolCallContext(name, args)


def saying(text: str) -> tuple[Callable[[RunContext], Awaitable[Turn]], list[RunContext]]:
    """A model that says this, and what it was asked."""
    asked: list[RunContext] = []

    async def answer(context: RunContext) -> Turn:
        asked.append(context)
        return Turn(text)

    return answer, asked


def giving(output: str) -> tuple[Callable[[ToolCallContext], Awaitable[ToolResult]], list[ToolCallContext]]:
    """A tool that gives this, and how it was called."""
    called: list[ToolCallContext] = []

    async def answer(context: ToolCallContext) -> ToolResult:
        called.append(context)
        return ToolResult(context.tool_name, output)

    return answer, called


def done[T](awaitable: Awaitable[T]) -> T:
    async def wait() -> T:
        return await awaitable

    return asyncio.run(wait())
