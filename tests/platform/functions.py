"""Functions for workflows under test: they wait for nothing but what the test tells them."""

import asyncio
import contextlib
import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from kneo_serv.platform import PlatformManager
from kneo_serv.tools import current_call

SECONDS = 10


@dataclass
class Gate:
    """Where a function stands still until the test lets it pass. One for each input text."""

    reached: threading.Event = field(default_factory=threading.Event)
    passable: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)
    cancelled: threading.Event = field(default_factory=threading.Event)

    async def wait(self) -> None:
        assert await asyncio.to_thread(self.reached.wait, SECONDS)


GATES: defaultdict[str, Gate] = defaultdict(Gate)
CALLS: Counter[str] = Counter()
FAILURES: dict[str, int] = {}
"""How often `moody` still fails, by run id."""
MANAGERS: dict[str, PlatformManager] = {}


def forget() -> None:
    """The next test meets gates that are closed, and nothing that fails."""
    GATES.clear()
    FAILURES.clear()


def _count(name: str) -> str:
    run_id = current_call().run_id
    CALLS[f"{name} {run_id}"] += 1
    return run_id


def calls(name: str, run_id: str) -> int:
    return CALLS[f"{name} {run_id}"]


def upper(text: str) -> str:
    _count("upper")
    return text.upper()


def exclaim(text: str) -> str:
    _count("exclaim")
    return f"{text}!"


def gated(text: str) -> str:
    """Stands at the gate of its text, in a thread."""
    _count("gated")
    gate = GATES[text]
    gate.reached.set()
    assert gate.passable.wait(SECONDS)
    gate.left.set()
    return f"{text} passed"


async def gated_async(text: str) -> str:
    """Stands at the gate of its text, on the loop, until it is cancelled."""
    _count("gated_async")
    gate = GATES[text]
    gate.reached.set()
    try:
        while not gate.passable.is_set():  # noqa: ASYNC110 - the test opens the gate from another thread
            await asyncio.sleep(0.002)
    except asyncio.CancelledError:
        gate.cancelled.set()
        raise
    return f"{text} passed"


async def stubborn(text: str) -> str:
    """Like gated_async, but finishes its work when it is cancelled."""
    _count("stubborn")
    GATES[text].reached.set()
    with contextlib.suppress(asyncio.CancelledError):  # what it does cannot be stopped half-way
        await asyncio.Event().wait()
    return f"{text} done all the same"


def moody(text: str) -> str:
    """Fails as often as the test says."""
    run_id = _count("moody")
    left = FAILURES.get(text, 0)
    if left > 0:
        FAILURES[text] = left - 1
        raise RuntimeError(f"not today ({run_id[:4]})")
    return f"{text} at last"


def slow_service(text: str) -> str:
    """A request of its own times out."""
    run_id = _count("slow_service")
    if calls("slow_service", run_id) == 1:
        raise TimeoutError("the service did not answer")
    return f"{text} answered"


def leaking(text: str) -> str:
    raise RuntimeError("cannot log in with password=hunter2")


def large(text: str) -> str:
    return text + "x" * 70_000


async def calls_its_platform(text: str) -> str:
    """Makes a blocking call on the platform's own loop."""
    return MANAGERS[text].get_run(current_call().run_id).status.value
