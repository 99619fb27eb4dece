"""The contract of a runtime as a list of cases: what every way to a model proves of itself.

@pytest.mark.parametrize("name", CASES)
def test_contract(name: str) -> None:
    prove(name, lambda model: MyRuntime(ask=model))

`model` says what the model behind the runtime replies to a text: a `Turn`, a `Failure` or `Silence`. A runtime that
answers by rules of its own proves `PLAIN_CASES`.
"""

import asyncio

from kneo_serv.testing.runtime_suite import life, turns
from kneo_serv.testing.runtime_suite.case import (
    CASES,
    PLAIN_CASES,
    SECRET,
    TIME_LIMIT,
    Case,
    Failure,
    Make,
    Model,
    Reply,
    Silence,
)

__all__ = [
    "CASES",
    "PLAIN_CASES",
    "SECRET",
    "Case",
    "Failure",
    "Make",
    "Model",
    "Reply",
    "Silence",
    "life",
    "prove",
    "turns",
]


def prove(name: str, make: Make) -> None:
    """Runs one case with runtimes that `make` makes; each is closed at the end.

    Raises:
        AssertionError: the runtime does not keep this sentence of the contract, or takes more than 30 s for it.
    """

    async def run() -> None:
        try:
            async with asyncio.timeout(TIME_LIMIT) as scope:
                await CASES[name](make)
        except TimeoutError:
            if not scope.expired():
                raise
            raise AssertionError(f"{name}: no end after {TIME_LIMIT:g} s") from None

    asyncio.run(run())
