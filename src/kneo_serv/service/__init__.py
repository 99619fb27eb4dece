"""The HTTP door, and the factory that names concrete backends."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kneo_serv.service.app import create_app as create_app
    from kneo_serv.service.factory import create_default_platform_manager as create_default_platform_manager

__all__ = ["create_app", "create_default_platform_manager"]


def __getattr__(name: str) -> Any:
    # The web server's libraries are loaded only where an app is made.
    if name == "create_app":
        from kneo_serv.service.app import create_app

        return create_app
    if name == "create_default_platform_manager":
        from kneo_serv.service.factory import create_default_platform_manager

        return create_default_platform_manager
    raise AttributeError(name)
