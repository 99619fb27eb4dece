"""The audit of attempts that were refused."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import pytest

from kneo_serv.errors import PlatformClosedError
from kneo_serv.service.refusals import Refusals

type Written = list[tuple[str | None, Mapping[str, Any]]]


class Hands:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def noted(refusals: Refusals, client: str | None, reason: Any = "unauthorized") -> None:
    refusals.note(reason, scope="runs:read", route="GET /runs", client=client, name=None, detail="because")


def keeper(written: Written, clock: Hands, per_minute: int = 3) -> Refusals:
    async def write(actor: str | None, tenant: str | None, facts: Mapping[str, Any]) -> None:
        written.append((actor, facts))

    return Refusals(write, per_minute=per_minute, clock=clock)


def test_of_many_attempts_some_are_written_and_the_others_counted() -> None:
    async def knocking() -> None:
        written: Written = []
        clock = Hands()
        refusals = keeper(written, clock)
        for _ in range(100):
            noted(refusals, "192.0.2.1")
        noted(refusals, "192.0.2.1", "forbidden")
        noted(refusals, "192.0.2.2")
        await asyncio.sleep(0)
        assert len(written) == 5
        clock.now += 60
        refusals.tend()
        await asyncio.sleep(0)
        assert written[5:] == [
            (None, {"reason": "unauthorized", "client": "192.0.2.1", "left_out": 97, "detail": "more of the same"})
        ]
        noted(refusals, "192.0.2.1")
        await refusals.close()
        assert len(written) == 7, "a new minute begins anew"

    asyncio.run(knocking())


def test_what_was_counted_is_written_when_the_service_ends() -> None:
    async def ending() -> None:
        written: Written = []
        refusals = keeper(written, Hands())
        for _ in range(5):
            noted(refusals, None)
        await refusals.close()
        assert [facts.get("left_out") for _, facts in written] == [None, None, None, 2]

    asyncio.run(ending())


def test_many_addresses_fill_neither_the_audit_nor_the_memory() -> None:
    async def flood() -> None:
        written: Written = []
        refusals = keeper(written, Hands())
        for number in range(5_000):
            noted(refusals, f"10.0.{number // 250}.{number % 250}")
            noted(refusals, f"2001:db8::{number:x}")
            if number % 50 == 0:
                await asyncio.sleep(0)
        await refusals.close()
        single = [facts for _, facts in written if "left_out" not in facts]
        assert len(single) <= 1_010
        assert len([facts for facts in single if facts["client"].startswith("2001")]) == 3, "one network, one source"
        assert sum(facts.get("left_out", 1) for _, facts in written) == 10_000, "every attempt is told or counted"

    asyncio.run(flood())


def test_an_audit_that_cannot_be_written_stops_nobody_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def closed() -> None:
        async def write(actor: str | None, tenant: str | None, facts: Mapping[str, Any]) -> None:
            raise PlatformClosedError("The platform was shut down.")

        refusals = Refusals(write, clock=Hands())
        noted(refusals, "192.0.2.1")
        await refusals.close()

    with caplog.at_level(logging.WARNING):
        asyncio.run(closed())
    assert "could not be written to the audit: platform_closed" in caplog.text
