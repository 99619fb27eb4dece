import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from kneo_serv.errors import InvalidRequestError, ProviderError
from kneo_serv.model.message import Turn
from kneo_serv.model.plan import RuntimeMode, RuntimePreferences
from kneo_serv.runtime import default_registry
from kneo_serv.runtime.adapters import ReferenceRuntime
from kneo_serv.tools import load_object
from tests.runtime.adapters.foreign import PLAIN
from tests.runtime.conversations import agent


def test_an_agent_is_imported_once_at_its_first_turn_and_not_on_the_loop() -> None:
    loads: list[tuple[str, str]] = []

    def load(path: str) -> Any:
        loads.append((path, threading.current_thread().name))
        return lambda text: f"about {text}"

    async def scenario() -> list[Turn]:
        runtime = ReferenceRuntime("shop.agent", load=load)
        assert loads == []
        return await asyncio.gather(*(runtime.turn(PLAIN) for _ in range(3)))

    turns = asyncio.run(scenario())

    assert [turn.text for turn in turns] == ["about tea?"] * 3
    assert loads == [("shop.agent", "kneo-adapter-_adapted")]


def test_an_agent_that_was_closed_is_found_again_for_the_next_turn() -> None:
    async def scenario() -> list[str]:
        runtime = ReferenceRuntime("shop.agent", load=lambda path: str.upper)
        texts = []
        for _ in range(2):
            texts.append((await runtime.turn(PLAIN)).text)
            await runtime.aclose()
            await runtime.aclose()
        return texts

    assert asyncio.run(scenario()) == ["TEA?", "TEA?"]


@pytest.mark.parametrize(
    ("path", "kind", "said"),
    [
        ("kneo_no_such_package.agent", InvalidRequestError, "there is no module 'kneo_no_such_package'"),
        ("os.system", InvalidRequestError, "may not be called from a spec"),
        ("tests.runtime.adapters.test_reference.nothing", InvalidRequestError, "has no 'nothing'"),
        ("tests.runtime.adapters.test_reference.PATHS", ProviderError, "is a tuple. Name a function"),
    ],
)
def test_a_path_that_leads_to_no_agent_is_told_at_the_turn(path: str, kind: type[Exception], said: str) -> None:
    wish = RuntimePreferences(preferred_mode=RuntimeMode.ADAPTER, adapter_ref=path)
    runtime = default_registry(environ={}, load_object=load_object).create(agent(preferences=wish))

    with pytest.raises(kind) as caught:
        asyncio.run(runtime.turn(PLAIN))
    assert said in str(caught.value)


PATHS = ("one", "two")


async def pieces(_: str) -> AsyncIterator[str]:
    yield "Tea is"
    yield ""
    yield " a drink."


def test_whoever_listens_hears_the_whole_answer_also_of_an_agent_that_cannot_stream() -> None:
    for found, said in [(pieces, ["Tea is", " a drink."]), (lambda _: "Tea is a drink.", ["Tea is a drink."])]:
        heard: list[str] = []
        runtime = ReferenceRuntime("shop.agent", load=lambda path, found=found: found)  # type: ignore[misc]
        turn = asyncio.run(runtime.turn(replace(PLAIN, on_text=heard.append)))

        assert turn.text == "Tea is a drink."
        assert heard == said
