"""How much a fleet takes in, executes and asks at a time. One document holds for all its processes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kneo_serv.errors import InvalidRequestError

DEFAULT_QUEUE = "default"
"""The queue of a run that names none."""

ANY = "*"
"""Stands for each name that has no bound of its own."""

PRIORITIES = (-100, 100)
"""The lowest and the highest priority of a run; 0 is usual, and more goes first."""

LIMITS = "limits"
"""Kind of the document that holds the limits."""

FLEET = "fleet"
"""Its name."""

_QUEUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_LONGEST_NAME = 256
_MOST_NAMES = 10_000
_MOST = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Bound:
    """What one queue, tenant, agent or provider may have at a time. None is no bound."""

    running: int | None = None
    """Runs that are executed at once; 0 means none."""
    waiting: int | None = None
    """Runs that wait for a worker: no more are taken in then."""
    requests_per_minute: float | None = None
    """Questions to a provider."""


UNBOUND = Bound()
_FIELDS: Mapping[str, tuple[str, ...]] = {
    "queues": ("running", "waiting"),
    "tenants": ("running", "waiting"),
    "agents": ("running",),
    "providers": ("running", "requests_per_minute"),
}
"""What may be bound of what."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds by name. The name `*` stands for each one that is not named, and bounds each of them for itself."""

    queues: Mapping[str, Bound] = field(default_factory=dict)
    tenants: Mapping[str, Bound] = field(default_factory=dict)
    agents: Mapping[str, Bound] = field(default_factory=dict)
    providers: Mapping[str, Bound] = field(default_factory=dict)

    def bound(self, kind: str, name: str) -> Bound:
        """What holds for one of the `queues`, `tenants`, `agents` or `providers`."""
        named: Mapping[str, Bound] = getattr(self, kind)
        return named.get(name) or named.get(ANY) or UNBOUND

    def to_dict(self) -> dict[str, dict[str, dict[str, float]]]:
        """As JSON values; bounds that are none are left out."""
        return {
            kind: {
                name: {one: value for one in _FIELDS[kind] if (value := getattr(bound, one)) is not None}
                for name, bound in getattr(self, kind).items()
            }
            for kind in _FIELDS
        }


def limits_from(data: Any) -> Limits:
    """The limits in a document, such as `{"tenants": {"*": {"running": 10}}}`.

    Raises:
        InvalidRequestError: it has another form; names the place and says what would do.
    """
    kinds = _mapping(data, "limits", _FIELDS)
    return Limits(**{kind: _bounds(kind, named) for kind, named in kinds.items()})


def checked_queue(name: str) -> str:
    """The name of a queue. Raises InvalidRequestError."""
    if not _QUEUE.fullmatch(name):
        raise InvalidRequestError(
            f"queue {name[:60]!r} is no name for a queue: use 1 to 128 letters, digits, hyphens, dots and underlines, "
            "a letter or digit first."
        )
    return name


def checked_priority(priority: int) -> int:
    """The priority of a run. Raises InvalidRequestError."""
    lowest, highest = PRIORITIES
    if not lowest <= priority <= highest:
        raise InvalidRequestError(f"priority {priority} must be a whole number from {lowest} to {highest}.")
    return priority


def _bounds(kind: str, data: Any) -> dict[str, Bound]:
    named = _mapping(data, f"limits.{kind}", None)
    if len(named) > _MOST_NAMES:
        raise InvalidRequestError(f"limits.{kind} has {len(named)} names; at most {_MOST_NAMES:,} are kept.")
    return {name: _bound(kind, name, one) for name, one in named.items()}


def _bound(kind: str, name: str, data: Any) -> Bound:
    if not 0 < len(name) <= _LONGEST_NAME:
        raise InvalidRequestError(f"limits.{kind} has a name of {len(name)} characters; it must have 1 to 256.")
    place = f"limits.{kind}.{name}"
    values = _mapping(data, place, _FIELDS[kind])
    return Bound(**{one: _amount(f"{place}.{one}", one, value) for one, value in values.items()})


def _amount(place: str, field_name: str, value: Any) -> Any:
    if value is None:
        return None
    if field_name == "requests_per_minute":
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _MOST:
            raise InvalidRequestError(f"{place} must be a number above 0, not {value!r}.")
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST:
        raise InvalidRequestError(f"{place} must be a whole number from 0 to {_MOST:,}, not {value!r}.")
    return value


def _mapping(data: Any, place: str, known: Any) -> Mapping[str, Any]:
    if not isinstance(data, Mapping) or not all(isinstance(name, str) for name in data):
        raise InvalidRequestError(f"{place} must be an object.")
    unknown = [name for name in data if known is not None and name not in known]
    if unknown:
        raise InvalidRequestError(f"{place} must not hold {', '.join(sorted(unknown))}; it takes {', '.join(known)}.")
    return data
