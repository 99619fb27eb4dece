"""Whom a claim lets to work: bounds, paused providers, and fair turns between tenants. The same for every backend.

A store reads the rules and who is at work in the transaction that gives the leases, asks here, and gives them.
"""

import heapq
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from kneo_serv.errors import KneoError
from kneo_serv.model.limits import LIMITS, Limits, limits_from
from kneo_serv.model.provider_state import PROVIDER, RATE, ProviderState, Standing, provider_state
from kneo_serv.store.lanes import Lane, lane_of

RULES = (LIMITS, PROVIDER, RATE)
"""Kinds of the documents that a claim goes by."""

PROBE_AGAIN_SECONDS = 60.0
"""After which another run tries a provider that was paused, while the first one has not told what came of it."""

BURST_SECONDS = 6.0
"""How much of a provider's minute may be asked for at once."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A run that could be claimed. Where `held`, its last worker was lost with it."""

    run_id: str
    lane: str
    priority: int
    created_at: float
    fence: int
    takeovers: int
    held: bool = False

    @property
    def order(self) -> tuple[int, float, str]:
        """Its place among the runs of its tenant."""
        return -self.priority, self.created_at, self.run_id


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for all claims at a moment."""

    limits: Limits = field(default_factory=Limits)
    providers: Mapping[str, ProviderState] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)
    """By provider: the moment up to which its allowance is used."""

    @property
    def bind(self) -> bool:
        """Whether there are any."""
        return self != _NO_RULES


_NO_RULES = Rules()


def rules_of(documents: Iterable[Sequence[str]]) -> Rules:
    """The rules in documents of the kinds RULES, as (kind, name, text). What nobody can read binds nobody."""
    found = tuple(tuple(one) for one in documents)
    return _rules(found) if found else _NO_RULES


@lru_cache(maxsize=8)
def _rules(documents: tuple[tuple[str, str, str], ...]) -> Rules:
    limits, providers, rates = Limits(), dict[str, ProviderState](), dict[str, float]()
    for kind, name, text in documents:
        try:
            data = json.loads(text)
            if kind == LIMITS:
                limits = limits_from(data)
            elif kind == PROVIDER:
                providers[name] = provider_state(name, data)
            else:
                rates[name] = float(data)
        except (ValueError, TypeError, KneoError):
            continue
    return Rules(limits, providers, rates)


class Admission:
    """Lets runs to work, one after the other, as far as the rules allow."""

    def __init__(self, rules: Rules, at_work: Mapping[str, int], now: float) -> None:
        """Count who is at work: `at_work` gives the number of leased runs by lane."""
        self._rules = rules
        self._now = now
        self._used: Counter[tuple[str, str]] = Counter()
        self.tenants: Counter[str] = Counter()
        """Runs at work by tenant."""
        for name, number in at_work.items():
            self._count(lane_of(name), number)

    def admits(self, lane: Lane) -> bool:
        """Whether another run of the lane may be at work now."""
        if not self._rules.bind:
            return True
        limits = self._rules.limits
        for kind, name in lane.counts:
            bound = limits.bound(kind, name).running
            if bound is not None and self._used[kind, name] >= bound:
                return False
        return all(self._asks(provider) for provider in lane.providers)

    def take(self, lane: Lane) -> None:
        """Another run of the lane is at work."""
        self._count(lane, 1)

    def _count(self, lane: Lane, number: int) -> None:
        self.tenants[lane.tenant] += number
        for one in lane.counts:
            self._used[one] += number

    def _asks(self, provider: str) -> bool:
        state = self._rules.providers.get(provider)
        if state is not None:
            match state.standing(self._now):
                case Standing.PAUSED | Standing.HELD:
                    return False
                case Standing.PROBING:
                    # One run finds out for all; another one when it has not asked for long, being at something else.
                    since = self._now - (state.paused_until or self._now)
                    return self._used["providers", provider] < 1 + since // PROBE_AGAIN_SECONDS
                case Standing.OPEN:
                    pass
        bound = self._rules.limits.bound("providers", provider).requests_per_minute
        return bound is None or self._rules.rates.get(provider, 0.0) - self._now <= BURST_SECONDS


def fair(
    admission: Admission, waiting: Iterable[Waiting], turns: Mapping[str, float], limit: int
) -> tuple[list[Waiting], list[str]]:
    """Up to `limit` runs that may go to work, and the tenants that got a turn, in that order.

    The next place is for the tenant that has the fewest runs at work; of several, for the one whose last turn is the
    longest ago. Within a tenant, the run of the highest priority goes first, then the oldest.
    """
    lines: dict[str, list[Waiting]] = {}
    for one in waiting:
        lines.setdefault(lane_of(one.lane).tenant, []).append(one)
    for line in lines.values():
        line.sort(key=lambda one: one.order, reverse=True)
    heap = [
        (admission.tenants[tenant], turns.get(tenant, 0.0), line[-1].order, tenant) for tenant, line in lines.items()
    ]
    heapq.heapify(heap)
    chosen: list[Waiting] = []
    served: dict[str, None] = {}
    latest = max(turns.values(), default=0.0)
    while heap and len(chosen) < limit:
        _, _, _, tenant = heapq.heappop(heap)
        line = lines[tenant]
        while line:
            one = line.pop()
            lane = lane_of(one.lane)
            if not admission.admits(lane):
                continue
            admission.take(lane)
            chosen.append(one)
            served.pop(tenant, None)
            served[tenant] = None
            latest += 1
            if line:
                heapq.heappush(heap, (admission.tenants[tenant], latest, line[-1].order, tenant))
            break
    return chosen, list(served)
