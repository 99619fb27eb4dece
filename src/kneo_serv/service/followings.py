"""What streams tell: of one run its trace while it comes, of all runs light events."""

import contextlib
import re
from collections.abc import AsyncGenerator, Collection
from functools import lru_cache
from typing import Any

from kneo_serv.errors import NotFoundError
from kneo_serv.model.run import Phase, RunRecord
from kneo_serv.observe import redact_text
from kneo_serv.platform.feed import FeedFilter, FeedStretch
from kneo_serv.platform.platform import Platform
from kneo_serv.platform.streams import StreamItem, TextDelta, Until
from kneo_serv.platform.views import LightEvent, LiveTrace
from kneo_serv.service import sse
from kneo_serv.service.errors import RequestRefused

TEXT_DELTA = "text_delta"
"""Name of a piece of text among the events of a run."""

_PLACE = re.compile(r"([0-9]{1,18})(?:\.([1-9]))?")
_POSITION = re.compile(r"[0-9]{1,18}")
_HEADER = "Last-Event-ID"


class RunFollowing:
    """One run: the rows of its trace, each once, and what its models say."""

    most = 32

    def __init__(
        self,
        record: RunRecord,
        *,
        after: tuple[int, int] = (0, 0),
        until: Until = "end",
        deltas: bool = True,
        types: Collection[str] = (),
    ) -> None:
        """What follows behind `after`: the number of an event, and how many rows of the next one are known too."""
        self._run_id = record.id
        self._trace = LiveTrace(record)
        self._after = after
        self._until = until
        self._types = frozenset(types)
        self._deltas = deltas and (not types or TEXT_DELTA in self._types)
        self._seq = 0
        self._heard: set[tuple[str, int]] = set()

    async def items(self, platform: Platform) -> AsyncGenerator[StreamItem]:
        """The run from its beginning, since later rows tell of what came before; those that are known are not told."""
        stream = platform.stream(self._run_id, deltas=self._deltas, until=self._until)
        async with contextlib.aclosing(stream) as items:
            async for item in items:
                yield item

    def weight(self, item: StreamItem) -> int:
        """How many events it is."""
        return 1

    def told(self, item: StreamItem) -> bytes:
        """The rows of an event, or a piece of text."""
        if isinstance(item, TextDelta):
            return sse.event(_delta(item) | {"void": item.void or self._begins_anew(item)}, name=TEXT_DELTA)
        rows = self._trace.rows(item)
        self._seq = item.seq
        known, parts = self._after
        if item.seq <= known:
            return b""
        skipped = parts if item.seq == known + 1 else 0
        # Only the last row of an event stands for the whole of it, so that who was cut off between two gets the other.
        ids = [f"{item.seq - 1}.{place}" for place in range(1, len(rows))] + [f"{item.seq}"]
        return b"".join(
            sse.event(row, name=row["type"], id=name)
            for row, name in list(zip(rows, ids, strict=False))[skipped:]
            if not self._types or row["type"] in self._types
        )

    def _begins_anew(self, delta: TextDelta) -> bool:
        """Whether who has come back may have heard of this turn before: it is told from its beginning once more."""
        turn = (delta.key, delta.turn)
        first = turn not in self._heard
        self._heard.add(turn)
        return first and self._after != (0, 0)

    def mark(self) -> str | None:
        """The number of the last event."""
        return None if self._seq <= self._after[0] else f"{self._seq}"

    async def end(self, platform: Platform) -> bytes:
        """How the run stands at its end, or at its rest."""
        facts: dict[str, Any] = {"type": "end", "run_id": self._run_id, "status": None, "sequence": self._seq}
        with contextlib.suppress(NotFoundError):  # retention has just removed it
            record = await platform.record(self._run_id)
            facts |= {
                "status": record.status.value,
                "continuation_id": record.continuation_id,
                "error": _error(record),
            }
        return sse.event(facts, name="end")


class FeedFollowing:
    """All runs, or those that were asked for: light events by their positions."""

    most = 1

    def __init__(self, chosen: FeedFilter, *, after: int) -> None:
        """Events behind a position that `Platform.feed_position` gave."""
        self._chosen = chosen
        self._position = after

    def items(self, platform: Platform) -> AsyncGenerator[FeedStretch]:
        """The feed in stretches."""
        return platform.feed_stretches(self._chosen, after=self._position)

    def weight(self, item: FeedStretch) -> int:
        """How many whole events it is worth: light ones are mostly in words already, unless they are old."""
        return len(item.events) // 10

    def told(self, item: FeedStretch) -> bytes:
        """The events of a stretch."""
        self._position = item.position
        return b"".join([_worded(event) for event in item.events])

    def mark(self) -> str | None:
        """The position up to which all was looked through."""
        return f"{self._position}"

    async def end(self, platform: Platform) -> bytes:
        """Nothing: a feed has no end."""
        return b""


@lru_cache(maxsize=4096)
def _worded(event: LightEvent) -> bytes:
    """An event in words, found once for all who follow closely."""
    return sse.event(event.to_dict(), name=event.type, id=f"{event.position}")


def place_of(header: str | None, after: int) -> tuple[int, int]:
    """Where to go on in one run: by the header, else by the parameter.

    Raises:
        RequestRefused: the header is none of the ids that a stream of a run gives (`invalid_event_id`).
    """
    if header is None or not header.strip():
        return after, 0
    found = _PLACE.fullmatch(header.strip())
    if found is None:
        raise _invalid("as a stream of a run gives it, such as 17")
    return int(found[1]), int(found[2] or 0)


def position_of(header: str | None, after: int | None) -> int | None:
    """Where to go on in the feed, raising as `place_of`; None means from now on."""
    if header is None or not header.strip():
        return after
    if _POSITION.fullmatch(header.strip()) is None:
        raise _invalid("as the stream of all runs gives it, such as 4711")
    return int(header)


def _invalid(allowed: str) -> RequestRefused:
    message = f"{_HEADER} must be the id of an event, {allowed}. Leave it out to begin where `after` says."
    return RequestRefused("invalid_event_id", message, param=_HEADER)


def _delta(delta: TextDelta) -> dict[str, Any]:
    return {
        "type": TEXT_DELTA,
        "run_id": delta.run_id,
        "step_id": delta.step_id,
        "key": delta.key,
        "turn": delta.turn,
        "text": delta.text,
        "void": delta.void,
        "after": delta.after,
    }


def _error(record: RunRecord) -> dict[str, str] | None:
    if record.phase is Phase.PARKED:
        return {"type": "run_parked", "message": redact_text(record.fault or "")}
    if record.error_type is None or not record.status.is_terminal:
        return None
    return {"type": record.error_type, "message": redact_text(record.error_message or "")}
