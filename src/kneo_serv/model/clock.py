"""Time as a thing one asks for."""

from typing import Protocol


class Clock(Protocol):
    """Where time comes from. Nobody below a door reads the machine's clock by himself."""

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""
        ...
