"""The W3C trace context that a run was asked for under, and that the calls which it makes pass on.

Nothing here needs a telemetry library: a platform without spans of its own still passes on what it was given.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping
from contextvars import ContextVar

TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"

_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_STATE = re.compile(r"[\x20-\x7e]{1,512}", re.ASCII)
_NONE = "0"

_current: ContextVar[Mapping[str, str]] = ContextVar("kneo_serv_trace_context", default={})  # noqa: B039 - never changed


def trace_context(given: Mapping[str, str]) -> dict[str, str]:
    """`traceparent` and `tracestate` of headers or variables, with names in any case; empty where there is none.

    A `traceparent` that is malformed counts as none, and `tracestate` never counts without it: so the W3C says. One of
    a later version is read as far as this version goes.
    """
    values = {name.lower(): value.strip(" \t") for name, value in given.items()}
    match = _PARENT.fullmatch(values.get(TRACEPARENT, ""))
    if match is None:
        return {}
    version, trace_id, span_id, flags, rest = match.groups()
    if version == "ff" or not trace_id.strip(_NONE) or not span_id.strip(_NONE) or (version == "00" and rest):
        return {}
    context = {TRACEPARENT: f"00-{trace_id}-{span_id}-{flags}"}
    state = values.get(TRACESTATE, "")
    if _STATE.fullmatch(state):
        context[TRACESTATE] = state
    return context


def current_trace() -> Mapping[str, str]:
    """The trace context that goes along with calls made right here; empty when there is none."""
    return _current.get()


@contextlib.contextmanager
def trace_scope(trace: Mapping[str, str]) -> Iterator[None]:
    """Makes `trace` the answer of `current_trace()` inside the `with` block, and in the tasks that are made in it."""
    token = _current.set(trace)
    try:
        yield
    finally:
        _current.reset(token)
