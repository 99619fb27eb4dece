"""What a case of the suite is."""

from collections.abc import Awaitable, Callable
from typing import Any

from kneo_serv.errors import KneoError
from kneo_serv.store.contract import Store

type Case = Callable[[Store], Awaitable[None]]
"""Proves one sentence of the contract on an open, empty store. Its name is the sentence."""

CASES: dict[str, Case] = {}
"""All cases by name."""


def case(prove: Case) -> Case:
    """Adds a case to the suite."""
    CASES[getattr(prove, "__name__", repr(prove))] = prove
    return prove


async def refusal(kind: type[KneoError], call: Awaitable[Any]) -> str:
    """Text of the error that a call is refused with.

    Raises:
        AssertionError: it was not refused.
    """
    try:
        await call
    except kind as error:
        return str(error)
    raise AssertionError(f"the call was accepted; expected {kind.__name__}")
