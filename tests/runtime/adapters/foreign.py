"""Asking a foreign agent the way a spec does: by its import path."""

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from kneo_serv.errors import ProviderError
from kneo_serv.model.message import Message, Role, ToolCall, Turn, TurnRequest
from kneo_serv.runtime.adapters import ReferenceRuntime
from kneo_serv.testing.answers import Answer, silence
from kneo_serv.testing.scripted_server import ScriptedOpenAI, ScriptedServer
from tests.runtime.conversations import asked, assistant, tool, user

CANARY = "canary-5f2c-do-not-tell"
"""The key of the foreign agents, in no shape that redaction knows."""

type Maker = Callable[[str], Any]
"""Makes the agent for a base URL."""

clients: list[Callable[[], Awaitable[None]]] = []
"""How the clients of the agents that a test made are closed: they are the test's, not the adapter's."""

PLAIN = asked(Message(Role.SYSTEM, "be kind"), user("tea?"))
LONG = asked(
    Message(Role.SYSTEM, "be kind"),
    user("milk?"),
    assistant("Let me look.", ToolCall("call_0", "pantry", {"item": "milk"})),
    tool("one bottle", "call_0"),
    assistant("There is one."),
    user("tea?"),
)


async def turn(found: Any, request: TurnRequest) -> Turn:
    """The answer of whatever lies at the path `shop.agent`."""
    runtime = ReferenceRuntime("shop.agent", load=lambda path: found)
    try:
        return await runtime.turn(request)
    finally:
        await runtime.aclose()


def answer(make: Maker, server: ScriptedServer, request: TurnRequest = PLAIN) -> Turn:
    """The same outside of a loop."""
    return asyncio.run(_made(make, server, request))


async def _made(make: Maker, server: ScriptedServer, request: TurnRequest) -> Turn:
    try:
        return await turn(make(server.base_url), request)
    finally:
        await _close_clients()


async def _close_clients() -> None:
    while clients:
        await clients.pop()()


def failure(
    make: Maker, *answers: Answer, request: TurnRequest = PLAIN, serve: type[ScriptedServer] = ScriptedOpenAI
) -> ProviderError:
    """How the agent fails. No text of the error tells the canary, nor does a traceback."""
    with serve(answers) as server, pytest.raises(ProviderError) as caught:
        answer(make, server, request)
    problem = caught.value
    told = "".join(traceback.format_exception(problem))
    assert CANARY not in f"{problem!r} {problem} {problem.facts()} {told}"
    return problem


def cancelled(make: Maker, request: TurnRequest = PLAIN, *, serve: type[ScriptedServer] = ScriptedOpenAI) -> None:
    """Cancels a turn while the agent waits for its model. No task of it is left at work."""

    async def scenario() -> None:
        loop, reached = asyncio.get_running_loop(), asyncio.Event()

        def script(_: Mapping[str, Any]) -> Answer:
            loop.call_soon_threadsafe(reached.set)
            return silence()

        with serve(script) as server:
            waiting = asyncio.create_task(turn(make(server.base_url), request))
            await reached.wait()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            others = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.wait_for(asyncio.gather(*others, return_exceptions=True), 5)
            await _close_clients()

    asyncio.run(scenario())


def roles(request: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Who said what in a request to a chat completions API."""
    return [(message["role"], message.get("content")) for message in request["messages"]]
