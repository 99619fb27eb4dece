"""Somebody who follows a stream of a real server, on a connection and a thread of their own."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import httpx

from tests.acceptance.shell import PATIENCE


@dataclass(frozen=True)
class Told:
    """One event."""

    name: str
    data: dict[str, Any]
    id: str | None


class Follower:
    """Reads a stream as it comes, until it ends or the server is gone."""

    def __init__(
        self, url: str, path: str, *, query: Mapping[str, Any] | None = None, last_id: str | None = None, **headers: str
    ) -> None:
        self.events: list[Told] = []
        self.status = 0
        self.last_id = last_id
        """What a browser would send when it comes back."""
        self.over_at: float | None = None
        self._headers = {**headers, **({} if last_id is None else {"Last-Event-ID": last_id})}
        self._query = query or {}
        self._url = url + path
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.until(lambda one: one.status > 0)
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.set()
        self._thread.join(PATIENCE)

    def until(self, holds: Callable[["Follower"], bool]) -> Self:
        """Waits for what is still to come."""
        deadline = time.monotonic() + PATIENCE
        while not holds(self):
            assert time.monotonic() < deadline, f"{self.status}: {self.events[-3:]}"
            time.sleep(0.005)
        return self

    def named(self, name: str, count: int = 1) -> Self:
        """Waits for so many events of this name."""
        return self.until(lambda one: len([event for event in one.events if event.name == name]) >= count)

    def end(self) -> Self:
        """Waits for the end of the stream."""
        return self.until(lambda one: one.over_at is not None)

    @property
    def ids(self) -> list[str]:
        """The ids of the events, in the order in which they came."""
        return [event.id for event in self.events if event.id is not None]

    def _read(self) -> None:
        try:
            # Signs of life come every second, so that whoever leaves notices it.
            with httpx.stream("GET", self._url, params=self._query, headers=self._headers, timeout=PATIENCE) as answer:
                self.status = answer.status_code
                self._take(answer)
        except httpx.TransportError:
            pass  # killed, or left: what came so far counts
        finally:
            self.status = self.status or -1
            self.over_at = time.monotonic()

    def _take(self, answer: httpx.Response) -> None:
        text = ""
        for piece in answer.iter_text():
            text += piece
            *blocks, text = text.split("\n\n")
            for block in blocks:
                self._note(block)
            if self._leaving.is_set():
                return

    def _note(self, block: str) -> None:
        fields = {}
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        self.last_id = fields.get("id", self.last_id)
        if "data" in fields:
            self.events.append(Told(fields["event"], json.loads(fields["data"]), fields.get("id")))
