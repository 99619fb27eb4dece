"""What routes ask for: the service, the caller, the scope."""

from typing import Annotated, Any

from fastapi import Depends, Request

from kneo_serv.platform import PlatformManager
from kneo_serv.service.auth import AuthConfig, AuthPrincipal
from kneo_serv.service.state import Service, service_of

_given: dict[str, Any] = {}
"""What scripts said before they made an app: apps made without a manager of their own take it."""


def set_platform_manager(manager: PlatformManager) -> None:
    """Has apps that bring no manager of their own serve this one, those made already included."""
    _given["manager"] = manager


def reset_platform_manager() -> None:
    """Forgets it."""
    _given.pop("manager", None)


def given_platform_manager() -> PlatformManager | None:
    """The manager that was set, if one was."""
    manager: PlatformManager | None = _given.get("manager")
    return manager


def set_auth_config(config: AuthConfig) -> None:
    """Has apps that are made without one take this configuration of keys."""
    _given["auth"] = config


def get_auth_config() -> AuthConfig | None:
    """The configuration that was set, if one was."""
    config: AuthConfig | None = _given.get("auth")
    return config


async def get_service(request: Request) -> Service:
    """What the app of this request serves."""
    # Not a plain function: the framework would call it on a thread, for each request.
    return service_of(request)


TheService = Annotated[Service, Depends(get_service)]
"""Parameter of a route: what the app serves."""


async def get_platform_manager(service: TheService) -> PlatformManager:
    """The manager of the app. Raises PlatformClosedError (a RuntimeError) when there is none."""
    return service.platform


async def get_current_principal(request: Request) -> AuthPrincipal:
    """Who calls; the route has let the caller in before (`ScopedRoute`)."""
    principal: AuthPrincipal = request.state.principal
    return principal


Caller = Annotated[AuthPrincipal, Depends(get_current_principal)]
"""Parameter of a route: who calls."""
