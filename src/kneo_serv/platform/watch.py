"""Noticing what happens to runs, in this process and in others that use the same store."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kneo_serv.errors import StoreError
from kneo_serv.model.ids import RunId
from kneo_serv.model.run import Phase
from kneo_serv.store.contract import Store

log = logging.getLogger("kneo_serv.platform")


class Watch:
    """Tells who waits for a run, or executes it, that its journal has grown.

    Appends of this process are told at once. For those of others the store is asked every `interval` seconds whether
    anything changed at all, and only while somebody is interested.
    """

    def __init__(self, store: Store, *, interval: float) -> None:
        self._store = store
        self._interval = interval
        self._seen: dict[RunId, int] = {}
        self._waiters: dict[RunId, list[asyncio.Event]] = {}
        self._hooks: dict[RunId, Callable[[], None]] = {}
        self._listeners: dict[RunId, list[Callable[[], None]]] = {}
        self._everywhere: list[Callable[[], None]] = []
        self._task: asyncio.Task[None] | None = None

    def appended(self, run_id: RunId, seq: int, *, at_work: bool) -> None:
        """An append of this process is durable; `at_work` says that the run goes on by itself."""
        if run_id in self._seen:
            self._seen[run_id] = max(seq, self._seen[run_id])
        if not at_work:
            self.look(run_id)
        else:
            self._tell(run_id)
        self._tell_everywhere()

    def look(self, run_id: RunId) -> None:
        """Whoever waits for the run should look at it."""
        for event in self._waiters.get(run_id, ()):
            event.set()
        self._tell(run_id)

    def follow(self, run_id: RunId, seq: int, hook: Callable[[], None]) -> None:
        """Calls `hook` when another process appends to this run beyond `seq`."""
        self._hooks[run_id] = hook
        self._seen[run_id] = max(seq, self._seen.get(run_id, 0))
        self._ensure()

    def unfollow(self, run_id: RunId) -> None:
        """Ends what `follow` began."""
        self._hooks.pop(run_id, None)
        self._forget(run_id)

    def listen(self, run_id: RunId, hook: Callable[[], None]) -> Callable[[], None]:
        """Calls `hook` whenever the run's journal has grown, whoever wrote it, or the run is to be looked at.

        Returns what ends that.
        """
        hooks = self._listeners.setdefault(run_id, [])
        hooks.append(hook)
        self._seen.setdefault(run_id, -1)
        self._ensure()

        def stop() -> None:
            if hook in hooks:
                hooks.remove(hook)
            if not hooks and self._listeners.get(run_id) is hooks:
                del self._listeners[run_id]
                self._forget(run_id)

        return stop

    def listen_everywhere(self, hook: Callable[[], None]) -> Callable[[], None]:
        """Calls `hook` whenever any journal may have grown, whoever wrote it; returns what ends that."""
        self._everywhere.append(hook)
        self._ensure()

        def stop() -> None:
            if hook in self._everywhere:
                self._everywhere.remove(hook)

        return stop

    def look_all(self) -> None:
        """Whoever waits for any run, or listens to it, should look at it."""
        for run_id in list({**self._waiters, **self._listeners}):
            self.look(run_id)
        self._tell_everywhere()

    @contextmanager
    def turns(self, run_id: RunId) -> Iterator[asyncio.Event]:
        """An event that is set when the run seems to go on by itself no more; clear it, look, then wait for it."""
        event = asyncio.Event()
        self._waiters.setdefault(run_id, []).append(event)
        self._seen.setdefault(run_id, -1)
        self._ensure()
        try:
            yield event
        finally:
            waiters = self._waiters[run_id]
            waiters.remove(event)
            if not waiters:
                del self._waiters[run_id]
                self._forget(run_id)

    async def close(self) -> None:
        """Stops asking the store."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def _tell(self, run_id: RunId) -> None:
        for hook in list(self._listeners.get(run_id, ())):
            hook()

    def _tell_everywhere(self) -> None:
        for hook in list(self._everywhere):
            hook()

    def _forget(self, run_id: RunId) -> None:
        """Looks no more after a run in which nobody is interested."""
        if run_id not in self._waiters and run_id not in self._hooks and run_id not in self._listeners:
            self._seen.pop(run_id, None)

    def _ensure(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._ask())

    async def _ask(self) -> None:
        known = -1
        while self._seen or self._everywhere:
            try:
                version = await self._store.changes()
                if version != known:
                    known = version
                    self._tell_everywhere()
                    await self._compare()
            except StoreError as error:
                log.warning("cannot look for changes of other processes: %s", error)
            await asyncio.sleep(self._interval)

    async def _compare(self) -> None:
        if not self._seen:
            return
        for head in await self._store.heads(list(self._seen)):
            before = self._seen.get(head.run_id)
            if before is None or head.seq <= before:
                continue
            self._seen[head.run_id] = head.seq
            if before >= 0 and (hook := self._hooks.get(head.run_id)) is not None:
                hook()
            if head.phase is not Phase.LEASED:
                self.look(head.run_id)
            else:
                self._tell(head.run_id)
