"""Server-sent events, as the HTML standard has them read."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_LONGEST = 8_000_000
"""Bytes of one event; what is longer is no event of a service."""


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event. `id` is what to come back with, None where the event has none; `data` may be empty."""

    name: str
    data: str
    id: str | None
    retry: int | None
    """Milliseconds after which to come back."""


def server_events(pieces: Iterable[bytes]) -> Iterator[ServerEvent]:
    """The events of a body that comes in pieces, signs of life with an id among them; one that is cut off is none.

    Raises:
        ValueError: an event is too long.
    """
    fields: dict[str, list[str]] = {}
    for line in _lines(pieces):
        if line:
            name, _, value = line.partition(":")
            if name in ("id", "event", "data", "retry"):
                fields.setdefault(name, []).append(value.removeprefix(" "))
        elif fields:
            names, ids, retries = (fields.get(name, [""])[-1] for name in ("event", "id", "retry"))
            retry = int(retries) if retries.isascii() and retries.isdigit() else None
            yield ServerEvent(names, "\n".join(fields.get("data", ())), ids or None, retry)
            fields = {}


def _lines(pieces: Iterable[bytes]) -> Iterator[str]:
    # By the bytes: `splitlines` would also cut at signs that texts may hold.
    left = b""
    for piece in pieces:
        *whole, left = (left + piece).split(b"\n")
        if len(left) > _LONGEST:
            raise ValueError("an event is too long")
        for line in whole:
            yield line.removesuffix(b"\r").decode("utf-8", "replace")
