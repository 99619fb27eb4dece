"""How often each caller may ask."""

import math
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Self

from kneo_serv.errors import SettingsError
from kneo_serv.service.auth import ROLES, AuthPrincipal

LIMIT, ROLE_LIMITS = "KNEO_SERV_RATE_LIMIT", "KNEO_SERV_RATE_LIMIT_ROLES"

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_WRITTEN = re.compile(r"([1-9][0-9]{0,8})\s*/\s*([smhd])(?:\s+burst\s+([1-9][0-9]{0,8}))?")
_OFF = frozenset({"off", "none", "unlimited"})
_MOST_BUCKETS = 10_000


@dataclass(frozen=True, slots=True)
class RateLimit:
    """So many requests in so many seconds; `burst` of them at once, after a pause."""

    requests: int
    seconds: int
    burst: int

    @classmethod
    def read(cls, text: str) -> Self | None:
        """The limit of `100/m` or `5/s burst 20`; None for `off`. Raises ValueError."""
        if text.strip().lower() in _OFF:
            return None
        found = _WRITTEN.fullmatch(text.strip().lower())
        if found is None:
            raise ValueError("it must be like 100/m or 5/s burst 20 (units s, m, h, d), or off")
        requests, unit, burst = found.groups()
        return cls(int(requests), _UNITS[unit], int(burst or requests))


@dataclass(frozen=True, slots=True)
class RateLimits:
    """The limit of every caller, and those of roles, which count instead of it. None is no limit."""

    limit: RateLimit | None = None
    roles: Mapping[str, RateLimit | None] = field(default_factory=dict)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """What the environment says. Raises SettingsError."""
        roles: dict[str, RateLimit | None] = {}
        for entry in environ.get(ROLE_LIMITS, "").split(";"):
            if not entry.strip():
                continue
            role, equals, text = (part.strip() for part in entry.partition("="))
            if not equals or role not in ROLES:
                raise SettingsError(
                    ROLE_LIMITS, f"{entry.strip()[:60]!r} must be role=limit; roles: {', '.join(ROLES)}."
                )
            roles[role] = _limit(ROLE_LIMITS, text)
        text = environ.get(LIMIT, "").strip()
        return cls(_limit(LIMIT, text) if text else None, roles)

    def of(self, principal: AuthPrincipal) -> RateLimit | None:
        """The limit of this caller: of several roles with limits of their own, the one that allows most counts."""
        own = [self.roles[role] for role in principal.roles if role in self.roles]
        if not own:
            return self.limit
        bounded = [one for one in own if one is not None]
        return max(bounded, key=lambda one: one.requests / one.seconds) if len(bounded) == len(own) else None


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left to a caller after a request. Times in whole seconds, rounded up."""

    limit: int
    remaining: int
    full_after: int
    retry_after: int | None = None
    """Set when the request was one too many."""

    @property
    def headers(self) -> dict[str, str]:
        """As an answer tells it."""
        told = {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(self.full_after),
        }
        return told if self.retry_after is None else {"Retry-After": str(self.retry_after), **told}


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled: float


class Rates:
    """Counts the requests of each caller in this process, by token buckets."""

    def __init__(
        self, limits: RateLimits, *, clock: Callable[[], float] = time.monotonic, most_buckets: int = _MOST_BUCKETS
    ) -> None:
        """`clock` gives monotonic seconds. Of more callers than `most_buckets`, those longest silent begin anew."""
        self._limits = limits
        self._clock = clock
        self._most = most_buckets
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, principal: AuthPrincipal) -> Allowance | None:
        """Counts one request of this caller; None when the caller has no limit."""
        limit = self._limits.of(principal)
        if limit is None:
            return None
        now, speed = self._clock(), limit.requests / limit.seconds
        bucket = self._buckets.get(principal.identity)
        if bucket is None:
            bucket = self._buckets[principal.identity] = _Bucket(limit.burst, now)
            if len(self._buckets) > self._most:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(principal.identity)
        bucket.tokens = min(limit.burst, bucket.tokens + (now - bucket.filled) * speed)
        bucket.filled = now
        # A hair less than a whole token is one: sums of fractions are not exact.
        allowed = bucket.tokens >= 1 - 1e-9
        if allowed:
            bucket.tokens = max(0.0, bucket.tokens - 1)
        return Allowance(
            limit=limit.burst,
            remaining=math.floor(bucket.tokens + 1e-9),
            full_after=math.ceil((limit.burst - bucket.tokens) / speed - 1e-9),
            retry_after=None if allowed else max(1, math.ceil((1 - bucket.tokens) / speed - 1e-9)),
        )

    def __len__(self) -> int:
        return len(self._buckets)


def _limit(variable: str, text: str) -> RateLimit | None:
    try:
        return RateLimit.read(text)
    except ValueError as fault:
        raise SettingsError(variable, f"{text[:60]!r}: {fault}.") from None
