"""Cron expressions: the moments that they name in a time zone, daylight saving time included."""

import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kneo_serv.errors import InvalidRequestError

if TYPE_CHECKING:
    from cronsim import CronSim

_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIELDS = 5
_LONGEST = 500


class Cron:
    """The moments of one expression of five fields (minute, hour, day, month, weekday) or a word such as `@daily`.

    Where clocks are put forward, what falls into the gap is due right after it; where they are put back, a fixed time
    comes once and what is repeated through the hour goes on by real time.
    """

    def __init__(self, expression: str, timezone: str = "UTC") -> None:
        """Read the expression.

        Args:
            expression: Five fields, or a word.
            timezone: Name of a zone of the IANA database, such as `Europe/Berlin`.

        Raises:
            InvalidRequestError: one of them cannot be read, or no moment ever fits.
        """
        words = expression.strip()[:_LONGEST]
        if words.startswith("@") and words.lower() not in _MACROS:
            raise InvalidRequestError(f"{words!r} is no cron expression; of words there are {', '.join(_MACROS)}.")
        self._text = _MACROS.get(words.lower(), words)
        if len(self._text.split()) != _FIELDS:
            raise InvalidRequestError(
                f"{words!r} is no cron expression: it takes five fields (minute, hour, day of month, month, weekday), "
                "such as '30 7 * * MON-FRI', or a word such as @daily."
            )
        self._zone = zone_of(timezone)
        if next(self._moments(datetime.now(UTC)), None) is None:
            raise InvalidRequestError(f"The cron expression {words!r} names no moment that ever comes.")

    def after(self, moment: float) -> float | None:
        """The first moment strictly after this one (seconds since the epoch); None when none comes any more."""
        # In the repeated hour a fixed time is found that has passed already.
        return next((found for found in self._moments(self._local(moment)) if found > moment), None)

    def latest(self, moment: float, *, since: float, at_most: int = 1) -> list[float]:
        """The last moments from `since` up to this one, both included, the earliest first."""
        found: list[float] = []
        for one in self._moments(self._local(moment + 1), reverse=True):
            if one < since or len(found) == at_most:
                break
            if one <= moment:
                found.append(one)
        return found[::-1]

    def _local(self, moment: float) -> datetime:
        return datetime.fromtimestamp(moment, self._zone)

    def _moments(self, start: datetime, *, reverse: bool = False) -> Iterator[float]:
        for found in self._read(start, reverse=reverse):
            yield found.timestamp()

    def _read(self, start: datetime, *, reverse: bool) -> "CronSim":
        from cronsim import CronSim, CronSimError

        try:
            return CronSim(self._text, start, reverse=reverse)
        except CronSimError as error:
            raise InvalidRequestError(f"The cron expression {self._text!r} cannot be read: {error}.") from None


def zone_of(name: str) -> zoneinfo.ZoneInfo:
    """The time zone of this name. Raises InvalidRequestError when this machine knows none."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        hint = "" if zoneinfo.available_timezones() else " This machine has no time zones: install the package tzdata."
        raise InvalidRequestError(
            f"There is no time zone {name[:64]!r}; use a name of the IANA database such as Europe/Berlin.{hint}"
        ) from None
