"""What a scripted server says: one vocabulary for all wire formats."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Wish:
    """The model wants a tool called. Arguments given as text are sent as they are, valid JSON or not."""

    id: str
    name: str
    arguments: Mapping[str, Any] | str

    @property
    def arguments_text(self) -> str:
        """The arguments as JSON text."""
        return self.arguments if isinstance(self.arguments, str) else json.dumps(dict(self.arguments))

    @property
    def arguments_value(self) -> Any:
        """The arguments as a JSON value; a text that is no JSON stays a text."""
        try:
            return json.loads(self.arguments_text)
        except ValueError:
            return self.arguments_text


@dataclass(frozen=True, slots=True)
class Spoken:
    """What the model says in one turn."""

    text: str | None
    wishes: tuple[Wish, ...] = ()
    input_tokens: int = 10
    """All of them, those from a cache included."""
    output_tokens: int = 5
    cached_tokens: int = 0

    @property
    def pieces(self) -> list[str]:
        """The text word by word, as a streaming server sends it."""
        return re.findall(r"\s*\S+|\s+$", self.text or "")


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer. Make it with `text`, `tool_call`, `tool_calls`, `completion`, `error`, `broken` or `silence`.

    `spoken` and `complaint` take the form of the server's wire format, streamed where the request asks for that;
    a `body` is sent as it is.
    """

    body: Mapping[str, Any] | str = field(default_factory=dict)
    """Sent as JSON; a text is sent as it is."""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    silent: bool = False
    spoken: Spoken | None = None
    complaint: str | None = None
    """What the error says."""
    breaks_after: int | None = None
    """Events after which the connection breaks off."""


def text(content: str | None, *, input_tokens: int = 10, output_tokens: int = 5, cached_tokens: int = 0) -> Answer:
    """The model says this."""
    return Answer(spoken=Spoken(content, (), input_tokens, output_tokens, cached_tokens))


def tool_call(
    name: str, args: Mapping[str, Any] | str, *, call_id: str = "call_1", content: str | None = None
) -> Answer:
    """The model wants one tool called. Arguments given as text are sent as they are, valid JSON or not."""
    return tool_calls((call_id, name, args), content=content)


def tool_calls(
    *calls: tuple[str, str, Mapping[str, Any] | str],
    content: str | None = None,
    input_tokens: int = 10,
    output_tokens: int = 5,
) -> Answer:
    """The model wants several tools called in one turn; each is `(call_id, name, arguments)`."""
    return Answer(spoken=Spoken(content, tuple(Wish(*call) for call in calls), input_tokens, output_tokens))


def completion(body: Mapping[str, Any] | str) -> Answer:
    """Exactly this JSON, or this text instead of any, for servers that differ from the usual."""
    return Answer(body)


def error(status: int, retry_after: float | None = None, *, message: str = "scripted error") -> Answer:
    """An HTTP error, with a Retry-After header in seconds if one is given."""
    headers = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}
    return Answer(status=status, headers=headers, complaint=message)


def broken(content: str, *, after: int = 2) -> Answer:
    """The model begins to say this, and the connection breaks off.

    Where the request asks for a stream, `after` counts the events that still arrive; elsewhere, half of the answer
    does.
    """
    return Answer(spoken=Spoken(content), breaks_after=after)


def silence() -> Answer:
    """No answer at all until the server stops."""
    return Answer(silent=True)
