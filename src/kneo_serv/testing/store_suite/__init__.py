"""The contract of a store as a list of cases: what every backend proves of itself.

@pytest.mark.parametrize("name", CASES)
def test_contract(name: str) -> None:
    prove(name, lambda: MyStore(...))
"""

import asyncio
from collections.abc import Callable

from kneo_serv.store.contract import Store
from kneo_serv.testing.store_suite import (
    fleet,
    journal,
    keys,
    leases,
    lists,
    pages,
    people,
    retention,
    schedules,
    sessions,
    tenants,
)
from kneo_serv.testing.store_suite.case import CASES, Case

__all__ = [
    "CASES",
    "Case",
    "fleet",
    "journal",
    "keys",
    "leases",
    "lists",
    "pages",
    "people",
    "prove",
    "retention",
    "schedules",
    "sessions",
    "tenants",
]


def prove(name: str, make: Callable[[], Store]) -> None:
    """Runs one case on a new, empty store, which it opens and closes.

    Raises:
        AssertionError: the store does not keep this sentence of the contract.
    """

    async def run() -> None:
        store = make()
        await store.open()
        try:
            await CASES[name](store)
        finally:
            await store.close()

    asyncio.run(run())
