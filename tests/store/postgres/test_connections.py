"""Connections are kept or closed, whatever happens to those who asked for them."""

import asyncio
import contextlib
import gc

from kneo_serv.store.postgres.address import parse
from kneo_serv.store.postgres.connections import Connections


def test_whoever_gives_up_while_it_connects_leaves_no_connection_behind(postgres_url: str) -> None:
    async def give_up(turns: int) -> None:
        connections = Connections(parse(postgres_url), size=2, reserved=1, prepared=True, patience=5)
        asking = asyncio.create_task(connections.read("SELECT 1"))
        for _ in range(turns):
            await asyncio.sleep(0)
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
        await connections.close()

    async def at_every_moment() -> None:
        for turns in range(0, 600, 4):
            await give_up(turns)

    asyncio.run(at_every_moment())
    # One that was forgotten warns when it is collected, and warnings are errors.
    gc.collect()
