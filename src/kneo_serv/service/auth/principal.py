"""Who a request comes from."""

from dataclasses import dataclass
from typing import Literal

from kneo_serv.service.auth.roles import ALL


@dataclass(frozen=True, slots=True)
class AuthPrincipal:
    """A caller whose key or token was accepted. `tenant` None sees the runs of everybody."""

    name: str
    roles: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    """Those of the roles included."""
    tenant: str | None = None
    issuer: str | None = None
    """Who vouches for the name: the issuer of a token; None for a key."""

    @property
    def identity(self) -> str:
        """The caller apart from all others: keys, tokens and tenants may use one name for different callers."""
        return f"{self.issuer or 'key'}|{self.tenant or ''}|{self.name}"

    def has_scope(self, scope: str) -> bool:
        """Whether the caller may do what needs this scope."""
        return ALL in self.scopes or scope in self.scopes


ANONYMOUS = AuthPrincipal("anonymous", frozenset({"admin"}), frozenset({ALL}))
"""Everybody, where nobody is asked for a key."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why nobody was recognised. The caller is told no more than that; the audit is told this."""

    reason: Literal["unauthorized", "expired"]
    detail: str
    name: str | None = None
    """Whose key or token it was, where that is known for sure."""
    tenant: str | None = None


class IssuerUnavailable(Exception):
    """A token can be neither accepted nor refused, since the keys of its issuer are not to be had."""
