"""What holds for the whole fleet: its limits, and the providers that are paused."""

from functools import partial
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Path, Query

from kneo_serv.model.limits import ANY
from kneo_serv.service.admission import ScopedRoute, needs
from kneo_serv.service.auth import AuthPrincipal
from kneo_serv.service.dependencies import Caller, TheService
from kneo_serv.service.errors import RequestRefused
from kneo_serv.service.schemas.fleet import (
    LimitsRequest,
    LimitsResponse,
    ProviderListResponse,
    ProviderPauseRequest,
    ProviderResponse,
)
from kneo_serv.service.schemas.shapes import ERRORS, NoQuery

router = APIRouter(tags=["fleet"], route_class=ScopedRoute)

Provider = Annotated[str, Path(min_length=1, max_length=256, description="Name of the provider.")]


@router.get("/limits", response_model=LimitsResponse, responses=ERRORS, openapi_extra=needs("policies:read"))
async def get_limits(query: Annotated[NoQuery, Query()], service: TheService, caller: Caller) -> dict[str, Any]:
    """How much the fleet takes in, executes and asks at a time. A tenant sees no other tenant's bounds."""
    limits = (await service.reach(lambda platform: platform.fleet.limits())).to_dict()
    if caller.tenant is not None:
        seen = (ANY, caller.tenant)
        limits["tenants"] = {name: bound for name, bound in limits["tenants"].items() if name in seen}
    return {"limits": limits, "previous_limits": None}


@router.put("/limits", response_model=LimitsResponse, responses=ERRORS, openapi_extra=needs("policies:write"))
async def put_limits(
    body: LimitsRequest, query: Annotated[NoQuery, Query()], service: TheService, caller: Caller
) -> dict[str, Any]:
    """Sets all limits; what is left out is bounded no longer. They hold for all processes within a second."""
    _refuse_tenants(caller)
    put = partial(service.platform.set_limits, body.model_dump(exclude_none=True), actor=caller.name)
    previous, limits = await anyio.to_thread.run_sync(put)
    return {"limits": limits.to_dict(), "previous_limits": previous.to_dict()}


@router.get("/providers", response_model=ProviderListResponse, responses=ERRORS, openapi_extra=needs("policies:read"))
async def list_providers(query: Annotated[NoQuery, Query()], service: TheService, caller: Caller) -> dict[str, Any]:
    """The providers that failed lately, are paused, or are bounded by name."""
    found = await service.reach(lambda platform: platform.fleet.provider_views())
    return {"providers": found, "count": len(found)}


@router.post(
    "/providers/{name}/pause", response_model=ProviderResponse, responses=ERRORS, openapi_extra=needs("policies:write")
)
async def pause_provider(
    name: Provider,
    body: ProviderPauseRequest,
    query: Annotated[NoQuery, Query()],
    service: TheService,
    caller: Caller,
) -> dict[str, Any]:
    """Has nobody ask the provider until it is resumed. Runs that need it wait; new ones are taken in."""
    _refuse_tenants(caller)
    pause = partial(service.platform.pause_provider, name, reason=body.reason, actor=caller.name)
    return await anyio.to_thread.run_sync(pause)


@router.post(
    "/providers/{name}/resume", response_model=ProviderResponse, responses=ERRORS, openapi_extra=needs("policies:write")
)
async def resume_provider(
    name: Provider, query: Annotated[NoQuery, Query()], service: TheService, caller: Caller
) -> dict[str, Any]:
    """Has the provider asked again, whoever paused it and whatever it failed before."""
    _refuse_tenants(caller)
    return await anyio.to_thread.run_sync(partial(service.platform.resume_provider, name, actor=caller.name))


def _refuse_tenants(caller: AuthPrincipal) -> None:
    if caller.tenant is not None:
        raise RequestRefused(
            "forbidden",
            "This holds for all tenants: a key that is confined to one cannot set it.",
            required_scope="policies:write",
        )
