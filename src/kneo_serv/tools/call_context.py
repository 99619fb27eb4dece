"""What a tool's handler or a function may know about the call that it is part of."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from kneo_serv.errors import InvalidRequestError
from kneo_serv.model.ids import RunId, StepKey


@dataclass(frozen=True, slots=True)
class CallContext:
    """One call of a tool or function inside a run.

    `idempotency_key` is the same in every repetition of this call, also after a crash: hand it to the service that is
    called, and a repetition does nothing twice. `attempt` counts from 1. `fence` grows with every worker that takes
    the run over; a system that remembers the highest one it saw can refuse a worker that lost the run.
    """

    run_id: RunId
    step_key: StepKey
    name: str
    """The tool or function as the plan calls it."""
    idempotency_key: str
    attempt: int
    fence: int
    trace: Mapping[str, str] = field(default_factory=dict, hash=False)
    """W3C trace context to send along with requests: `traceparent`, `tracestate`; empty outside a trace."""


class NoCurrentCallError(InvalidRequestError, LookupError):
    """`current_call()` was asked outside a call; a LookupError, like that of an unset context variable."""

    def __init__(self) -> None:
        super().__init__(
            "current_call() knows a call only inside a tool handler or a function that a run executes. A thread that "
            "the handler starts itself must be given the context by hand: contextvars.copy_context().run(...)."
        )


_current: ContextVar[CallContext] = ContextVar("kneo_serv_current_call")


def current_call() -> CallContext:
    """The call that is being executed right here, in a sync handler's thread as well as in an async handler.

    Raises:
        NoCurrentCallError: no run executes this code; a LookupError.
    """
    try:
        return _current.get()
    except LookupError:
        raise NoCurrentCallError from None


@contextmanager
def call_scope(context: CallContext | None) -> Iterator[None]:
    """Makes `context` the answer of `current_call()` inside the `with` block; None changes nothing."""
    if context is None:
        yield
        return
    token = _current.set(context)
    try:
        yield
    finally:
        _current.reset(token)
