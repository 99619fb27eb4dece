"""Lanes: runs that wait for a worker under equal conditions stand in one line. The same for every backend."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from kneo_serv.model.provider_state import NEEDS_AGENT, NEEDS_PROVIDER


@dataclass(frozen=True, slots=True)
class Lane:
    """What all runs of a lane have in common."""

    name: str
    """As it is kept: the JSON text of queue, tenant (empty: none) and needs."""
    queue: str
    tenant: str
    needs: tuple[str, ...]
    counts: tuple[tuple[str, str], ...]
    """What its runs count for, as (`queues`, name) and so on: these may be bounded."""
    providers: tuple[str, ...]


def lane_name(queue: str, tenant: str | None, needs: Sequence[str]) -> str:
    """The lane of a run, as it is kept."""
    return json.dumps([queue, tenant or "", *sorted(set(needs))], ensure_ascii=False, separators=(",", ":"))


@lru_cache(maxsize=16_384)
def lane_of(name: str) -> Lane:
    """The lane that is kept under this name."""
    queue, tenant, *needs = json.loads(name)
    providers = tuple(need.removeprefix(NEEDS_PROVIDER) for need in needs if need.startswith(NEEDS_PROVIDER))
    agents = [need.removeprefix(NEEDS_AGENT) for need in needs if need.startswith(NEEDS_AGENT)]
    counts = [("queues", queue), *([("tenants", tenant)] if tenant else [])]
    counts += [("agents", name) for name in agents] + [("providers", name) for name in providers]
    return Lane(name, queue, tenant, tuple(needs), tuple(counts), providers)
