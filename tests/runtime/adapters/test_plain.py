import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import pytest

from kneo_serv.errors import ProviderError, StepTimeoutError
from kneo_serv.model.message import Message, Turn, TurnRequest, Usage
from kneo_serv.runtime import AdapterRuntime
from tests.runtime.conversations import WEB_SEARCH, asked, assistant, user

REQUEST = asked(user("first"), assistant("yes"), user("tea"), tools=(WEB_SEARCH,))


def answer(run_fn: Callable[..., Any], *, request: TurnRequest = REQUEST, **options: Any) -> Turn:
    return asyncio.run(AdapterRuntime(run_fn=run_fn, **options).turn(request))


async def asynchronous(text: str) -> str:
    return f"async {text}"


class AsynchronousObject:
    async def __call__(self, *, messages: Sequence[Message]) -> str:
        return f"object {len(messages)}"


@pytest.mark.parametrize(
    ("run_fn", "text"),
    [
        (lambda text: f"plain {text}", "plain tea"),
        (str, "tea"),
        (asynchronous, "async tea"),
        (AsynchronousObject(), "object 3"),
        (lambda messages: messages[-1].content, "tea"),
        (lambda messages, config: f"{config['agent_name']} {config['tools'][0].name}", "helper web_search"),
        (lambda **given: ",".join(sorted(given)), "config,messages"),
        (lambda _: {"output_text": "from output_text", "content": "no"}, "from output_text"),
        (lambda _: {"content": "from content"}, "from content"),
        (lambda _: 7, "7"),
        (lambda _: None, "None"),
    ],
)
def test_an_adapter_takes_any_callable_and_any_answer(run_fn: Callable[..., Any], text: str) -> None:
    assert answer(run_fn).text == text


def test_an_adapter_takes_a_turn_as_it_is() -> None:
    turn = Turn(text="mine", usage=Usage(1, 2, 3))

    assert answer(lambda _: turn) is turn


def test_an_adapter_uses_its_own_normalizer_and_name() -> None:
    runtime = AdapterRuntime(
        run_fn=lambda _: 3, name="counter", metadata={"a": 1}, normalizer=lambda value: Turn(text="x" * value)
    )

    assert asyncio.run(runtime.turn(REQUEST)).text == "xxx"
    assert (runtime.name, runtime.metadata) == ("counter", {"a": 1})


def test_an_adapter_may_know_what_goes_along_with_the_request() -> None:
    request = replace(
        REQUEST, idempotency_key="run_1:0", headers={"traceparent": "00-1-2-01"}, output_schema={"type": "object"}
    )
    seen: list[Mapping[str, Any]] = []

    def note(messages: Sequence[Message], config: Mapping[str, Any]) -> dict[str, str]:
        seen.append(config)
        return {"drink": "tea"}

    assert answer(note, request=request).text == '{"drink":"tea"}'
    assert seen == [
        {
            "agent_name": "helper",
            "tools": (WEB_SEARCH,),
            "idempotency_key": "run_1:0",
            "headers": {"traceparent": "00-1-2-01"},
            "output_schema": {"type": "object"},
        }
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"content": "tea"}, '{"content":"tea"}'),
        ({"output_text": '{"a": 1}'}, '{"a": 1}'),
        ([1, 2], "[1,2]"),
        ("tea", "tea"),
    ],
)
def test_an_answer_that_has_a_schema_is_json(value: Any, text: str) -> None:
    assert answer(lambda _: value, request=replace(REQUEST, output_schema={})).text == text


async def asynchronous_pieces(text: str) -> AsyncIterator[str]:
    for word in ("about ", text):
        yield word


def blocking_pieces(text: str) -> Iterator[str]:
    yield from ("about ", "", text)


@pytest.mark.parametrize("run_fn", [asynchronous_pieces, blocking_pieces])
def test_what_a_generator_yields_is_heard_while_it_comes(run_fn: Callable[..., Any]) -> None:
    heard: list[str] = []

    assert answer(run_fn, request=replace(REQUEST, on_text=heard.append)).text == "about tea"
    assert heard == ["about ", "tea"]
    assert answer(run_fn).text == "about tea"


def test_a_cancelled_turn_stops_a_blocking_generator_at_its_next_piece() -> None:
    begun, go_on, closed = threading.Event(), threading.Event(), threading.Event()

    def endless(_: str) -> Iterator[str]:
        try:
            while True:
                begun.set()
                go_on.wait(10)
                yield "more"
        finally:
            closed.set()

    async def scenario() -> None:
        turn = asyncio.create_task(AdapterRuntime(run_fn=endless).turn(REQUEST))
        await asyncio.to_thread(begun.wait, 10)
        turn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await turn
        go_on.set()
        assert await asyncio.to_thread(closed.wait, 10)

    asyncio.run(scenario())


def test_a_cancelled_turn_cancels_an_asynchronous_function() -> None:
    ended: list[str] = []

    async def scenario() -> None:
        begun = asyncio.Event()

        async def endless(_: str) -> str:
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise
            return "never"

        turn = asyncio.create_task(AdapterRuntime(run_fn=endless).turn(REQUEST))
        await begun.wait()
        turn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await turn

    asyncio.run(scenario())
    assert ended == ["cancelled"]


def test_a_blocking_adapter_leaves_the_loop_free() -> None:
    free = threading.Event()

    async def scenario() -> Turn:
        waiting = asyncio.create_task(
            AdapterRuntime(run_fn=lambda _: "free" if free.wait(10) else "stuck").turn(REQUEST)
        )
        await asyncio.sleep(0)
        free.set()
        return await waiting

    assert asyncio.run(scenario()).text == "free"


def test_an_adapter_sees_the_context_of_its_caller() -> None:
    trace: ContextVar[str] = ContextVar("trace")

    async def scenario() -> Turn:
        trace.set("t-1")
        return await AdapterRuntime(run_fn=lambda _: trace.get()).turn(REQUEST)

    assert asyncio.run(scenario()).text == "t-1"


def broken(_: str) -> str:
    raise ValueError("no tea left")


def exhausted(_: str) -> str:
    raise StopIteration


@pytest.mark.parametrize(
    ("run_fn", "reason"),
    [(broken, "ValueError: no tea left"), (exhausted, "StopIteration"), (lambda _: sys.exit(3), "SystemExit: 3")],
)
def test_a_failing_adapter_is_a_provider_error_that_names_it(run_fn: Callable[..., Any], reason: str) -> None:
    with pytest.raises(ProviderError, match=f"Adapter 'tea' failed: .*{reason}") as caught:
        answer(run_fn, name="tea")

    assert not caught.value.transient


def test_errors_of_the_platform_pass_an_adapter_unchanged() -> None:
    def late(_: str) -> Mapping[str, str]:
        raise StepTimeoutError("too late")

    with pytest.raises(StepTimeoutError, match="too late"):
        answer(late)
