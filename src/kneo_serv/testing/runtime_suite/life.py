"""Beginning, ending and being interrupted; and what is never told."""
# ruff: noqa: S101 - these are tests

import asyncio
from threading import Event

from kneo_serv.model.message import Turn
from kneo_serv.testing.runtime_suite.case import (
    SECRET,
    Failure,
    Make,
    Reply,
    Silence,
    asked,
    case,
    made,
    plain_case,
    refusal,
    saying,
    user,
)

_SETTLE_SECONDS = 10.0


@plain_case
async def closing_is_possible_at_any_time(make: Make) -> None:
    """Before the first turn, twice, and a turn after it opens anew."""
    runtime = make(saying("Tea."))
    await runtime.aclose()
    await runtime.turn(asked(user("What is tea?")))
    await runtime.aclose()
    await runtime.aclose()
    await runtime.turn(asked(user("What is tea?")))
    await runtime.aclose()


@case
async def a_cancelled_turn_ends_at_once_and_as_cancelled(make: Make) -> None:
    """No error of its own takes the place of the cancellation, and the runtime still works."""
    reached = Event()
    replies: list[Reply] = [Silence()]

    def model(question: str) -> Reply:
        reached.set()
        return replies[0]

    async with made(make, model) as runtime:
        turn = asyncio.ensure_future(runtime.turn(asked(user("What is tea?"))))
        while not reached.is_set():
            assert not turn.done(), "the turn ended before the model was asked"
            await asyncio.sleep(0.005)
        turn.cancel()
        await asyncio.wait({turn}, timeout=_SETTLE_SECONDS)
        assert turn.done(), f"the turn still runs {_SETTLE_SECONDS:g} s after it was cancelled"
        assert turn.cancelled(), f"the turn ended otherwise than cancelled: {turn.exception()!r}"
        replies[0] = Turn("Tea is a drink.")
        assert (await runtime.turn(asked(user("What is tea?")))).text == "Tea is a drink."


@plain_case
async def the_key_is_in_no_text_of_the_runtime(make: Make) -> None:
    """Of `repr` and `str`, also after a turn."""
    async with made(make, saying("Tea.")) as runtime:
        await runtime.turn(asked(user("What is tea?")))
        texts = (repr(runtime), str(runtime))
    assert not any(SECRET in text for text in texts), "the text form of the runtime shows its key"


@case
async def the_key_is_in_no_error(make: Make) -> None:
    """Also where the provider repeats it."""
    async with made(make, lambda question: Failure(f"wrong key: {SECRET}")) as runtime:
        error = await refusal(runtime)
    assert SECRET not in str(error), "the error shows the key"
    assert SECRET not in str(error.facts()), "the facts of the error show the key"
