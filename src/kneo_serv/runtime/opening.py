"""Where a conversation stands when a loop takes it up."""

from collections.abc import Sequence

from kneo_serv.model.message import Message, Role


def opening(messages: Sequence[Message]) -> tuple[Sequence[Message], str | None]:
    """What was said before, and the user's last word; None where somebody else spoke last."""
    if messages and messages[-1].role is Role.USER:
        return messages[:-1], messages[-1].content
    return messages, None
