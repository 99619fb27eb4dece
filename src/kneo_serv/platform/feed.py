"""Following all runs at once: their events in the order in which they became durable.

All followers of a process share one reader of the store, which reads what is new once, when something is new; what it
read last is kept for them. A follower who begins further back, or does not keep up, reads from the store at its own
pace. So many idle followers cost what one costs, a slow one costs no memory, and none of them ever holds up a run.
"""

import asyncio
import contextlib
import itertools
import logging
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass

from kneo_serv.errors import InvalidRequestError, KneoError, PlatformClosedError
from kneo_serv.model import event as ev
from kneo_serv.model.ids import RunId
from kneo_serv.model.page import NO_TENANT
from kneo_serv.model.run import PAUSED, RunStatus
from kneo_serv.platform.journal import JournalUnreadableError, public, readable
from kneo_serv.platform.views import LightEvent, RunFacts, light_event
from kneo_serv.platform.views.wire import TRACE_TYPES
from kneo_serv.platform.watch import Watch
from kneo_serv.store.contract import EventRow, FeedItem, Store

log = logging.getLogger("kneo_serv.platform")

_PAGE = 100
_KEPT = 2000
"""Events that are kept for those who follow closely: at most some two megabytes."""
_GATHER_SECONDS = (0.02, 0.25)
"""Events come in bursts; those of one are read together. To wake many followers takes longer, so it is done less often:
within these bounds, a millisecond for each of them."""
_AGAIN_SECONDS = 1.0
"""Until the store is asked again that could not answer."""
_KNOWN_RUNS = 5000


@dataclass(frozen=True, slots=True)
class FeedFilter:
    """Which events. All conditions hold together; an empty one asks for nothing, and a tenant of None neither."""

    run_ids: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()
    """Names of the trace."""
    statuses: frozenset[str] = frozenset()
    """Of the run, as it stands when the event is read; `paused` is `blocked`."""
    workflow_names: frozenset[str] = frozenset()
    agent_names: frozenset[str] = frozenset()
    session_ids: frozenset[str] = frozenset()
    tenant: str | None = None

    def may_pass(self, item: FeedItem) -> bool:
        """Whether it may be one of those, as far as can be told without reading it."""
        if self.run_ids and item.run_id not in self.run_ids:
            return False
        return not self.types or TRACE_TYPES.get(item.row.kind, item.row.kind) in self.types

    def passes(self, event: LightEvent) -> bool:
        """Whether it is one of those."""
        run = event.run
        if self.tenant is not None and run.tenant != (None if self.tenant == NO_TENANT else self.tenant):
            return False
        if self.statuses and (event.status is None or not self._has(event.status)):
            return False
        return all(
            not wanted or value in wanted
            for wanted, value in (
                (self.run_ids, run.run_id),
                (self.types, event.type),
                (self.workflow_names, run.workflow_name),
                (self.agent_names, run.agent_name),
                (self.session_ids, run.session_id),
            )
        )

    def _has(self, status: RunStatus) -> bool:
        return status.value in self.statuses or (status is RunStatus.BLOCKED and PAUSED in self.statuses)


@dataclass(frozen=True, slots=True)
class FeedStretch:
    """The next events that were asked for, perhaps none, and up to which position all was looked through."""

    events: Sequence[LightEvent]
    position: int


class Feed:
    """The events of all runs in one store. Lives on the platform's loop."""

    def __init__(self, store: Store, watch: Watch, *, kept: int = _KEPT) -> None:
        """`kept` is how many events are held for those who follow closely."""
        self._store = store
        self._most = kept
        self._watch = watch
        self._runs: OrderedDict[str, RunFacts] = OrderedDict()
        self._recent: deque[LightEvent] = deque()
        self._floor = 0
        """Behind this position `_recent` holds everything, up to `_head`."""
        self._head: int | None = None
        self._followers: set[asyncio.Event] = set()
        self._grown = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self._fault: Exception | None = None
        self._closed = False

    async def begin(self, after: int | None) -> int:
        """The position to follow from: the present one for None, and at most that.

        Raises:
            InvalidRequestError: it is below 0.
        """
        if after is not None and after < 0:
            raise InvalidRequestError(f"after must be the position of an event, or 0 for all, not {after}.")
        newest = await self._store.last_position()
        # One that is ahead comes from a database that has lost its end: what is given from now on is new.
        return newest if after is None else min(after, newest)

    async def follow(self, chosen: FeedFilter, *, after: int) -> AsyncGenerator[FeedStretch]:
        """The events behind a position that `begin` gave, and then those to come, for ever.

        Raises:
            StoreError: the store could not be read.
            PlatformClosedError: the platform was shut down.
        """
        position = after
        with self._joined() as news:
            while not self._closed:
                news.clear()
                if self._fault is not None:
                    raise self._fault
                if self._head is None:
                    await news.wait()
                elif position < self._floor:
                    stretch = await self._stored(chosen, position)
                    position = stretch.position
                    yield stretch
                elif position < self._head:
                    stretch = self._kept(chosen, position)
                    position = stretch.position
                    yield stretch
                else:
                    await news.wait()
        raise PlatformClosedError(f"The platform was shut down; events were told up to position {position}.")

    async def close(self) -> None:
        """Ends every following."""
        self._closed = True
        for news in self._followers:
            news.set()
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)

    @contextlib.contextmanager
    def _joined(self) -> Iterator[asyncio.Event]:
        news = asyncio.Event()
        self._followers.add(news)
        if self._reader is None:
            self._fault = None
            self._reader = asyncio.create_task(self._read())
        try:
            yield news
        finally:
            self._followers.discard(news)
            if not self._followers and self._reader is not None:
                # Forgotten at once, so that whoever comes next begins anew whenever the reader has ended.
                self._reader.cancel()
                self._reader, self._head = None, None
                self._recent.clear()

    async def _read(self) -> None:
        """Reads what is new, for as long as somebody follows."""
        stop = self._watch.listen_everywhere(self._grown.set)
        try:
            while True:
                self._grown.clear()
                try:
                    full = await self._read_on()
                except KneoError as error:
                    log.warning("the events of all runs cannot be read just now: %s", error)
                    await asyncio.sleep(_AGAIN_SECONDS)
                    continue
                if not full:
                    await self._grown.wait()
                    shortest, longest = _GATHER_SECONDS
                    await asyncio.sleep(min(longest, max(shortest, 0.001 * len(self._followers))))
        except Exception as fault:  # noqa: BLE001 - told to all who would wait for ever
            self._fault = fault
            self._tell()
        finally:
            stop()

    async def _read_on(self) -> bool:
        """Reads the next page of what is new; whether there may be more."""
        if self._head is None:
            self._floor = self._head = await self._store.last_position()
            self._tell()
            return True
        items = await self._store.feed(after=self._head, limit=_PAGE)
        if items:
            self._recent.extend(await self._light(items))
            while len(self._recent) > self._most:
                self._floor = self._recent.popleft().position
            self._head = items[-1].position
            self._tell()
        return len(items) == _PAGE

    def _tell(self) -> None:
        for news in self._followers:
            news.set()

    def _kept(self, chosen: FeedFilter, position: int) -> FeedStretch:
        """The next stretch of what is kept."""
        behind = itertools.takewhile(lambda event: event.position > position, reversed(self._recent))
        waiting = list(behind)[::-1]
        page = waiting[:_PAGE]
        upto = self._head if len(page) == len(waiting) and self._head is not None else page[-1].position
        return FeedStretch([event for event in page if chosen.passes(event)], upto)

    async def _stored(self, chosen: FeedFilter, position: int) -> FeedStretch:
        """The next stretch of what the store has."""
        newest = await self._store.last_position()
        items = await self._store.feed(after=position, limit=_PAGE, tenant=chosen.tenant)
        # Where there were no more, nothing of what is asked for lies up to where the feed had come before.
        upto = items[-1].position if len(items) == _PAGE else max([newest, *(item.position for item in items[-1:])])
        events = await self._light([item for item in items if chosen.may_pass(item)])
        return FeedStretch([event for event in events if chosen.passes(event)], upto)

    async def _light(self, items: Sequence[FeedItem]) -> list[LightEvent]:
        ids = list(dict.fromkeys(item.run_id for item in items))
        statuses = {head.run_id: head.status for head in await self._store.heads(ids)} if ids else {}
        found = []
        for item in items:
            run = await self._facts(item.run_id)
            # Where retention has just removed the run, its events are gone as well.
            if run is None:
                continue
            event = _light(item.position, run, statuses.get(item.run_id), item.row)
            if event is not None:
                found.append(event)
        return found

    async def _facts(self, run_id: RunId) -> RunFacts | None:
        facts = self._runs.get(run_id)
        if facts is None:
            record = await self._store.get_run(run_id)
            if record is None:
                return None
            facts = RunFacts(run_id, record.tenant, record.workflow_name, record.agent_name, record.session_id)
            self._runs[run_id] = facts
            if len(self._runs) > _KNOWN_RUNS:
                self._runs.popitem(last=False)
        else:
            self._runs.move_to_end(run_id)
        return facts


def _light(position: int, run: RunFacts, status: RunStatus | None, row: EventRow) -> LightEvent | None:
    try:
        with readable(RunId(run.run_id)):
            recorded: ev.Recorded = public(row)
    except JournalUnreadableError:
        # A newer version wrote it, or it is damaged: that one run must not hold up the feed of all.
        return LightEvent(position, run, row.seq, TRACE_TYPES.get(row.kind, row.kind), row.at, status)
    return light_event(position, run, status, recorded)
