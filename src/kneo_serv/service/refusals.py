"""The audit of attempts that were refused, so bounded that whoever knocks often cannot fill it."""

import asyncio
import ipaddress
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from kneo_serv.errors import KneoError

log = logging.getLogger("kneo_serv.service")

type Reason = Literal["unauthorized", "forbidden", "expired", "rate_limited"]
type Write = Callable[[str | None, str | None, Mapping[str, Any]], Coroutine[Any, Any, None]]
"""Writes one event: the actor and the tenant, where the key is known, and the facts."""

_WINDOW = 60.0
_MOST_SOURCES = 1_000
_MOST_PENDING = 100
_ELSEWHERE = "others"


@dataclass(slots=True)
class _Window:
    begun: float
    written: int = 0
    left_out: int = 0


class Refusals:
    """Notes refused attempts in the audit, at most so many a minute for each source and reason; the rest is counted.

    A source is an IPv4 address, or the network (/64) of an IPv6 one. All calls come from one loop.
    """

    def __init__(self, write: Write, *, per_minute: int = 10, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives monotonic seconds."""
        self._write = write
        self._per_minute = per_minute
        self._clock = clock
        self._windows: dict[tuple[str, Reason], _Window] = {}
        self._due = clock() + _WINDOW
        self._pending: set[asyncio.Task[None]] = set()

    def note(
        self,
        reason: Reason,
        *,
        scope: str | None,
        route: str,
        client: str | None,
        detail: str,
        name: str | None = None,
        tenant: str | None = None,
    ) -> None:
        """Has the attempt written soon, or counts it.

        Args:
            reason: Why it was refused.
            scope: What it would have needed.
            route: The template of the path: what a caller put into it may be anything.
            client: Address of the caller.
            detail: The reason more exactly than the caller is told it. Never the key.
            name: Whose key it was, where that is known.
            tenant: The tenant of that key: its people see the event too.
        """
        self.tend()
        source = _source_of(client)
        if (source, reason) not in self._windows and len(self._windows) >= _MOST_SOURCES:
            source = _ELSEWHERE
        window = self._windows.setdefault((source, reason), _Window(self._clock()))
        if window.written >= self._per_minute or len(self._pending) >= _MOST_PENDING:
            window.left_out += 1
            return
        window.written += 1
        facts = {"reason": reason, "required_scope": scope, "route": route, "client": client, "detail": detail}
        self._begin(name, tenant, facts)

    def tend(self) -> None:
        """Has the counts of minutes that are over written. Cheap: it may be called with each request."""
        now = self._clock()
        if now < self._due:
            return
        for key, window in list(self._windows.items()):
            if now - window.begun >= _WINDOW:
                del self._windows[key]
                self._tell(key, window)
        self._due = min((one.begun for one in self._windows.values()), default=now) + _WINDOW

    async def close(self) -> None:
        """Writes all counts, and waits for what is being written."""
        for key, window in self._windows.items():
            self._tell(key, window)
        self._windows.clear()
        if self._pending:
            await asyncio.wait(self._pending)

    def _tell(self, key: tuple[str, Reason], window: _Window) -> None:
        source, reason = key
        if window.left_out:
            facts = {"reason": reason, "client": source, "left_out": window.left_out, "detail": "more of the same"}
            self._begin(None, None, facts)

    def _begin(self, name: str | None, tenant: str | None, facts: Mapping[str, Any]) -> None:
        task = asyncio.get_running_loop().create_task(self._written(name, tenant, facts))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    async def _written(self, name: str | None, tenant: str | None, facts: Mapping[str, Any]) -> None:
        try:
            await self._write(name, tenant, facts)
        except KneoError as fault:
            log.warning("a refused attempt (%s) could not be written to the audit: %s", facts["reason"], fault.code)


def _source_of(client: str | None) -> str:
    try:
        address = ipaddress.ip_address(client or "")
    except ValueError:
        return client or "unknown"
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.ip_network((int(address), 64), strict=False))
