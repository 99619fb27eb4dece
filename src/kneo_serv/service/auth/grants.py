"""What a key or a claim grants, as it is written down: roles, scopes, a tenant, an end."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from kneo_serv.service.auth.roles import ROLES, SCOPES

_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class Grants:
    """Roles, the scopes (those of the roles included), the tenant and the end of what is granted."""

    roles: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    tenant: str | None = None
    expires_at: datetime | None = None


def read_grants(texts: Iterable[str], *, attributes: bool = True) -> Grants:
    """What these grants say together; blank ones count for nothing, and none at all grant nothing.

    Args:
        texts: Names of roles and scopes; and, with `attributes`, `tenant=<name>` and `expires=<date or time>`.
        attributes: Whether a tenant and an end may be given.

    Raises:
        ValueError: one of them is not known. It is named by its place, and quoted only when it is nearly a name that
            exists: what stands in a wrong place may be a key.
    """
    roles: set[str] = set()
    scopes: set[str] = set()
    given: dict[str, str] = {}
    for place, text in enumerate((one.strip() for one in texts), start=1):
        name, equals, value = (part.strip() for part in text.partition("="))
        if not text:
            continue
        if text in ROLES:
            roles.add(text)
            scopes |= ROLES[text]
        elif text in SCOPES:
            scopes.add(text)
        elif attributes and equals and name in ("tenant", "expires"):
            if name in given:
                raise ValueError(f"grant {place} gives {name} a second time")
            given[name] = value
        else:
            raise ValueError(_unknown(place, text))
    return Grants(
        frozenset(roles),
        frozenset(scopes),
        tenant_of(given["tenant"]) if "tenant" in given else None,
        end_of(given["expires"]) if "expires" in given else None,
    )


def tenant_of(text: str) -> str:
    """The name of a tenant. Raises ValueError."""
    if not _TENANT.fullmatch(text):
        raise ValueError("the tenant must be 1 to 128 letters, digits, dots, hyphens or underscores")
    return text


def end_of(text: str) -> datetime:
    """The moment from which on something is expired: a day counts to its end, a time without a zone is in UTC.

    Raises:
        ValueError: it is neither.
    """
    problem = (
        "expires must be an ISO date (2027-01-31, valid to its end in UTC) or date and time (2027-01-31T12:00:00Z)"
    )
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            return datetime.combine(date.fromisoformat(text) + timedelta(days=1), time(), UTC)
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise ValueError(problem) from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _unknown(place: int, text: str) -> str:
    known = [*ROLES, *sorted(SCOPES)]
    near = difflib.get_close_matches(text.lower(), [*known, "tenant", "expires"], n=1, cutoff=0.75)
    if near:
        return f"grant {place}, {text!r}, is no role or scope; did you mean {near[0]}?"
    return f"grant {place} is no role or scope (known are {', '.join(known)}; a key must not contain a colon)"
