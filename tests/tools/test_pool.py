import asyncio
import contextvars
import gc
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from kneo_serv.errors import PlatformClosedError, StepError, StepTimeoutError
from kneo_serv.tools import HandlerPool


class Gate:
    """A function that tells when it runs and ends when it is let go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.open = threading.Event()
        self.thread: threading.Thread | None = None

    def __call__(self) -> str:
        self.thread = threading.current_thread()
        self.entered.set()
        self.open.wait()
        return "through"

    def let_go(self) -> None:
        self.open.set()
        assert self.thread is not None
        self.thread.join(5)
        assert not self.thread.is_alive()


async def entered(gate: Gate) -> None:
    assert await asyncio.to_thread(gate.entered.wait, 5)


def test_a_hundred_calls_share_four_threads_and_all_finish() -> None:
    lock, now, most = threading.Lock(), 0, 0
    threads = set()

    def handler(number: int) -> int:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
            threads.add(threading.get_ident())
        with lock:
            now -= 1
        return number

    async def main() -> list[int]:
        pool = HandlerPool(size=4)
        return list(await asyncio.gather(*(pool.run(handler, number) for number in range(100))))

    assert asyncio.run(main()) == list(range(100))
    assert most <= 4
    assert len(threads) <= 4


def test_the_loop_stays_free_while_every_thread_is_taken_and_callers_wait_in_order() -> None:
    order: list[int] = []

    async def main() -> None:
        pool = HandlerPool(size=2)
        gates = [Gate(), Gate()]
        held = [asyncio.create_task(pool.run(gate)) for gate in gates]
        for gate in gates:
            await entered(gate)
        queued = [asyncio.create_task(pool.run(order.append, number)) for number in range(10)]
        await asyncio.sleep(0)
        assert (pool.running, pool.waiting, order) == (2, 10, [])
        gates[0].open.set()
        await asyncio.gather(*queued)
        gates[1].open.set()
        assert await asyncio.gather(*held) == ["through", "through"]
        assert (pool.running, pool.waiting, pool.abandoned) == (0, 0, 0)

    asyncio.run(main())
    assert order == list(range(10))


def test_a_call_out_of_time_is_abandoned_counted_and_replaced_until_it_ends() -> None:
    async def main() -> None:
        pool = HandlerPool(size=1, max_abandoned=2)
        gates = [Gate(), Gate()]
        for count, gate in enumerate(gates, start=1):
            with pytest.raises(StepTimeoutError, match=r"The search took longer than 0.01 s. Its thread still runs"):
                await pool.run(gate, timeout=0.01, name="The search")
            assert pool.abandoned == count
        with pytest.raises(StepError, match="the limit is 2"):
            await pool.run(str)
        for left, gate in ((1, gates[0]), (0, gates[1])):
            gate.let_go()
            assert pool.abandoned == left
            assert await pool.run(str, 7) == "7"

    asyncio.run(main())


def test_a_coroutine_that_an_abandoned_call_leaves_behind_is_closed() -> None:
    gate = Gate()

    def handler() -> Any:
        gate()
        return _async_answer("late")

    async def main() -> None:
        with pytest.raises(StepTimeoutError):
            await HandlerPool(size=1).run(handler, timeout=0.01)
        gate.let_go()

    asyncio.run(main())
    gc.collect()  # a coroutine that was never awaited would warn, and warnings are errors


def test_waiting_for_a_thread_does_not_use_up_the_time_of_a_call() -> None:
    async def main() -> None:
        pool = HandlerPool(size=1)
        gate = Gate()
        held = asyncio.create_task(pool.run(gate))
        await entered(gate)
        queued = asyncio.create_task(pool.run(str, 7, timeout=0.05))
        done, _ = await asyncio.wait([queued], timeout=0.1)
        assert not done
        gate.open.set()
        assert await queued == "7"
        assert await held == "through"

    asyncio.run(main())


def test_who_waits_when_the_limit_is_reached_is_refused() -> None:
    async def main() -> None:
        pool = HandlerPool(size=1, max_abandoned=1)
        gate = Gate()
        held = asyncio.create_task(pool.run(gate))
        await entered(gate)
        queued = [asyncio.create_task(pool.run(str)) for _ in range(3)]
        await asyncio.sleep(0)
        held.cancel()
        answers = await asyncio.gather(*queued, return_exceptions=True)
        assert [type(answer) for answer in answers] == [StepError] * 3
        assert (pool.running, pool.waiting) == (0, 0)
        gate.let_go()
        assert await pool.run(str, 7) == "7"

    asyncio.run(main())


def test_a_cancelled_caller_abandons_its_call_and_leaves_the_queue() -> None:
    async def main() -> None:
        pool = HandlerPool(size=1)
        gate = Gate()
        held = asyncio.create_task(pool.run(gate))
        await entered(gate)
        queued = asyncio.create_task(pool.run(str))
        await asyncio.sleep(0)
        queued.cancel()
        held.cancel()
        await asyncio.wait([queued, held])
        assert held.cancelled()
        assert queued.cancelled()
        assert (pool.running, pool.waiting, pool.abandoned) == (0, 0, 1)
        gate.let_go()
        assert pool.abandoned == 0

    asyncio.run(main())


def test_a_place_that_comes_just_as_its_caller_is_cancelled_is_passed_on() -> None:
    async def main() -> None:
        pool = HandlerPool(size=1)
        gate = Gate()
        held = asyncio.create_task(pool.run(gate))
        await entered(gate)
        queued = asyncio.create_task(pool.run(str))
        last = asyncio.create_task(pool.run(str, 7))
        await asyncio.sleep(0)
        held.cancel()
        await asyncio.sleep(0)  # the place is handed over
        queued.cancel()
        assert await last == "7"
        await asyncio.wait([queued, held])
        assert pool.running == 0
        gate.let_go()

    asyncio.run(main())


async def _async_answer(text: str) -> str:
    await asyncio.sleep(0)
    return text


class _AsyncObject:
    async def __call__(self, text: str) -> str:
        return text


@pytest.mark.parametrize("function", [_async_answer, _AsyncObject(), lambda text: _async_answer(text)])
def test_coroutines_are_awaited_on_the_loop(function: Callable[..., Any]) -> None:
    assert asyncio.run(HandlerPool().run(function, "yes")) == "yes"


def test_an_async_call_out_of_time_is_cancelled_and_takes_no_thread() -> None:
    cancelled = []

    async def handler() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def main() -> None:
        pool = HandlerPool(size=1)
        with pytest.raises(StepTimeoutError, match=r"longer than 0.01 s.$"):
            await pool.run(handler, timeout=0.01)
        assert pool.abandoned == 0

    asyncio.run(main())
    assert cancelled == [True]


def _raises(error: BaseException) -> Callable[[], Any]:
    def handler() -> Any:
        raise error

    return handler


def _raises_async(error: BaseException) -> Callable[[], Any]:
    async def handler() -> Any:
        raise error

    return handler


@pytest.mark.parametrize("error", [ValueError("wrong"), TimeoutError("its own request"), StepError("clear")])
@pytest.mark.parametrize("kind", [_raises, _raises_async])
def test_what_a_handler_raises_comes_through(kind: Callable[[Any], Any], error: Exception) -> None:
    with pytest.raises(type(error)) as raised:
        asyncio.run(HandlerPool().run(kind(error), timeout=30))
    assert raised.value is error


@pytest.mark.parametrize("error", [StopIteration(7), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
def test_no_handler_in_a_thread_tears_down_its_caller(error: BaseException) -> None:
    async def main() -> None:
        pool = HandlerPool(size=1)
        with pytest.raises(StepError, match=f"raised {type(error).__name__}"):
            await pool.run(_raises(error))
        assert await pool.run(str, 7) == "7"

    asyncio.run(main())


@pytest.mark.parametrize("error", [SystemExit(3), asyncio.CancelledError()])
def test_no_async_handler_tears_down_its_caller(error: BaseException) -> None:
    with pytest.raises(StepError, match=f"raised {type(error).__name__}"):
        asyncio.run(HandlerPool().run(_raises_async(error)))


def test_a_handler_sees_the_context_of_its_caller() -> None:
    tenant = contextvars.ContextVar("tenant", default="none")

    async def main() -> tuple[str, str]:
        tenant.set("acme")
        return await HandlerPool().run(tenant.get), tenant.get()

    assert asyncio.run(main()) == ("acme", "acme")


def test_one_pool_serves_several_loops_at_once() -> None:
    pool = HandlerPool(size=1)
    gate = Gate()
    answers: list[Any] = []
    loops = [threading.Thread(target=lambda: answers.append(asyncio.run(pool.run(gate)))) for _ in range(3)]
    for loop in loops:
        loop.start()
    assert gate.entered.wait(5)
    gate.open.set()
    for loop in loops:
        loop.join(5)
    assert answers == ["through"] * 3


def test_a_loop_that_ended_costs_its_neighbours_nothing() -> None:
    pool = HandlerPool(size=1)
    gate = Gate()

    async def leaves() -> None:
        held = asyncio.create_task(pool.run(gate))
        await entered(gate)
        held.cancel()

    asyncio.run(leaves())
    assert pool.abandoned == 1
    assert asyncio.run(pool.run(str, 7)) == "7"
    gate.let_go()
    assert pool.abandoned == 0


def test_a_closed_pool_takes_nothing_more_and_lets_its_threads_go() -> None:
    async def main() -> None:
        pool = HandlerPool(size=1)
        gate = Gate()
        held = asyncio.create_task(pool.run(gate))
        await entered(gate)
        queued = asyncio.create_task(pool.run(str))
        await asyncio.sleep(0)
        pool.close()
        with pytest.raises(PlatformClosedError):
            await queued
        with pytest.raises(PlatformClosedError):
            await pool.run(str)
        gate.let_go()
        assert await held == "through"
        assert pool.running == 0

    asyncio.run(main())


def test_a_forgotten_pool_takes_its_idle_threads_with_it() -> None:
    pool = HandlerPool()
    thread = asyncio.run(pool.run(threading.current_thread))
    assert thread.is_alive()
    del pool
    gc.collect()
    thread.join(5)
    assert not thread.is_alive()


@pytest.mark.parametrize("ending", ["", "raise SystemExit(0)"])
def test_a_script_with_a_hung_handler_still_exits(ending: str) -> None:
    script = f"""
import asyncio, threading
from kneo_serv.errors import StepTimeoutError
from kneo_serv.tools import HandlerPool

async def main():
    pool = HandlerPool()
    try:
        await pool.run(threading.Event().wait, timeout=0.05)
    except StepTimeoutError as error:
        print(error, pool.abandoned)

asyncio.run(main())
print("end", flush=True)
{ending}
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        told = process.stdout.readline()
        assert process.stdout.readline() == "end\n"
        begin = time.monotonic()
        assert process.wait(10) == 0
    assert time.monotonic() - begin < 2
    assert told == "Event.wait took longer than 0.05 s. Its thread still runs and is counted as abandoned. 1\n"
