"""Scopes, and the roles that bundle them."""

from collections.abc import Mapping

ALL = "*"
"""The scope that holds all others."""

ROLES: Mapping[str, frozenset[str]] = {
    "admin": frozenset({ALL}),
    "operator": frozenset(
        {
            "runs:read",
            "runs:write",
            "specs:read",
            "human:read",
            "audit:read",
            "credentials:read",
            "policies:read",
            "policies:write",
        }
    ),
    "reviewer": frozenset({"runs:read", "human:read", "human:write", "audit:read"}),
    "service": frozenset(
        {
            "runs:read",
            "runs:write",
            "specs:read",
            "human:read",
            "human:write",
            "audit:read",
            "audit:write",
            "credentials:read",
            "policies:read",
        }
    ),
    "viewer": frozenset({"runs:read", "specs:read", "human:read", "audit:read"}),
}
"""By name of the role."""

SCOPES: frozenset[str] = frozenset().union(*ROLES.values()) - {ALL}
"""All that may be granted one by one."""
