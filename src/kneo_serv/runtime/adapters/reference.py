"""A foreign agent that a spec names by its import path."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from kneo_serv.model.message import Turn, TurnRequest
from kneo_serv.runtime.adapters.kinds import adapted
from kneo_serv.runtime.adapters.thread import in_own_thread
from kneo_serv.runtime.protocol import Runtime
from kneo_serv.runtime.telling import Telling

type ObjectLoader = Callable[[str], Any]
"""Finds an object by its dotted import path; refuses unsafe ones."""


class ReferenceRuntime:
    """Answers through what lies at an import path: a function or a foreign agent.

    It is imported at the first turn, in a thread of its own, since libraries of agents take seconds to import.
    """

    def __init__(self, path: str, *, load: ObjectLoader) -> None:
        self._path = path
        self._load = load
        self._found: Runtime | None = None
        self._finding = asyncio.Lock()

    async def turn(self, request: TurnRequest) -> Turn:
        """What the agent answers. Tool calls of its own are over by then.

        Raises:
            InvalidRequestError: Nothing can be loaded from the path; the text says why.
            ProviderError: What lies there cannot answer, or failed.
        """
        async with self._finding:
            if self._found is None:
                self._found = await in_own_thread(self._adapted)
            found = self._found
        if request.on_text is None:
            return await found.turn(request)
        telling = Telling(request.on_text)
        turn = await found.turn(replace(request, on_text=telling.tell))
        # Foreign loops tell what they say between tool calls as well; in the end the listener has the answer alone.
        telling.finish(turn.text)
        return turn

    async def aclose(self) -> None:
        """Lets the agent let go of its connections."""
        found, self._found = self._found, None
        if found is not None:
            await found.aclose()

    def _adapted(self) -> Runtime:
        return adapted(self._load(self._path), self._path)
