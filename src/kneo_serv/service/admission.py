"""Letting callers in: who they are and what they may do is asked before anything of the request is read."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from kneo_serv.service.auth import AuthPrincipal
from kneo_serv.service.errors import RequestRefused
from kneo_serv.service.state import service_of

_SCOPE = "x-required-scope"


def needs(scope: str) -> dict[str, Any]:
    """`openapi_extra` of a route that needs this scope; the document tells it too."""
    return {_SCOPE: scope, "security": [{"bearer": []}, {"apiKey": []}]}


class ScopedRoute(APIRoute):
    """A route that lets in only callers with the scope of its `openapi_extra=needs(...)`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, behind the door."""
        handle = super().get_route_handler()
        scope: str = (self.openapi_extra or {})[_SCOPE]

        async def admitted(request: Request) -> Response:
            request.state.principal = admit(request, scope)
            return await handle(request)

        return admitted


def admit(request: Request, scope: str) -> AuthPrincipal:
    """Who calls. Raises RequestRefused: 401 without an accepted key or token, 403 without the scope."""
    principal = service_of(request).auth.authenticate(token_of(request))
    if principal is None:
        raise RequestRefused(
            "unauthorized",
            "This needs an API key: send it as `Authorization: Bearer <key>`.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    if not principal.has_scope(scope):
        raise RequestRefused("forbidden", f"Missing required scope: {scope}", required_scope=scope)
    return principal


def token_of(request: Request) -> str | None:
    """The key or token of a request: that of a Bearer header, else that of X-Kneo-Api-Key."""
    scheme, _, rest = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and rest.strip():
        return rest.strip()
    return request.headers.get("x-kneo-api-key")
