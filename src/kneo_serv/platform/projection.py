"""Readable files of open human tasks, for people who look into the folder of a local run. Never read back as truth."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from kneo_serv.errors import StoreError
from kneo_serv.model.ids import ContinuationId
from kneo_serv.model.run import Phase
from kneo_serv.model.task import HumanTask, TaskStatus
from kneo_serv.platform.views import task_view
from kneo_serv.store.contract import Append, Store

log = logging.getLogger("kneo_serv.platform")


class TaskFolder(Protocol):
    """A folder with one file for each open task."""

    async def write(self, continuation_id: str, view: Mapping[str, Any]) -> None:
        """Writes the file of a task."""
        ...

    async def remove(self, continuation_id: str) -> None:
        """Removes the file of a task, if there is one."""
        ...

    def list(self) -> Sequence[str]:
        """The tasks that have a file."""
        ...


class TaskFiles:
    """Keeps the folder in step with the appends of this process."""

    def __init__(self, store: Store, folder: TaskFolder) -> None:
        self._store = store
        self._folder = folder
        self._pending: set[asyncio.Task[None]] = set()
        # One after the other, so that a file which is removed is not written later.
        self._turn = asyncio.Lock()

    def appended(self, append: Append) -> None:
        """Follows a durable append."""
        if append.opened or append.closed or append.abandoned:
            task = asyncio.create_task(self._follow(append))
            self._pending.add(task)
            task.add_done_callback(self._pending.discard)

    async def settle(self) -> None:
        """Waits until the folder shows all appends so far."""
        if self._pending:
            await asyncio.gather(*self._pending)

    async def tidy(self) -> None:
        """Removes files of tasks that other processes closed, or that a crash left behind."""
        for continuation_id in await asyncio.to_thread(self._folder.list):
            task = await self._store.get_task(ContinuationId(continuation_id))
            if task is None or task.status is not TaskStatus.OPEN:
                await self._folder.remove(continuation_id)

    async def _follow(self, append: Append) -> None:
        try:
            async with self._turn:
                for continuation_id in (*(closing.continuation_id for closing in append.closed), *append.abandoned):
                    await self._folder.remove(continuation_id)
                if append.projection.phase is not Phase.ENDED:
                    for task in append.opened:
                        await self._write(task)
        except StoreError as error:
            # The store has the truth; a folder that cannot be written costs comfort only.
            log.warning("the files of human tasks cannot be written: %s", error)

    async def _write(self, task: HumanTask) -> None:
        record = await self._store.get_run(task.run_id)
        if record is not None:
            await self._folder.write(task.continuation_id, task_view(task, record))
