"""Letting callers in: who they are and what they may do is asked before anything of the request is read."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from kneo_serv.service.auth import AuthPrincipal, IssuerUnavailable, Refusal
from kneo_serv.service.errors import RequestRefused
from kneo_serv.service.refusals import Reason
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
        route = f"{' '.join(sorted(self.methods or ()))} {self.path_format.removeprefix('/v1')}"

        async def admitted(request: Request) -> Response:
            principal = request.state.principal = await admit(request, scope, route)
            headers = count(request, principal, scope, route)
            response = await handle(request)
            response.headers.update(headers)
            return response

        return admitted


async def admit(request: Request, scope: str, route: str) -> AuthPrincipal:
    """Who calls; `route` is how the audit names what was asked for.

    Raises:
        RequestRefused: 401 without an accepted key or token, 403 without the scope, 503 when a token cannot be checked.
    """
    service = service_of(request)
    service.refusals.tend()
    try:
        caller = await service.authenticator.authenticate(token_of(request))
    except IssuerUnavailable:
        raise RequestRefused("identity_unavailable", "Tokens cannot be checked just now. Try it again.") from None
    if isinstance(caller, Refusal):
        _note(request, caller.reason, scope, route, caller, caller.detail)
        raise RequestRefused(
            "unauthorized",
            "An API key is needed here. The header Authorization takes it, after the word Bearer.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    demand(request, caller, scope, route)
    return caller


def demand(request: Request, caller: AuthPrincipal, scope: str, route: str) -> None:
    """Lets nobody pass without the scope. Raises RequestRefused: 403."""
    if not caller.has_scope(scope):
        _note(request, "forbidden", scope, route, caller, "the scope is missing")
        raise RequestRefused("forbidden", f"Missing required scope: {scope}", required_scope=scope)


async def still_admitted(request: Request, caller: AuthPrincipal, scope: str) -> bool:
    """Whether the key or token of a caller that was admitted before still stands for the same one, with the scope."""
    try:
        now = await service_of(request).authenticator.authenticate(token_of(request))
    except IssuerUnavailable:
        return False
    return isinstance(now, AuthPrincipal) and now.identity == caller.identity and now.has_scope(scope)


def count(request: Request, caller: AuthPrincipal, scope: str, route: str) -> dict[str, str]:
    """The headers that tell a caller what is left to it. Raises RequestRefused: 429 when it asks too often."""
    allowance = service_of(request).rates.take(caller)
    if allowance is None:
        return {}
    if allowance.retry_after is not None:
        _note(request, "rate_limited", scope, route, caller, "too many requests")
        raise RequestRefused(
            "rate_limited",
            f"Too many requests. Try it again in {allowance.retry_after} seconds.",
            headers=allowance.headers,
            retry_after=allowance.retry_after,
        )
    return allowance.headers


def token_of(request: Request) -> str | None:
    """The key or token of a request: that of a Bearer header, else that of X-Kneo-Api-Key."""
    scheme, _, rest = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and rest.strip():
        return rest.strip()
    return request.headers.get("x-kneo-api-key")


def _note(
    request: Request, reason: Reason, scope: str, route: str, caller: AuthPrincipal | Refusal, detail: str
) -> None:
    client = request.client.host if request.client is not None else None
    service_of(request).refusals.note(
        reason, scope=scope, route=route, client=client, detail=detail, name=caller.name, tenant=caller.tenant
    )
