"""What the ways to a server have in common: how they fail, and how their end is noticed."""

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from mcp.shared.message import SessionMessage


class ConnectionLostError(Exception):
    """There is no session, or no longer. `reason` goes on after a colon and holds no secret.

    `reached` says whether the server may have begun with what it was asked. `lacking` says that something is missing
    here, such as a command or a key, so that no repetition helps.
    """

    def __init__(self, reason: str, *, reached: bool = False, lacking: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.reached = reached
        self.lacking = lacking


class RefusedError(Exception):
    """The server refused a question, or answered what cannot be used. The session goes on; the text holds no secret."""


class WatchedMessages:
    """The same messages; calls `ended` when there will be no more of them."""

    def __init__(self, messages: Any, ended: Callable[[], None]) -> None:
        self._messages = messages
        self._ended = ended

    @property
    def last_context(self) -> Any:
        """The context variables of who sent the last message, where the stream knows."""
        return getattr(self._messages, "last_context", None)

    async def receive(self) -> "SessionMessage | Exception":
        """The next message."""
        try:
            received: SessionMessage | Exception = await self._messages.receive()
        except Exception:
            self._ended()
            raise
        return received

    async def aclose(self) -> None:
        """Takes no more."""
        await self._messages.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> "SessionMessage | Exception":
        try:
            received: SessionMessage | Exception = await self._messages.__anext__()
        except Exception:
            self._ended()
            raise
        return received

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
