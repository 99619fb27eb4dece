"""Server-sent events as text (the `text/event-stream` of the HTML standard)."""

import json
import re
from collections.abc import Mapping
from typing import Any

_LINES = re.compile(r"\r\n|\r|\n")
_ONE_LINE = str.maketrans({"\r": " ", "\n": " ", "\0": None})


def event(data: Mapping[str, Any], *, name: str, id: str | None = None, retry: int | None = None) -> bytes:  # noqa: A002
    """One event. `retry` is how many milliseconds a client waits before it comes back; `id` is what it says then."""
    return block(json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")), name, id, retry)


def block(data: str, name: str | None = None, id: str | None = None, retry: int | None = None) -> bytes:  # noqa: A002
    """The same with any text. No text can end its field and begin another one."""
    fields = [] if retry is None else [f"retry: {retry:d}"]
    if id is not None:
        fields.append(f"id: {id.translate(_ONE_LINE)}")
    if name is not None:
        fields.append(f"event: {name.translate(_ONE_LINE)}")
    fields += [f"data: {line}" for line in _LINES.split(data)]
    # Half of a character would be no UTF-8, and must not end the stream.
    return ("\n".join(fields) + "\n\n").encode("utf-8", "replace")


def opening(retry: int) -> bytes:
    """What a stream begins with, so that its headers are on their way: after how many milliseconds to come back."""
    return f"retry: {retry:d}\n\n".encode()


def heartbeat(id: str | None) -> bytes:  # noqa: A002
    """A sign of life that is no event; `id` is what a client may say that it knows, since nothing of it is missing."""
    known = "" if id is None else f"id: {id.translate(_ONE_LINE)}\n"
    return f": alive\n{known}\n".encode()
