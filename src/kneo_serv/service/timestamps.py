"""Moments as callers write them."""

from datetime import UTC, datetime

from kneo_serv.service.errors import RequestRefused

_ROUNDED = 7.5e-7
"""Answers show moments rounded to microseconds: what is shown as the bound itself lies within it.

That is half a microsecond, and some more for what a float of seconds since the epoch is exact to.
"""


def since(param: str, text: str | None) -> float | None:
    """The lower bound, inclusive, in seconds since the epoch, that `moment_of` reads; raises as it."""
    moment = moment_of(param, text)
    return None if moment is None else moment - _ROUNDED


def until(param: str, text: str | None) -> float | None:
    """The upper bound, inclusive, in seconds since the epoch, that `moment_of` reads; raises as it."""
    moment = moment_of(param, text)
    return None if moment is None else moment + _ROUNDED


def moment_of(param: str, text: str | None) -> float | None:
    """Seconds since the epoch of an ISO 8601 text; without an offset it is UTC, without a time midnight.

    Raises:
        RequestRefused: `invalid_timestamp` (422), which names the parameter.
    """
    if text is None:
        return None
    written = text.strip()
    # The plus sign of an offset that was not encoded arrives as a space.
    for form in (written, "+".join(written.rsplit(" ", 1))):
        try:
            found = datetime.fromisoformat(form)
            return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            continue
    message = f"{param} must be an ISO 8601 date or time, such as 2026-05-10T12:00:00Z."
    raise RequestRefused("invalid_timestamp", message, param=param)
