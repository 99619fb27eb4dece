"""What an effect may know of the leg that it belongs to."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from kneo_serv.engine import Effect
from kneo_serv.errors import StepError
from kneo_serv.model.ids import RunId
from kneo_serv.model.quick import quick
from kneo_serv.platform.outcome import Noter
from kneo_serv.platform.sessions import History


class LeaseLostError(StepError):
    """Another worker may have the run by now: nothing begins any more in this leg."""

    code = "lease_lost"

    def __init__(self) -> None:
        super().__init__("The lease of the run is lost.")


@quick
@dataclass(frozen=True, slots=True)
class Leg:
    """One leg of one run, as its effects see it."""

    run_id: RunId
    fence: int
    note: Noter
    """Has something journaled that has to be durable before the effect goes on."""
    is_held: Callable[[], bool]
    """Whether the lease is certainly held right now. May be asked on any thread."""
    history: History = field(default_factory=dict)
    """What the run's session holds from earlier runs."""
    active: Callable[[Effect], AbstractContextManager[None]] = lambda _: nullcontext()
    """Inside, calls are made in the trace of an effect whose `started` is durable."""

    def check(self) -> None:
        """Returns while the lease is held. Raises LeaseLostError."""
        if not self.is_held():
            raise LeaseLostError
