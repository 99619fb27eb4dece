"""How MCP servers are asked: times, repetitions and bounds."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from kneo_serv.errors import SettingsError
from kneo_serv.model.secret import Secrets

MAX_BACKOFF_SECONDS = 60.0
"""No wait before a repetition is longer."""

_VARIABLES: Mapping[str, str] = {
    "KNEO_SERV_MCP_CONNECT_TIMEOUT_SECONDS": "connect_seconds",
    "KNEO_SERV_MCP_TIMEOUT_SECONDS": "call_seconds",
    "KNEO_SERV_MCP_RETRIES": "retries",
    "KNEO_SERV_MCP_RETRY_BACKOFF_SECONDS": "backoff_seconds",
    "KNEO_SERV_MCP_IDLE_SECONDS": "idle_seconds",
}


@dataclass(frozen=True, slots=True)
class McpOptions:
    """How one pool of MCP sessions asks. Times in seconds."""

    connect_seconds: float = 30.0
    """How long a server may take to start, or to be reached, and to introduce itself."""
    call_seconds: float = 120.0
    """Time limit of one call, where neither the tool nor its server sets one."""
    retries: int = 0
    """Further attempts when no session could be opened; and when one was lost during a call that may be repeated."""
    backoff_seconds: float = 0.5
    """Wait before the first repetition; doubles with each one, at most 60 s."""
    idle_seconds: float = 300.0
    """How long a session is kept that nobody uses."""
    closing_seconds: float = 5.0
    """How long sessions have to end in peace when all are closed; then their processes are killed."""
    max_response_bytes: int = 1024 * 1024
    """The largest message that is taken from a server, where its config says nothing."""
    secrets: Secrets | None = field(default=None, compare=False)
    """Which variables hold the keys that configs name; without it, each name is that of a variable."""

    def wait_seconds(self, repetition: int) -> float:
        """The wait before a repetition; 1 is the first one."""
        return min(self.backoff_seconds * 2.0 ** min(repetition - 1, 30), MAX_BACKOFF_SECONDS)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """The options of an environment, for scripts that have no platform.

        Raises:
            SettingsError: a variable holds no number, or a negative one.
        """
        values: dict[str, Any] = {}
        for variable, name in _VARIABLES.items():
            text = environ.get(variable, "").strip()
            if text:
                values[name] = _number(variable, text, whole=name == "retries")
        return cls(**values)


class RetryRule(Protocol):
    """How often and how far apart something is tried; `kneo_serv.runtime.retry.RetryPolicy` is one."""

    @property
    def max_retries(self) -> int:
        """Attempts after the first."""
        ...

    @property
    def backoff_seconds(self) -> float:
        """Wait before the first retry; it doubles."""
        ...

    @property
    def timeout_seconds(self) -> float | None:
        """Time limit of one call; None leaves it to the options."""
        ...


def _number(variable: str, text: str, *, whole: bool) -> float | int:
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise SettingsError(variable, f"it must be {'a whole number' if whole else 'a number of seconds'} from 0 up.")
    return value
