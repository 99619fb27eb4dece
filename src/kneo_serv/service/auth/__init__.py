"""Who calls, and what they may do."""

from kneo_serv.service.auth.keys import APIKeyRecord, AuthConfig
from kneo_serv.service.auth.principal import ANONYMOUS, AuthPrincipal
from kneo_serv.service.auth.roles import ALL, ROLES, SCOPES

__all__ = ["ALL", "ANONYMOUS", "ROLES", "SCOPES", "APIKeyRecord", "AuthConfig", "AuthPrincipal"]
