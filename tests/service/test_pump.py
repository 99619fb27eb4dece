"""The pump between two loops: no faster than its items are taken, and gone when nobody wants them."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from kneo_serv.platform import PlatformManager
from kneo_serv.platform.platform import Platform
from kneo_serv.service.pump import Pump, PumpOver

PATIENCE = 20.0


class Source:
    """Numbers, and what became of them."""

    def __init__(self, count: int, fault: Exception | None = None) -> None:
        self.given = 0
        self.closed = asyncio.Event()
        self._count = count
        self._fault = fault

    async def items(self, platform: Platform) -> AsyncGenerator[int]:
        """The numbers, then the fault."""
        try:
            while self.given < self._count:
                self.given += 1
                yield self.given
            if self._fault is not None:
                raise self._fault
        finally:
            self.closed.set()


def at(manager: PlatformManager, story: Any) -> None:
    async def here(platform: Platform) -> None:
        async with asyncio.timeout(PATIENCE):
            await story(platform)

    asyncio.run(manager.reach(here))


def test_items_come_together_and_no_more_than_fit_are_fetched(manager: PlatformManager) -> None:
    async def story(platform: Platform) -> None:
        source = Source(100)
        pump = Pump(source.items, most=5)
        first = await pump.next(platform, PATIENCE)
        seen = list(first)
        for _ in range(50):
            await asyncio.sleep(0)
        assert source.given <= len(seen) + 6
        while len(seen) < 100:
            found = await pump.next(platform, PATIENCE)
            assert 0 < len(found) <= 5
            seen += found
        assert seen == list(range(1, 101))
        with pytest.raises(PumpOver):
            await pump.next(platform, PATIENCE)

    at(manager, story)


def test_what_went_wrong_is_told_behind_what_came_before(manager: PlatformManager) -> None:
    async def story(platform: Platform) -> None:
        pump = Pump(Source(3, ValueError("no more")).items, most=10)
        seen: list[int] = []
        while len(seen) < 3:
            seen += await pump.next(platform, PATIENCE)
        assert seen == [1, 2, 3]
        with pytest.raises(ValueError, match="no more"):
            await pump.next(platform, PATIENCE)

    at(manager, story)


def test_who_has_no_patience_left_gets_nothing_and_loses_nothing(manager: PlatformManager) -> None:
    async def story(platform: Platform) -> None:
        go = asyncio.Event()

        async def items(platform: Platform) -> AsyncGenerator[str]:
            await go.wait()
            yield "late"

        pump = Pump(items, most=1)
        assert await pump.next(platform, 0.01) == []
        go.set()
        assert await pump.next(platform, PATIENCE) == ["late"]

    at(manager, story)


def test_a_pump_that_is_stopped_lets_go_of_its_source(manager: PlatformManager) -> None:
    async def story(platform: Platform) -> None:
        source = Source(100)
        pump = Pump(source.items, most=2)
        await pump.next(platform, PATIENCE)
        pump.stop()
        await source.closed.wait()

    at(manager, story)


def test_a_pump_that_is_stopped_before_it_began_begins_nothing(manager: PlatformManager) -> None:
    async def story(platform: Platform) -> None:
        source = Source(1)
        pump = Pump(source.items, most=2)
        pump.stop()
        with pytest.raises(PumpOver):
            await pump.next(platform, PATIENCE)
        assert source.given == 0

    at(manager, story)
