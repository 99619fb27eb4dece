"""Connections to one database: made when needed, kept for the next one, thrown away when they break."""

import asyncio
import logging
import os
import random
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from kneo_serv.errors import StoreError
from kneo_serv.store.jsontext import plain
from kneo_serv.store.postgres.address import Address
from kneo_serv.store.postgres.faults import is_lost, is_passing, translate

log = logging.getLogger("kneo_serv.store")

type Connection = psycopg.AsyncConnection[tuple[Any, ...]]
type Rows = list[tuple[Any, ...]]
type Values = Sequence[Any] | Mapping[str, Any]

ANSWER_WITHIN = 30.0
_TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s AND backend_start::text = %s"
_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 0.5


@dataclass(frozen=True, slots=True)
class Link:
    """A connection, and its process in the server and when that began; None behind a pooler, which hides them."""

    connection: Connection
    backend: tuple[int, str] | None

    async def fetch(self, query: str, values: Values | None = None, *, prepare: bool | None = None) -> Rows:
        """Rows of a statement, in one round trip; in a transaction of its own unless one is open."""
        cursor = await self.connection.execute(query.encode(), _plain(values), prepare=prepare, binary=True)
        return await cursor.fetchall() if cursor.description else []

    async def change(self, query: str, values: Values | None = None) -> int:
        """How many rows a statement has changed."""
        return (await self.connection.execute(query.encode(), _plain(values))).rowcount

    def cut(self) -> None:
        """Ends the connection under whoever waits for an answer on it, who is told that it is lost."""
        with suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(self.connection.fileno())) as end:
            end.shutdown(socket.SHUT_RDWR)

    @property
    def is_clean(self) -> bool:
        """Whether it can serve the next one."""
        connection = self.connection
        return not connection.closed and connection.pgconn.transaction_status == TransactionStatus.IDLE


class Backoff:
    """Pauses between attempts, longer from one to the next, until the patience is over."""

    def __init__(self, patience: float) -> None:
        self._end = time.monotonic() + patience
        self._pause = _FIRST_PAUSE

    async def pause(self) -> bool:
        """Waits; False (at once) when the patience is over."""
        if time.monotonic() >= self._end:
            return False
        await asyncio.sleep(random.uniform(0.5, 1.0) * self._pause)  # noqa: S311 - spreads attempts, guards nothing
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        return True


class Connections:
    """Up to `size` connections, of which `reserved` are for writers, so that no reader ever keeps an append waiting.

    With `prepared` off, nothing is left on a connection between two transactions, as behind a transaction-pooling
    proxy. `patience` says for how many seconds a call waits for a connection, or for a server that is away; after
    `answer_within` seconds in use a connection is taken for lost.
    """

    def __init__(
        self,
        address: Address,
        *,
        size: int,
        reserved: int,
        prepared: bool,
        patience: float,
        answer_within: float = ANSWER_WITHIN,
    ) -> None:
        self.place = address.place
        self.patience = patience
        self.size = size
        self._address = address
        self._prepared = prepared
        self._answer_within = answer_within
        self._readers = asyncio.Semaphore(size - reserved)
        self._writers = asyncio.Semaphore(reserved)
        self._idle: list[Link] = []
        self._closed = False

    async def read(self, query: str, values: Values | None = None, *, prepare: bool | None = None) -> Rows:
        """Rows of a query, asked again while the server is away.

        Raises:
            StoreError: the database could not answer.
        """
        return await self.ask(lambda link: link.fetch(query, values, prepare=prepare))

    async def ask[T](self, work: Callable[[Link], Awaitable[T]], *, repeat: bool = True, hurry: bool = True) -> T:
        """What `work` makes of a connection.

        It is done again after a deadlock, and with `repeat` (where doing it twice does no harm) also when the
        connection was lost. Without `hurry` it may take as long as it takes.

        Raises:
            StoreError: the database could not do it.
        """
        backoff = Backoff(self.patience)
        while True:
            begun = False
            try:
                async with self.one(hurry=hurry) as link:
                    begun = True
                    return await work(link)
            except psycopg.Error as error:
                again = is_passing(error) or (is_lost(error) and (repeat or not begun))
                if not again or not await backoff.pause():
                    raise translate(error, self.place) from error

    @asynccontextmanager
    async def one(self, *, writer: bool = False, hurry: bool = True) -> AsyncIterator[Link]:
        """A connection for a moment. Raises psycopg.Error, and StoreError when none becomes free or all is closed."""
        if self._closed:
            raise StoreError(f"The store of {self.place} is closed. Open it before it is used.")
        places = self._writers if writer else self._readers
        try:
            await asyncio.wait_for(places.acquire(), self.patience)
        except TimeoutError:
            raise StoreError(
                f"All {self.size} connections to the database {self.place} have been busy for {self.patience:g} s. "
                "Raise KNEO_SERV_DATABASE_POOL_SIZE, or find out what keeps the database busy."
            ) from None
        try:
            link = self._take() or await self._connect()
            # Not by cancelling: the driver would ask the server to end the statement, and wait for its answer.
            guard = asyncio.get_running_loop().call_later(self._answer_within, link.cut) if hurry else None
            try:
                yield link
            except psycopg.Error as error:
                if is_lost(error):
                    # Those that wait for their next use were lost at the same moment, most likely.
                    await self._drop_idle()
                raise
            finally:
                if guard is not None:
                    guard.cancel()
                if link.is_clean and not self._closed:
                    self._idle.append(link)
                else:
                    await self._drop(link)
        finally:
            places.release()

    async def settle(self, backend: tuple[int, str] | None) -> None:
        """Makes sure that nothing happens any more on a connection that was lost. Raises psycopg.Error, StoreError."""
        if backend is None:
            return
        async with self.one(writer=True) as link:
            while await link.fetch(_TERMINATE, backend):  # noqa: ASYNC110 - the server says it only when asked
                await asyncio.sleep(0.005)

    async def close(self) -> None:
        """Lets go of all connections. Idempotent."""
        self._closed = True
        await self._drop_idle()

    @property
    def idle(self) -> int:
        """How many are open and free."""
        return len(self._idle)

    def _take(self) -> Link | None:
        while self._idle:
            link = self._idle.pop()
            if link.is_clean:
                return link
        return None

    async def _connect(self) -> Link:
        connection: Connection = await psycopg.AsyncConnection.connect(self._address.conninfo, autocommit=True)
        link = Link(connection, None)
        if not self._prepared:
            connection.prepare_threshold = None
            return link
        try:
            found = await link.fetch("SELECT backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()")
        except BaseException:
            # Nobody has it yet who could close it: neither when this fails, nor when the asker gives up.
            await self._drop(link)
            raise
        return Link(connection, (connection.info.backend_pid, found[0][0])) if found else link

    async def _drop_idle(self) -> None:
        while self._idle:
            await self._drop(self._idle.pop())

    async def _drop(self, link: Link) -> None:
        with suppress(psycopg.Error):
            await link.connection.close()


def _plain(values: Values | None) -> Values | None:
    if values is None:
        return None
    if isinstance(values, Mapping):
        return {name: _kept(value) for name, value in values.items()}
    return [_kept(value) for value in values]


def _kept(value: Any) -> Any:
    if isinstance(value, str):
        return plain(str(value))
    if isinstance(value, (list, tuple)):
        return [_kept(item) for item in value]
    return value
