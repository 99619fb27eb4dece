"""What a wire format is."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from kneo_serv.testing.answers import Spoken

MODEL = "scripted"
"""What every scripted server calls its model."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """An error as a provider words it."""

    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


class Wire(Protocol):
    """How one provider's API is spoken."""

    @property
    def base_path(self) -> str:
        """What the base URL of its clients ends with."""
        ...

    @property
    def stream_type(self) -> str:
        """The content type of a streamed answer."""
        ...

    @property
    def expected(self) -> str:
        """The path that is answered, for the text of a refusal."""
        ...

    def answers(self, path: str) -> bool:
        """Whether this is the path of a question to a model."""
        ...

    def streams(self, path: str, request: Mapping[str, Any]) -> bool:
        """Whether the request asks for a stream."""
        ...

    def whole(self, spoken: Spoken) -> dict[str, Any]:
        """The answer in one piece."""
        ...

    def events(self, spoken: Spoken) -> Iterator[bytes]:
        """The answer as the events of a stream, framed."""
        ...

    def complaint(self, status: int, message: str) -> Complaint:
        """An error."""
        ...


def server_sent(data: Mapping[str, Any] | str, *, event: str | None = None) -> bytes:
    """One server-sent event."""
    name = f"event: {event}\n" if event else ""
    return f"{name}data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode()


def halves(text: str) -> tuple[str, str]:
    """A text in two parts, as arguments of a tool arrive."""
    middle = len(text) // 2
    return text[:middle], text[middle:]
