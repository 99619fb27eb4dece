"""When a request that did not succeed is sent again, and after which pause."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

PASSING = frozenset({429, 502, 503, 504})
"""Statuses of a trouble that may be over a moment later."""
LONGEST_PAUSE = 60.0
"""Seconds. Who is asked to wait longer than that is told so instead."""


@dataclass(frozen=True, slots=True)
class Retries:
    """How often, and after which pauses. `chance` gives numbers from 0 to 1."""

    most: int
    backoff_seconds: float
    chance: Callable[[], float]

    def pause(self, failures: int, asked_for: float | None) -> float | None:
        """Seconds until the next attempt, after so many failed ones; None when there is to be none.

        The pause doubles each time, and is shortened by up to a half, so that callers do not come all at once. A
        service that asks for more gets more.
        """
        if failures > self.most or (asked_for or 0.0) > LONGEST_PAUSE:
            return None
        grown = min(self.backoff_seconds * 2.0 ** min(failures - 1, 32), LONGEST_PAUSE)
        return max(grown * (0.5 + self.chance() / 2), asked_for or 0.0)


def asked_pause(headers: Mapping[str, str], now: float) -> float | None:
    """The seconds that `Retry-After` asks for: as a number, or as a date, seen from `now` (seconds since the epoch)."""
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    if text.isascii() and text.replace(".", "", 1).isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None
