"""Who calls, and what they may do."""

from kneo_serv.service.auth.authenticator import Authenticator
from kneo_serv.service.auth.config import AuthConfig
from kneo_serv.service.auth.keys import APIKeyRecord
from kneo_serv.service.auth.oidc import OIDCConfig
from kneo_serv.service.auth.principal import ANONYMOUS, AuthPrincipal, IssuerUnavailable, Refusal
from kneo_serv.service.auth.roles import ALL, ROLES, SCOPES

__all__ = [
    "ALL",
    "ANONYMOUS",
    "ROLES",
    "SCOPES",
    "APIKeyRecord",
    "AuthConfig",
    "AuthPrincipal",
    "Authenticator",
    "IssuerUnavailable",
    "OIDCConfig",
    "Refusal",
]
