"""Who a request comes from."""

from dataclasses import dataclass

from kneo_serv.service.auth.roles import ALL


@dataclass(frozen=True, slots=True)
class AuthPrincipal:
    """A caller whose key or token was accepted. `tenant` None sees the runs of everybody."""

    name: str
    roles: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    """Those of the roles included."""
    tenant: str | None = None

    def has_scope(self, scope: str) -> bool:
        """Whether the caller may do what needs this scope."""
        return ALL in self.scopes or scope in self.scopes


ANONYMOUS = AuthPrincipal("anonymous", frozenset({"admin"}), frozenset({ALL}))
"""Everybody, where nobody is asked for a key."""
