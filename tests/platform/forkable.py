"""Functions for runs that are forked: they note by whom and under which key they are called."""

import threading
from collections import defaultdict

from kneo_serv.tools import current_call

SECONDS = 10
CALLS: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
"""Name and idempotency key of each call, by run id."""
BROKEN: set[str] = set()
"""Texts that `fragile` cannot bear."""
REACHED: defaultdict[str, threading.Event] = defaultdict(threading.Event)
PASSABLE: defaultdict[str, threading.Event] = defaultdict(threading.Event)


def called(run_id: str) -> list[str]:
    return [name for name, _ in CALLS[run_id]]


def _note(name: str) -> None:
    call = current_call()
    CALLS[call.run_id].append((name, call.idempotency_key))


def a(text: str) -> str:
    _note("a")
    return f"{text}a"


def b(text: str) -> str:
    _note("b")
    return f"{text}b"


def c(text: str) -> str:
    _note("c")
    return f"{text}c"


def fragile(text: str) -> str:
    _note("fragile")
    if text in BROKEN:
        raise RuntimeError("broken")
    return f"{text}."


def gated(text: str) -> str:
    """Lets nobody pass before the test does; who comes second finds it open."""
    _note("gated")
    if not REACHED[text].is_set():
        REACHED[text].set()
        assert PASSABLE[text].wait(SECONDS)
    return f"{text}!"
