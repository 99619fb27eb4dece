"""How often something is tried again, and how long is waited in between."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from kneo_serv.errors import SettingsError

MAX_BACKOFF_SECONDS = 60.0
"""No wait that we choose ourselves is longer, before jitter."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, how far apart and how long. Times in seconds.

    `timeout_seconds` bounds all attempts and waits together. With `retry_on_timeout` it bounds each attempt, and an
    attempt that ran out of time is followed by the next one.
    """

    max_retries: int = 0
    """Attempts after the first."""
    backoff_seconds: float = 0.0
    """Wait before the first retry; doubles with each one, at most 60 s."""
    timeout_seconds: float | None = None
    retry_on_timeout: bool = False

    @property
    def attempts(self) -> int:
        """The first attempt and its retries."""
        return self.max_retries + 1

    @property
    def total_seconds(self) -> float | None:
        """The bound of everything together; None means no bound."""
        if self.timeout_seconds is None:
            return None
        return self.timeout_seconds * (self.attempts if self.retry_on_timeout else 1)

    def wait_seconds(self, retry: int, *, jitter: float = 0.0) -> float:
        """The wait before a retry.

        Args:
            retry: 1 for the first one.
            jitter: Between 0 and 1: how much of a quarter of the wait is added, so that callers do not come back all
                at the same moment.
        """
        doubled = self.backoff_seconds * 2.0 ** min(retry - 1, 30)
        return min(doubled, MAX_BACKOFF_SECONDS) * (1 + jitter / 4)

    @classmethod
    def from_env(cls, prefix: str, *, default_retries: int = 0, environ: Mapping[str, str]) -> Self:
        """The policy that `<prefix>_RETRIES`, `_RETRY_BACKOFF_SECONDS`, `_TIMEOUT_SECONDS`, `_RETRY_ON_TIMEOUT` set.

        Args:
            prefix: For example `KNEO_SERV_PROVIDER`.
            default_retries: Used when `<prefix>_RETRIES` is not set.
            environ: The environment variables. An empty value counts as not set.

        Raises:
            SettingsError: A value cannot be used; the error names the variable and says what would do.
        """
        fields = _Variables(prefix, environ)
        timeout = fields.number("TIMEOUT_SECONDS", "a number above 0", lowest_excluded=True)
        return cls(
            max_retries=fields.whole("RETRIES", default_retries),
            backoff_seconds=fields.number("RETRY_BACKOFF_SECONDS", "a number of at least 0") or 0.0,
            timeout_seconds=timeout,
            retry_on_timeout=fields.truth("RETRY_ON_TIMEOUT"),
        )


@dataclass(frozen=True, slots=True)
class _Variables:
    prefix: str
    environ: Mapping[str, str]

    def whole(self, name: str, default: int) -> int:
        text = self._text(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit()):
            raise self._refusal(name, text, "a whole number of at least 0")
        return int(text)

    def number(self, name: str, expected: str, *, lowest_excluded: bool = False) -> float | None:
        text = self._text(name)
        if text is None:
            return None
        try:
            value = float(text)
        except ValueError:
            raise self._refusal(name, text, expected) from None
        if not 0 <= value < float("inf") or (lowest_excluded and value == 0):
            raise self._refusal(name, text, expected)
        return value

    def truth(self, name: str) -> bool:
        text = self._text(name)
        if text is None or text.lower() == "false":
            return False
        if text.lower() == "true":
            return True
        raise self._refusal(name, text, "true or false")

    def _text(self, name: str) -> str | None:
        return self.environ.get(f"{self.prefix}_{name}", "").strip() or None

    def _refusal(self, name: str, text: str, expected: str) -> SettingsError:
        return SettingsError(f"{self.prefix}_{name}", f"{text!r} must be {expected}.")
