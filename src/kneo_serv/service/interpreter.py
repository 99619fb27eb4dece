"""How the interpreter of a serving process shares itself out: short turns for threads, and short collections."""

import gc
import sys

_TURN_SECONDS = 0.001
"""How long a thread that computes keeps the others waiting, at most. By default it is five times as long, which callers
of health and of small reads would feel."""


def take_short_turns() -> None:
    """Has threads that compute let others in sooner."""
    sys.setswitchinterval(min(_TURN_SECONDS, sys.getswitchinterval()))


def keep_what_is_there() -> None:
    """Has collections pass over all that is there now, which stays; looking through it would hold everybody up."""
    gc.collect()
    gc.freeze()
